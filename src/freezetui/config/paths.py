"""Paths of configs: the default name, and checks on the path a config is saved to."""

from __future__ import annotations

import errno
import os
import re
import stat
from itertools import count
from pathlib import Path

from freezetui.checkpoint.sources.urls import is_url, name_of, shown_url
from freezetui.errors import ConfigError
from freezetui.text import shortened

SUFFIX = ".freeze.yaml"
#: What to do where a config cannot be written.
ELSEWHERE = "Save under another name: S in the TUI, -o FILE in `plan`."

#: Suffixes of checkpoint files.
ENDINGS = frozenset([".pth", ".pt", ".pt2", ".bin", ".ckpt", ".safetensors", ".gguf", ".tar"])
_SHARD = re.compile(r"[-_.]\d+-of-\d+$")
#: A config for more models than this is named after the first one only.
_MAX_NAMED = 3
_DESCRIPTORS = {"stdin": 0, "stdout": 1, "stderr": 2}
_OWN_DESCRIPTOR = re.compile(r"/dev/(std(?:in|out|err))|/(?:dev|proc/self)/fd/(\d{1,9})")


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
        is_directory = path.suffix not in ENDINGS
    else:
        is_directory = os.path.isdir(path)  # noqa: PTH112 (does not raise where the name is too long)
    if path.name in ("", ".."):
        path = path.resolve()
    # A dot in a directory's name need not start a suffix: Llama-3.1-8B.
    return path.with_name((name if is_directory else Path(name).stem or name) + SUFFIX)


def typed_path(text: str) -> Path:
    """Return the path that the user typed, `~` expanded.

    Raises:
        ConfigError: the user is unknown.
    """
    try:
        return Path(text).expanduser()
    except RuntimeError:
        user = text.partition("/")[0]
        raise ConfigError(f"{user}: no such user.", "Type the whole path.") from None


def why_no_config(text: str) -> str:
    """Return why a config cannot be saved at the path that the user typed; "" if it can be tried."""
    try:
        path = typed_path(text)
    except ConfigError as error:
        return str(error)
    if os.path.isdir(path):  # noqa: PTH112 (does not raise where the name is too long)
        return f"{text or 'The name'} is {'a directory' if text else 'empty'}."
    if path.suffix not in (".yaml", ".yml", ".json"):
        return "The name must end in .yaml or .json."
    if not os.path.isdir(path.parent):  # noqa: PTH112
        return f"No such directory: {shortened(str(path.parent))}."
    why = why_not_a_file(path)
    return f"The name {why}." if why and not is_special(path) else ""


def why_not_a_file(path: Path) -> str:
    """Return why `path` cannot be a regular file: "is a directory", and so on; "" if it is one or can be."""
    try:
        mode = path.stat().st_mode
    except ValueError:
        return "contains a NUL character"
    except OSError as error:
        return "is too long" if error.errno == errno.ENAMETOOLONG else ""
    if stat.S_ISDIR(mode):
        return "is a directory"
    return "" if stat.S_ISREG(mode) else "is not a regular file"


def is_special(path: Path) -> bool:
    """Whether this is a pipe, a device or a socket, or names an open file of this process."""
    if own_descriptor(path) is not None:
        return True
    try:
        mode = path.stat().st_mode
    except (OSError, ValueError):
        return False
    return not (stat.S_ISREG(mode) or stat.S_ISDIR(mode))


def own_descriptor(path: Path) -> int | None:
    """Return 1 for /dev/stdout, and so on; None if it does not name an open file of this process."""
    found = _OWN_DESCRIPTOR.fullmatch(str(path))
    return None if found is None else _DESCRIPTORS.get(found[1], int(found[2] or 0))


def set_aside_path(path: Path) -> Path:
    """Return the path to rename an unreadable file to: `NAME.bak`, or the first free of `NAME.bak2`, ..."""
    names = (path.with_name(f"{path.name}.bak{number if number > 1 else ''}") for number in count(1))
    return next(name for name in names if not os.path.lexists(name))


def relative_source(source: str, directory: Path) -> str:
    """Return the checkpoint's path relative to `directory`, or its URL without credentials.

    A link keeps its own name: what it leads to, as in a cache of downloads, may be called otherwise.
    """
    if is_url(source):
        return shown_url(source)
    path = Path(source)
    if path.name in ("", ".."):
        path = Path(os.path.realpath(path))
    path = Path(os.path.realpath(path.parent), path.name)
    return Path(os.path.relpath(path, directory)).as_posix()
