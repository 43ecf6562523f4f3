"""Natural order of names, for formats whose own order means nothing."""

from __future__ import annotations

import re
from collections.abc import Iterable

_FIRST = re.compile(r"stem|conv_?stem|conv1|patch_embed\w*|\w*embed(ding)?s?(_\w+)?|shared|wte|wpe|conv_proj")
_LAST = re.compile(r"(aux_)?classifier\w*|fc|heads?|lm_head|score|logits|roi_heads")
_DIGITS = re.compile(r"[0-9]{1,18}")
_BEFORE, _AMONG, _DECODER, _BEHIND = "0123"
#: A module's own tensors, as torch lists them.
_OWN = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")


def natural_order(names: Iterable[str]) -> list[str]:
    """The names as a model would list them.

    `layers.2` stands before `layers.10`; a module's own tensors stand before those of its submodules;
    embeddings and stems stand before their siblings, heads behind them, a decoder behind its encoder: people
    freeze "everything before here".
    """
    modules: dict[str, list[str]] = {}
    for name in names:
        path, dot, leaf = name.rpartition(".")
        modules.setdefault(path + dot, []).append(leaf)
    segments, leaves = _Segments(), _Leaves()
    paths = {path: "\0".join(map(segments.__getitem__, path[:-1].split("."))) for path in modules}
    return [
        path + leaf
        for path in sorted(paths, key=paths.__getitem__)
        for leaf in sorted(modules[path], key=leaves.__getitem__)
    ]


class _Segments(dict[str, str]):
    """Sort keys of segments; most names share theirs."""

    def __missing__(self, segment: str) -> str:
        rank = _BEFORE if _FIRST.fullmatch(segment) else _BEHIND if _LAST.fullmatch(segment) else _AMONG
        key = self[segment] = (_DECODER if segment == "decoder" else rank) + _natural(segment)
        return key


class _Leaves(dict[str, tuple[int, str]]):
    """Sort keys of the last segments."""

    def __missing__(self, leaf: str) -> tuple[int, str]:
        rank = _OWN.index(leaf) if leaf in _OWN else len(_OWN)
        key = self[leaf] = rank, _natural(leaf)
        return key


def _natural(text: str) -> str:
    return _DIGITS.sub(lambda digits: digits[0].rjust(18, "0"), text)
