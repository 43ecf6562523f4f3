"""Reads from the code in a TorchScript archive, as text, which parameters and buffers each class declares."""

from __future__ import annotations

import re

from freezetui.checkpoint.formats.zip_directory import ZipDirectory
from freezetui.checkpoint.state_dict.modules import Declared

_CLASS = re.compile(r"^class (\w+)\(Module\):\n  __parameters__ = \[(.*?)\]\n  __buffers__ = \[(.*?)\]", re.M)
_NAME = re.compile(r'"([^"\n]*)"')
_MAX_BYTES = 2**26


def declared(directory: ZipDirectory) -> Declared:
    """Return the declarations of every class in an archive; of excessive code only the first part.

    Raises:
        CheckpointError: the archive is corrupt.
    """
    found: Declared = {}
    left = _MAX_BYTES
    for member in directory.members():
        _, code, path = member.name.partition("/code/")
        if not code or not path.endswith(".py") or member.size > left:
            continue
        left -= member.size
        module = path.removesuffix(".py").replace("/", ".")
        for name, parameters, buffers in _CLASS.findall(directory.read(member).decode("utf-8", "replace")):
            found[f"{module}.{name}"] = tuple(_NAME.findall(parameters)), tuple(_NAME.findall(buffers))
    return found
