"""Finds what an option of the command line names: `package.module:name` or `path/to/file.py:name`."""

from __future__ import annotations

import os
from typing import Any

from freezetui.errors import ModelError
from freezetui.models.spec import Factory, imported

#: Arguments and keyword arguments of a forward.
Batch = tuple[tuple[Any, ...], dict[str, Any]]

_FORMS = "Write package.module:name or path/to/file.py:name."


def user_object(text: str, option: str) -> Any:
    """Return the object of that name; runs the user's code. The text must come from the command line.

    Args:
        option: that names it, for messages.

    Raises:
        ModelError: it is not of one of the two forms, cannot be imported, or has no such name.
    """
    source, colon, name = text.strip().rpartition(":")
    if not colon or not source or not all(part.isidentifier() for part in name.split(".")):
        raise ModelError(f"{option} {text!r} does not name anything.", _FORMS)
    if source.endswith(".py") or "/" in source or os.sep in source:
        if not os.path.isfile(source):  # noqa: PTH113 (does not raise where the name is too long)
            raise ModelError(f"{option} {text!r}: no such file: {source}.", _FORMS)
        return imported(Factory("file", source, name), option)
    if not all(part.isidentifier() for part in source.split(".")):
        raise ModelError(f"{option} {text!r} does not name anything.", _FORMS)
    return imported(Factory("module", source, name), option)
