"""The request with which a session asks the engine for a check."""

from __future__ import annotations

from typing import NamedTuple

from freezetui.config.schema import ConfigData
from freezetui.recognition.catalog import Recognition
from freezetui.sanity.protocol import CheckRequest
from freezetui.session.parts import Opened
from freezetui.session.stage_history import Settings


class Job(NamedTuple):
    """One check to run: the request, and the mask and the settings that it is about."""

    request: CheckRequest
    mask: bytes
    settings: Settings


def check_request(
    session: Opened, recognition: Recognition | None, config: ConfigData, stage: str | None
) -> CheckRequest:
    """Return a request to check a stage, the shown one if None.

    Args:
        recognition: of the checkpoint.
        config: what is checked.
    """
    options = session.options
    return CheckRequest(
        checkpoint=options.source,
        more=options.more,
        key=options.key,
        model=session.architecture.model,
        recognition=recognition,
        config=config,
        stage=session.stages.shown if stage is None else stage,
        device=options.device,
        steps=options.steps,
        training=options.training,
    )
