"""Natural order of names, for formats whose own order means nothing."""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Iterable
from os.path import commonprefix

_FIRST = re.compile(r"stem|conv_?stem|conv1|patch_embed\w*|\w*embed(ding)?s?(_\w+)?|shared|wte|wpe|conv_proj")
_LAST = re.compile(r"(aux_)?classifier\w*|fc|heads?|lm_head|score|logits|roi_heads")
_DIGITS = re.compile(r"[0-9]{1,18}")
_BEFORE, _AMONG, _DECODER, _BEHIND = "0123"
#: A module's own tensors, as torch lists them.
_OWN = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")
_FEW, _MAX_DEPTH = 500, 20


def natural_order(names: Iterable[str]) -> list[str]:
    """The names as a model would list them.

    `layers.2` stands before `layers.10`; a module's own tensors stand before those of its submodules;
    embeddings and stems stand before their siblings, heads behind them, a decoder behind its encoder: people
    freeze "everything before here".
    """
    return _Order().ordered(sorted(names), _MAX_DEPTH)


class _Order:
    """Remembers the sort keys of segments, which most names share."""

    def __init__(self) -> None:
        self._modules, self._leaves = _Modules(), _Leaves()

    def ordered(self, names: list[str], depth: int) -> list[str]:
        """Names that are sorted by their characters, in natural order.

        Many names go module by module, since what lies below one stands together already, and blocks that
        repeat are put in order once.
        """
        if len(names) < _FEW or not depth:
            return sorted(names, key=self._place)
        path, dot, _ = commonprefix((names[0], names[-1])).rpartition(".")  # noqa: RUF071
        above = path + dot
        leaves, modules = _children(names, above)
        found = [above + leaf for leaf in sorted(leaves, key=self._leaves.__getitem__)]
        previous: list[str] = []
        inside: list[str] = []
        for segment in sorted(modules, key=self._modules.__getitem__):
            path = f"{above}{segment}."
            tails = [name[len(path) :] for name in names[modules[segment]]]
            if tails != previous:
                previous, inside = tails, self.ordered(tails, depth - 1)
            found += [path + tail for tail in inside]
        return found

    def _place(self, name: str) -> list[str]:
        *modules, leaf = name.split(".")
        return [*map(self._modules.__getitem__, modules), self._leaves[leaf]]


def _children(names: list[str], above: str) -> tuple[list[str], dict[str, slice]]:
    """The tensors and the modules right below `above`, with the modules' names as a slice of `names`."""
    leaves: list[str] = []
    modules: dict[str, slice] = {}
    at = 0
    while at < len(names):
        segment, dot, _ = names[at][len(above) :].partition(".")
        if dot:
            # "/" is the character after "."
            stop = bisect_left(names, f"{above}{segment}/", at)
            modules[segment] = slice(at, stop)
            at = stop
        else:
            leaves.append(segment)
            at += 1
    return leaves, modules


class _Modules(dict[str, str]):
    """Sort keys of modules' segments."""

    def __missing__(self, segment: str) -> str:
        rank = _BEFORE if _FIRST.fullmatch(segment) else _BEHIND if _LAST.fullmatch(segment) else _AMONG
        key = self[segment] = (_DECODER if segment == "decoder" else rank) + _natural(segment)
        return key


class _Leaves(dict[str, str]):
    """Sort keys of the last segments, all before those of modules."""

    def __missing__(self, leaf: str) -> str:
        rank = _OWN.index(leaf) if leaf in _OWN else len(_OWN)
        key = self[leaf] = f"\0{rank}{_natural(leaf)}"
        return key


def _natural(text: str) -> str:
    """Sorts as the numbers in it do; the text itself behind it tells `01` from `1`."""
    return _DIGITS.sub(lambda digits: digits[0].rjust(18, "0"), text) + "\0" + text
