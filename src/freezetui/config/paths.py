"""The file that a config is saved to: whether it may be, and what stands there."""

from __future__ import annotations

import re
from itertools import count
from pathlib import Path

from freezetui.checkpoint.sources.urls import is_url, name_of


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


#: What the name of a checkpoint behind a URL may end with.
_ENDINGS = frozenset([".pth", ".pt", ".pt2", ".bin", ".ckpt", ".safetensors", ".gguf", ".tar"])


SUFFIX = ".freeze.yaml"


_SHARD = re.compile(r"[-_.]\d+-of-\d+$")


_MAX_NAMED = 3


def default_path(checkpoint: str | Path, *more: str | Path) -> Path:
    """Where the config of a checkpoint lies: `vgg16.pth` -> `vgg16.freeze.yaml` beside it.

    A folder's lies beside the folder, that of a URL in the working folder. Several files that are opened
    as one have one of their own, which no single one of them has: `unet+encoder.freeze.yaml`.
    """
    if more:
        first = default_path(checkpoint)
        stems = [default_path(file).name.removesuffix(SUFFIX) for file in (checkpoint, *more)]
        models = list(dict.fromkeys(_SHARD.sub("", stem) or stem for stem in stems))
        name = "+".join(models) if len(models) <= _MAX_NAMED else f"{models[0]}+{len(models) - 1}"
        return first.with_name(name + SUFFIX)
    name, path = name_of(checkpoint).removesuffix(".index.json"), Path(checkpoint)
    if is_url(str(checkpoint)):
        path = Path(name)
        is_folder = path.suffix not in _ENDINGS
    else:
        is_folder = path.is_dir()
    if path.name in ("", ".."):
        path = path.resolve()
    # A folder's name may hold a dot that ends nothing: Llama-3.1-8B.
    return path.with_name((name if is_folder else Path(name).stem or name) + SUFFIX)
