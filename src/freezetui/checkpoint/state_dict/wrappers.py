"""What wrappers such as DDP, FSDP, torch.compile and PEFT put into names, and the names without it.

The only list: the readers and the training side both ask here, so that a file and the model that it was
saved from come to the same names.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from operator import methodcaller
from typing import NamedTuple

#: Modules that hold only the module that they wrap: torch.compile, FSDP, activation checkpointing, Fabric.
SEGMENTS = ("_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module", "_forward_module")
#: In front of all names: DDP and DataParallel, PEFT, a GAN's generator. Inside they may be the model's own.
_PREFIXES = ("module.", "base_model.model.", "netG.", *(f"{segment}." for segment in SEGMENTS))

#: What all segments hold: one search through 100,000 names in place of three.
_COMMON = "_mod"
_INSIDE = re.compile(rf"(?<![^.])(?:{'|'.join(SEGMENTS)})\.")


class Unwrapped(NamedTuple):
    """Names without what wrappers put into them.

    Attributes:
        names: in the order given; no two are equal that were not.
        prefix: what was taken off the front of every name, e.g. "module._orig_mod."; "" for nothing.
        inside: the segments that were taken out of some names behind the prefix, e.g. ("_orig_mod",).
    """

    names: Sequence[str]
    prefix: str = ""
    inside: tuple[str, ...] = ()

    def path(self, path: str) -> str:
        """Return the path of a module of the model without what was taken out of the names."""
        path = f"{path}.".removeprefix(self.prefix)
        return (_INSIDE.sub("", path) if self.inside else path)[:-1]


def unwrap(names: Sequence[str]) -> Unwrapped:
    """Take off a prefix that all names have, then the wrappers' segments inside, unless names become equal.

    Nothing is done name by name where there is nothing to take off.
    """
    prefix = _common_prefix(names)
    short = [name[len(prefix) :] for name in names] if prefix else names
    text = "\n".join(short)
    if _COMMON in text:
        text = f"\n{text}"
        inside = tuple(s for s in SEGMENTS if f".{s}." in text or f"\n{s}." in text)
        bare = [_INSIDE.sub("", name) if _COMMON in name else name for name in short]
        if bare != short and len(set(bare)) == len(set(short)):
            return Unwrapped(bare, prefix, inside)
    return Unwrapped(short, prefix)


def _common_prefix(names: Sequence[str]) -> str:
    prefix = ""
    while names:
        longer = next((prefix + p for p in _PREFIXES if names[0].startswith(prefix + p)), None)
        if longer is None or not all(map(methodcaller("startswith", longer), names)):
            break
        prefix = longer
    return prefix
