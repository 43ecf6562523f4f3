"""Paths of configs: the default name, and checks on the path a config is saved to."""

from __future__ import annotations

import re
from itertools import count
from pathlib import Path

from freezetui.checkpoint.sources.urls import is_url, name_of

SUFFIX = ".freeze.yaml"

#: Suffixes of checkpoint files at a URL.
_ENDINGS = frozenset([".pth", ".pt", ".pt2", ".bin", ".ckpt", ".safetensors", ".gguf", ".tar"])
_SHARD = re.compile(r"[-_.]\d+-of-\d+$")
#: A config for more models than this is named after the first one only.
_MAX_NAMED = 3


def default_path(checkpoint: str | Path, *more: str | Path) -> Path:
    """Return the path of a checkpoint's config: `vgg16.pth` -> `vgg16.freeze.yaml` next to it.

    A directory's config is next to the directory, a URL's in the working directory. Several files that
    are opened together have a config of their own: `unet+encoder.freeze.yaml`.
    """
    path = _beside(checkpoint)
    if not more:
        return path
    stems = [_beside(file).name.removesuffix(SUFFIX) for file in (checkpoint, *more)]
    models = list(dict.fromkeys(_SHARD.sub("", stem) or stem for stem in stems))
    name = "+".join(models) if len(models) <= _MAX_NAMED else f"{models[0]}+{len(models) - 1}"
    return path.with_name(name + SUFFIX)


def _beside(checkpoint: str | Path) -> Path:
    name, path = name_of(checkpoint).removesuffix(".index.json"), Path(checkpoint)
    if is_url(str(checkpoint)):
        path = Path(name)
        is_directory = path.suffix not in _ENDINGS
    else:
        is_directory = path.is_dir()
    if path.name in ("", ".."):
        path = path.resolve()
    # A dot in a directory's name need not start a suffix: Llama-3.1-8B.
    return path.with_name((name if is_directory else Path(name).stem or name) + SUFFIX)


def is_there(path: Path) -> bool:
    """Whether there is something at a path; there is nothing at one whose name is too long."""
    try:
        return path.exists()
    except (OSError, ValueError):
        return False


def why_no_config(text: str) -> str:
    """Return why a config cannot be saved at the path that the user typed; "" if it can be tried."""
    path = Path(text).expanduser()
    if path.is_dir():
        return f"{text or 'The name'} is {'a directory' if text else 'empty'}."
    if path.suffix not in (".yaml", ".yml", ".json"):
        return "The name must end in .yaml or .json."
    return "" if path.parent.is_dir() else f"No such directory: {path.parent}."


def set_aside_path(path: Path) -> Path:
    """Return the path to rename an unreadable file to: `NAME.bak`, or the first free of `NAME.bak2`, ..."""
    names = (path.with_name(f"{path.name}.bak{number if number > 1 else ''}") for number in count(1))
    return next(name for name in names if not name.exists())
