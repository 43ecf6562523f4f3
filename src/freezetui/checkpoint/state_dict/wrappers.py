"""Removes what wrappers such as DDP, FSDP, torch.compile and PEFT add to names.

The readers and the training side both use this list, so that a file and the model that it was saved from get
the same names.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from operator import methodcaller
from typing import NamedTuple

#: Modules that only contain the module they wrap: torch.compile, FSDP, activation checkpointing, Fabric.
SEGMENTS = ("_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module", "_forward_module")
#: Prefixes of all names: DDP and DataParallel, PEFT, a GAN's generator. Inside names the model may use them.
_PREFIXES = ("module.", "base_model.model.", "netG.", *(f"{segment}." for segment in SEGMENTS))

#: A substring of all segments: one search through 100,000 names instead of four.
_COMMON = "_mod"
_INSIDE = re.compile(rf"(?<![^.])(?:{'|'.join(SEGMENTS)})\.")


class Unwrapped(NamedTuple):
    """Names without what wrappers add.

    Attributes:
        names: in the order given; different names stay different.
        prefix: the common prefix removed from all names, e.g. "module._orig_mod."; "" for none.
        inside: the segments removed from some names after the prefix, e.g. ("_orig_mod",).
    """

    names: Sequence[str]
    prefix: str = ""
    inside: tuple[str, ...] = ()

    def path(self, path: str) -> str:
        """Return the path of one of the model's modules without what was removed from the names."""
        path = f"{path}.".removeprefix(self.prefix)
        return (_INSIDE.sub("", path) if self.inside else path)[:-1]


def unwrap(names: Sequence[str]) -> Unwrapped:
    """Remove a prefix that all names have, then the wrappers' segments inside, unless names become equal.

    If there is nothing to remove, no name is processed individually.
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


def main_prefixes(names: Collection[str]) -> Iterator[str]:
    """Yield the leading segments that at least four of five names share, "model." and then "model.net."."""
    least, prefix = len(names) * 4, ""
    while True:
        depth = prefix.count(".")
        inside = (name.split(".", depth + 1) for name in names if name.startswith(prefix))
        segments = Counter(parts[depth] for parts in inside if len(parts) > depth + 1)
        segment, count = segments.most_common(1)[0] if segments else ("", 0)
        if not count or count * 5 < least:
            return
        prefix = f"{prefix}{segment}."
        yield prefix


def _common_prefix(names: Sequence[str]) -> str:
    prefix = ""
    while names:
        longer = next((prefix + p for p in _PREFIXES if names[0].startswith(prefix + p)), None)
        if longer is None or not all(map(methodcaller("startswith", longer), names)):
            break
        prefix = longer
    return prefix
