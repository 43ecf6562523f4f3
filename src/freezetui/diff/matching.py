"""Matches the tensors of two checkpoints by name, or by name below a path."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

from freezetui.checkpoint.types import TensorInfo
from freezetui.diff.endings import Endings
from freezetui.freeze.peft_prefixes import ADDED_BY_PEFT
from freezetui.numbers import plural

#: How many names are sampled to find prefixes, and how many of the most common ones are tried on all.
_MAX_SAMPLE, _MAX_TRIED = 200, 16
#: A prefix must explain at least this share of the smaller side.
_MIN_SHARE = 0.5
#: Words in the path of a copy that follows the model: an EMA, a teacher, a momentum encoder.
_COPY = re.compile(r"(^|[._])(ema|swa|averaged|teacher|target|momentum|shadow)([._]|$)")

#: The end of a note on several paths, as long as nothing else tells which is meant.
NONE_CHOSEN = ", so none was chosen: matched by full name only"


class Pair(NamedTuple):
    """A tensor before and after; None on one side if only the other has it.

    Attributes:
        name: in BEFORE; for an added tensor, the name that it would have in BEFORE.
    """

    name: str
    before: TensorInfo | None
    after: TensorInfo | None


class Matching(NamedTuple):
    """The tensors of two checkpoints, matched.

    Attributes:
        pairs: in the order of BEFORE, then added tensors.
        note: how they were matched, or why not, for display; "" if the names are equal.
        paths: below which of BEFORE and of AFTER the names are the same, each with a dot at the end.
        absent: names that an index lists and whose data neither side contains.
    """

    pairs: tuple[Pair, ...]
    note: str = ""
    paths: tuple[str, str] = ("", "")
    absent: tuple[str, ...] = ()

    def names_before(self, name: str) -> tuple[str, ...]:
        """Return how a tensor of AFTER may be called in BEFORE."""
        own, path = self.paths
        return (name, own + name[len(path) :]) if (own or path) and name.startswith(path) else (name,)


def match(before: Sequence[TensorInfo], after: Sequence[TensorInfo]) -> Matching:
    """Match by name; if that matches too little of the smaller side, below a path that one side has.

    Prefixes that the reader strips from every name (such as `module.`) are already stripped.
    """
    here = {tensor.name: tensor for tensor in before}
    there = {tensor.name: tensor for tensor in after}
    smaller = min(len(here), len(there))
    agree = len(here.keys() & there.keys())
    if not smaller or agree >= _MIN_SHARE * smaller:
        return _paired(here, there, "", "", left_over(here.keys() - there.keys(), there.keys() - here.keys()))
    fits = {**_prefixes(here, there, agree, False), **_prefixes(there, here, agree, True)}
    best = max(fits.values(), default=0)
    found = [prefix for prefix, count in fits.items() if count == best]
    if best < _MIN_SHARE * smaller:
        return _paired(here, there, "", "", left_over(here.keys() - there.keys(), there.keys() - here.keys()))
    if len(found) > 1 and len(models := [paths for paths in found if not is_copy(paths)]) == 1:
        copies = sorted((one or other)[:-1] for one, other in found if (one, other) != models[0])
        return _paired(here, there, *models[0], f"not with its copies in {', '.join(copies[:4])}")
    if len(found) > 1:
        paths = ", ".join(sorted(prefix[0] or prefix[1] for prefix in found)[:4])
        note = f"the names fit below several paths ({paths}){NONE_CHOSEN}"
        return _paired(here, there, "", "", note)
    return _paired(here, there, *found[0], "")


def _prefixes(
    small: Mapping[str, TensorInfo], large: Mapping[str, TensorInfo], agree: int, swapped: bool
) -> dict[tuple[str, str], int]:
    """Return how many tensors of `small` are in `large` below each path, with the same shape.

    All names of the small side may begin with a path of its own, in place of the other's.

    Args:
        swapped: whether `small` is AFTER; the keys are always (prefix in BEFORE, prefix in AFTER).
    """
    ends = Endings(large)
    found: dict[tuple[str, str], int] = {}
    own_paths = dict.fromkeys(("", _common_path(list(small))))
    for own in own_paths:
        shorts = {name[len(own) :]: tensor for name, tensor in small.items()}
        step = max(1, len(shorts) // _MAX_SAMPLE)
        tried: Counter[str] = Counter()
        for short in list(shorts)[::step]:
            for name in ends.of(short)[: 64 * _MAX_SAMPLE]:
                if name.endswith(f".{short}") and large[name].shape == shorts[short].shape:
                    tried[name[: len(name) - len(short)]] += 1
        for path, _ in tried.most_common(_MAX_TRIED):
            count = sum(
                (other := large.get(path + short)) is not None and other.shape == tensor.shape
                for short, tensor in shorts.items()
            )
            if count > agree:
                apart = _without_common_end(own, path)
                found[apart[::-1] if swapped else apart] = count
    return found


def is_copy(paths: tuple[str, str]) -> bool:
    """Whether a path is that of an averaged copy beside the model that is trained."""
    return any(_COPY.search(path) for path in paths)


def _without_common_end(one: str, other: str) -> tuple[str, str]:
    """Return two paths without their common last modules: "a." and "b." for "a.x." and "b.x."."""
    left, right = one.split("."), other.split(".")
    while len(left) > 1 and len(right) > 1 and left[-2] == right[-2]:
        del left[-2], right[-2]
    return ".".join(left), ".".join(right)


def _common_path(names: Sequence[str]) -> str:
    """Return the module path that every name begins with, with a dot at the end; "" for none."""
    if len(names) < 2:
        return ""
    first, last = min(names), max(names)
    same = next((i for i, (a, b) in enumerate(zip(first, last, strict=False)) if a != b), 0)
    return first[: first.rfind(".", 0, same) + 1]


def _paired(
    here: Mapping[str, TensorInfo], there: Mapping[str, TensorInfo], own: str, path: str, note: str
) -> Matching:
    """Return the pairs, with the prefix `own` in BEFORE and `path` in AFTER."""
    left = dict(there)
    found = {name: left.pop(path + name[len(own) :], None) for name in here if name.startswith(own)}
    pairs = []
    for name, tensor in here.items():
        other = found.get(name)
        # What is beside the part keeps its full name: a head, for example.
        pairs.append(Pair(name, tensor, left.pop(name, None) if other is None else other))
    for name, tensor in left.items():
        short = own + name[len(path) :] if name.startswith(path) else name
        # A name that BEFORE already uses for another tensor stays as in AFTER.
        pairs.append(Pair(name if short in here else short, None, tensor))
    if own or path:
        parts = [
            f"{side} has the prefix {prefix}" for side, prefix in (("BEFORE", own), ("AFTER", path)) if prefix
        ]
        note = "; ".join(filter(None, (f"matched below a path: {', '.join(parts)}", note)))
    return Matching(tuple(_unique(pairs)), note, (own, path))


def _unique(pairs: list[Pair]) -> list[Pair]:
    """Return the pairs with unique names, as the tree of modules requires."""
    taken: set[str] = set()
    for index, pair in enumerate(pairs):
        name = pair.name
        while name in taken:
            name += " (AFTER)"
        taken.add(name)
        pairs[index] = pair._replace(name=name)
    return pairs


def left_over(removed: Collection[str], added: Collection[str]) -> str:
    """Return a note if both sides have tensors that the other lacks, of these names, else ""."""
    if not removed or not added:
        return ""
    for side, names in (("BEFORE", removed), ("AFTER", added)):
        if all(map(_is_added, names)):
            return (
                f"{side} is an adapter, which only adds to a model's weights: to compare the weights, "
                "merge it into its model (PEFT: merge_and_unload) and save that"
            )
    return (
        f"{plural(len(removed), 'name')} only in BEFORE and {len(added):,} only in AFTER: "
        "if these are the same weights under different names, they were not compared"
    )


def _is_added(name: str) -> bool:
    """Whether PEFT adds a tensor of this name to a model."""
    segments = name.split(".")
    return segments[-1] == "prompt_embeddings" or any(each.startswith(ADDED_BY_PEFT) for each in segments)
