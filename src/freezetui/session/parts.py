"""What the functions of a session need of it: the session as they see it."""

from __future__ import annotations

from typing import Literal, Protocol

from freezetui.checkpoint.types import Checkpoint
from freezetui.config.schema import ConfigData
from freezetui.freeze.plan import FreezePlan
from freezetui.freeze.tree import ParamTree
from freezetui.recognition.architecture import Architecture
from freezetui.session.options import Options
from freezetui.session.saved_config import SavedConfig
from freezetui.session.stage_plans import StagePlans


class Planned(Protocol):
    """A tree and its plans."""

    tree: ParamTree
    stages: StagePlans

    @property
    def plan(self) -> FreezePlan:
        """The plan that is shown."""

    @property
    def norm_statistics(self) -> Literal["freeze", "update"]:
        """What becomes of the statistics of norms in frozen modules."""


class Opened(Planned, Protocol):
    """A checkpoint with its plans and its config."""

    options: Options
    checkpoint: Checkpoint
    file_tree: ParamTree
    saved: SavedConfig
    architecture: Architecture

    @property
    def config(self) -> ConfigData | None:
        """The config as on disk."""
