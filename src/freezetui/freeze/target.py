"""The file that a config is saved to: whether it may be, and what stands there."""

from __future__ import annotations

from itertools import count
from pathlib import Path


def content_of(path: Path) -> bytes:
    """What stands in a config; b"" where there is none that can be read."""
    try:
        return path.read_bytes()
    except OSError:
        return b""


def why_no_config(text: str) -> str:
    """Why a config cannot be saved under this name; "" where it can be tried."""
    path = Path(text).expanduser()
    if path.is_dir():
        return f"{text or 'The name'} is {'a folder' if text else 'empty'}."
    if path.suffix not in (".yaml", ".yml", ".json"):
        return "The name must end in .yaml or .json."
    return "" if path.parent.is_dir() else f"There is no folder {path.parent}."


def set_aside_name(path: Path) -> Path:
    """Where a file that is in the way goes: `NAME.bak`, or the first of `NAME.bak2`, ... that is free."""
    names = (path.with_name(f"{path.name}.bak{number if number > 1 else ''}") for number in count(1))
    return next(name for name in names if not name.exists())
