"""Sorts names in natural order, for formats whose own order is meaningless."""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Iterable
from os.path import commonprefix

_FIRST = re.compile(r"stem|conv_?stem|conv1|patch_embed\w*|\w*embed(ding)?s?(_\w+)?|shared|wte|wpe|conv_proj")
_LAST = re.compile(r"(aux_)?classifier\w*|fc|heads?|lm_head|score|logits|roi_heads")
_DIGITS = re.compile(r"[0-9]{1,18}")
_FIRST_RANK, _MIDDLE_RANK, _DECODER_RANK, _LAST_RANK = "0123"
#: A module's own tensors, in torch's order.
_OWN = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")
_FEW, _MAX_DEPTH = 500, 20


def natural_order(names: Iterable[str]) -> list[str]:
    """Return the names in the order in which a model would list them.

    `layers.2` is before `layers.10`; a module's own tensors are before those of its submodules; embeddings
    and stems are before their siblings, heads after them, a decoder after its encoder: users freeze
    "everything before this line".
    """
    return _Order().ordered(sorted(names), "", _MAX_DEPTH)


class _Order:
    """Sorts names; caches the sort keys of segments, which most names share."""

    def __init__(self) -> None:
        self._modules, self._leaves = _Modules(), _Leaves()

    def ordered(self, names: list[str], above: str, depth: int) -> list[str]:
        """Return names, given in lexicographic order, in natural order.

        Many names are sorted module by module, since those of one module are already adjacent, and repeated
        blocks are sorted once.

        Args:
            above: what all names start with; empty, or a path and a dot.
        """
        if len(names) < _FEW or not depth:
            return sorted(names, key=lambda name: self._key(name[len(above) :]))
        path, dot, _ = commonprefix((names[0], names[-1])).rpartition(".")  # noqa: RUF071
        above = path + dot
        leaves, modules = _children(names, above)
        found = sorted(leaves, key=lambda name: self._leaves[name[len(above) :]])
        previous: list[str] = []
        places: list[int] = []
        for segment in sorted(modules, key=self._modules.__getitem__):
            path, block = f"{above}{segment}.", names[modules[segment]]
            tails = [name[len(path) :] for name in block]
            if tails == previous:
                found += map(block.__getitem__, places)
                continue
            inside = self.ordered(block, path, depth - 1)
            place = {name: at for at, name in enumerate(block)}
            previous, places = tails, list(map(place.__getitem__, inside))
            found += inside
        return found

    def _key(self, name: str) -> list[str]:
        *modules, leaf = name.split(".")
        return [*map(self._modules.__getitem__, modules), self._leaves[leaf]]


def _children(names: list[str], above: str) -> tuple[list[str], dict[str, slice]]:
    """Return the tensors and the modules directly below `above`, each module with its slice of `names`."""
    leaves: list[str] = []
    modules: dict[str, slice] = {}
    at = 0
    while at < len(names):
        segment, dot, _ = names[at][len(above) :].partition(".")
        if dot:
            # "/" follows "." in ASCII.
            stop = bisect_left(names, f"{above}{segment}/", at)
            modules[segment] = slice(at, stop)
            at = stop
        else:
            leaves.append(names[at])
            at += 1
    return leaves, modules


class _Modules(dict[str, str]):
    """Sort keys of module segments."""

    def __missing__(self, segment: str) -> str:
        if segment == "decoder":
            rank = _DECODER_RANK
        elif _FIRST.fullmatch(segment):
            rank = _FIRST_RANK
        else:
            rank = _LAST_RANK if _LAST.fullmatch(segment) else _MIDDLE_RANK
        key = self[segment] = rank + _natural(segment)
        return key


class _Leaves(dict[str, str]):
    """Sort keys of last segments, all before those of modules."""

    def __missing__(self, leaf: str) -> str:
        rank = _OWN.index(leaf) if leaf in _OWN else len(_OWN)
        key = self[leaf] = f"\0{rank}{_natural(leaf)}"
        return key


def _natural(text: str) -> str:
    """Return a key that sorts by the numbers in the text; the text at its end separates `01` from `1`."""
    return _DIGITS.sub(lambda digits: digits[0].rjust(18, "0"), text) + "\0" + text
