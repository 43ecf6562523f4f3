"""ModelSpec: what builds a model, its arguments and its input."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from msgspec import Meta

#: How an architecture is written.
ARCHITECTURE_FORMS = "Write torchvision:NAME, package.module:callable or path/to/file.py:callable."


class ModelSpec(msgspec.Struct, frozen=True, omit_defaults=True):
    """What builds a model.

    Attributes:
        architecture: "torchvision:NAME", "package.module:callable" or "path/to/file.py:callable"; or "".
        arguments: keyword arguments for it.
        input: shape of one example, without the batch dimension; () to search for one.
    """

    architecture: str = ""
    arguments: dict[str, Any] = {}
    input: tuple[Annotated[int, Meta(ge=1, lt=2**31)], ...] = ()
