"""Writes the receipt of a check to a file, and to none that it would destroy."""

from __future__ import annotations

import os
from pathlib import Path

from freezetui.config.atomic import write_text
from freezetui.config.paths import is_special, typed_path, why_not_a_file
from freezetui.errors import ConfigError, from_os_error
from freezetui.session.session import Session

#: The first words of a receipt as text, and the first key of one as JSON.
TITLE, KEY = "freezetui receipt", "freezetui_receipt"
_HEAD = 64


def receipt_path(session: Session, text: str) -> Path:
    """Return the path that the user typed for a receipt.

    Raises:
        ConfigError: no file can be written there, or another one would be lost.
    """
    path = typed_path(text)
    if is_special(path):
        return path
    if why := why_not_a_file(path):
        raise ConfigError(f"{text} {why}.", "Choose another name for the receipt.")
    if not os.path.isdir(path.parent):  # noqa: PTH112 (does not raise where the name is too long)
        raise ConfigError(f"No such directory: {path.parent}.", "Choose another name for the receipt.")
    if not os.path.lexists(path):
        return path
    real = os.path.realpath(path)
    parts = [part.source for part in session.checkpoint.parts]
    kept = {os.path.realpath(each): "the checkpoint" for each in (session.options.source, *parts)}
    kept[os.path.realpath(session.config_path)] = "the config"
    if real in kept:
        raise ConfigError(f"{text} is {kept[real]}.", "Choose another name for the receipt.")
    if not _is_receipt(path):
        raise ConfigError(f"{text} exists and is not a receipt.", "Choose another name, or remove it first.")
    return path


def write_receipt(path: Path, text: str) -> None:
    """Write a receipt atomically.

    Raises:
        ConfigError: the file cannot be written.
    """
    try:
        write_text(path, text)
    except OSError as error:
        told = from_os_error(error)
        raise ConfigError(told.message, told.hint) from None


def _is_receipt(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            head = file.read(_HEAD)
    except OSError:
        return False
    return not head or TITLE.encode() in head or KEY.encode() in head
