"""Options: what the command line asks of a session."""

from __future__ import annotations

from pathlib import Path

import msgspec

from freezetui.model_spec import ModelSpec
from freezetui.sanity.training import Training


class Options(msgspec.Struct, frozen=True):
    """The options of the command line.

    Attributes:
        source: the checkpoint: a path or a URL of a file or a directory.
        more: further files that are opened together with it.
        key: which nested dict holds the state_dict; None chooses one.
        config: the config to load and to save to; None means `NAME.freeze.yaml` next to the checkpoint.
        model: what builds the model; without an architecture the config or recognition decides.
        device, steps, timeout: for the check; the timeout in seconds.
        training: how the user's script trains, for the check.
        stage: the stage of the config that is meant; None for the common rules alone.
        python: the interpreter of the describer and the check; "" for this one.
        engine: whether the describer may start unasked.
        against: an earlier checkpoint that this one is compared with; None for none.
    """

    source: str
    more: tuple[str, ...] = ()
    key: str | None = None
    config: Path | None = None
    model: ModelSpec = ModelSpec()
    device: str = "auto"
    steps: int = 3
    timeout: float | None = None
    training: Training = Training()
    stage: str | None = None
    python: str = ""
    engine: bool = True
    against: str | None = None

    @property
    def sources(self) -> tuple[str, ...]:
        """All that is opened, as one checkpoint."""
        return self.source, *self.more
