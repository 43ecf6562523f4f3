"""Asks a describer about a checkpoint, as a session does."""

from __future__ import annotations

from pathlib import Path

import msgspec

from freezetui.checkpoint.open import open_checkpoint
from freezetui.description.client import Describer
from freezetui.description.protocol import DescribeRequest, file_tensors
from freezetui.description.types import Description
from freezetui.recognition.architecture import from_checkpoint
from freezetui.recognition.catalog import recognize


def request(path: Path) -> DescribeRequest:
    """Return the request for the model that a checkpoint's names, shapes or config.json name."""
    checkpoint = open_checkpoint(str(path))
    recognition = recognize(checkpoint.tensors)
    return DescribeRequest(
        source=checkpoint.parts[0].source,
        model=from_checkpoint(checkpoint, recognition).model,
        recognition=recognition,
        tensors=file_tensors(checkpoint.tensors),
    )


def described(describer: Describer, path: Path) -> Description:
    """Return what the describer tells of a checkpoint."""
    return describer.describe(request(path)).result(timeout=300)


def built_by(asked: DescribeRequest, architecture: str, **arguments: object) -> DescribeRequest:
    """Return the same request for another architecture."""
    model = msgspec.structs.replace(asked.model, architecture=architecture, arguments=arguments)
    return msgspec.structs.replace(asked, model=model, recognition=None)
