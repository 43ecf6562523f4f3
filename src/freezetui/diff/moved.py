"""Matches modules that were renamed by hand, where their bytes prove it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import NamedTuple, TypeAlias

from freezetui.checkpoint.types import TensorInfo
from freezetui.diff.endings import Endings
from freezetui.diff.matching import NONE_CHOSEN, Matching, is_copy, left_over

_Couple: TypeAlias = tuple[TensorInfo, TensorInfo]
#: Returns for each couple of a tensor of BEFORE and one of AFTER whether their bytes are the same.
Same: TypeAlias = Callable[[Sequence[_Couple]], list[bool]]

#: How many names are sampled, how many others each is held against, and how many paths are tried.
_MAX_SAMPLE, _MAX_OTHERS, _MAX_TRIED = 200, 64, 16
#: A module is the same if so many of its tensors are, and this share of its bytes.
_MIN_SAME, _MIN_SHARE = 2, 0.5


class _Move(NamedTuple):
    """A module below one path in BEFORE and below another in AFTER; paths end with a dot, or are ""."""

    before: str
    after: str
    couples: tuple[_Couple, ...]


def match_moved(matching: Matching, same: Same) -> Matching:
    """Return the matching with those of the tensors left over that are in a renamed module.

    A module is a candidate if the names below it and their shapes are those of another one, and is matched if
    most of its bytes are the same.
    """
    left = {pair.before.name: pair.before for pair in matching.pairs if pair.before and not pair.after}
    right = {pair.after.name: pair.after for pair in matching.pairs if pair.after and not pair.before}
    note_before = left_over(left, right)
    found: dict[str, TensorInfo] = {}
    notes = []
    for before, after in _paths(left, right):
        move = _move(before, after, left, right)
        if len(move.couples) < _MIN_SAME:
            continue
        equal = same(move.couples)
        nbytes = sum(one.bytes for (one, _), is_same in zip(move.couples, equal, strict=True) if is_same)
        if sum(equal) < _MIN_SAME or nbytes < _MIN_SHARE * sum(one.bytes for one, _ in move.couples):
            continue
        notes.append(_note(move, sum(equal)))
        for one, other in move.couples:
            found[one.name] = other
            del left[one.name], right[other.name]
    if not found:
        return matching
    pairs = [
        pair._replace(after=found[pair.before.name])
        if pair.before is not None and pair.after is None and pair.before.name in found
        else pair
        for pair in matching.pairs
        if pair.before is not None or (pair.after is not None and pair.after.name in right)
    ]
    told = "" if matching.note == note_before else matching.note.removesuffix(NONE_CHOSEN)
    notes = [told, *notes, left_over(left, right)]
    return matching._replace(pairs=tuple(pairs), note="; ".join(filter(None, notes)))


def _paths(left: dict[str, TensorInfo], right: dict[str, TensorInfo]) -> list[tuple[str, str]]:
    """Return what most tensors of one shape have before a common end of their names; averaged copies last."""
    shapes: dict[tuple[int, ...], list[str]] = {}
    for name, tensor in right.items():
        shapes.setdefault(tensor.shape, []).append(name)
    ends = {shape: Endings(names) for shape, names in shapes.items()}
    step = max(1, len(left) // _MAX_SAMPLE)
    tried: Counter[tuple[str, str]] = Counter()
    for name in list(left)[::step]:
        alike = ends.get(left[name].shape)
        others = alike.nearest(name)[:_MAX_OTHERS] if alike is not None else ()
        tried.update({_apart(name, other) for other in others})
    return sorted((paths for paths, _ in tried.most_common(_MAX_TRIED)), key=is_copy)


def _apart(name: str, other: str) -> tuple[str, str]:
    """Return what is before the common end of two names: "a." and "b.c." for "a.x.w" and "b.c.x.w"."""
    one, two = name.split("."), other.split(".")
    same = 0
    while same < min(len(one), len(two)) and one[-1 - same] == two[-1 - same]:
        same += 1
    return ".".join([*one[: len(one) - same], ""]), ".".join([*two[: len(two) - same], ""])


def _move(before: str, after: str, left: dict[str, TensorInfo], right: dict[str, TensorInfo]) -> _Move:
    couples = [
        (tensor, other)
        for name, tensor in left.items()
        if name.startswith(before)
        and (other := right.get(after + name[len(before) :])) is not None
        and other.shape == tensor.shape
    ]
    return _Move(before, after, tuple(couples))


def _note(move: _Move, equal: int) -> str:
    here, there = (path.removesuffix(".") or "the top level" for path in (move.before, move.after))
    return f"matched {here} with {there}: {equal:,} of {len(move.couples):,} tensors have the same bytes"
