"""Matches tied tensors with the one copy of them that a format without ties keeps."""

from __future__ import annotations

from freezetui.checkpoint.types import Checkpoint, TensorInfo
from freezetui.diff.matching import Matching, Pair
from freezetui.numbers import plural

#: The start of `Checkpoint.format` where tensors are stored by name.
_BY_NAME = ("safetensors", "GGUF")


def match_ties(matching: Matching, before: Checkpoint, after: Checkpoint) -> Matching:
    """Match a tensor that a side lacks with the tied one that it has, if it stores tensors by name.

    safetensors and GGUF do, so that libraries save only one of several tied tensors.
    """
    pairs = list(matching.pairs)
    notes = [matching.note] if matching.note else []
    for side, checkpoint, swapped in (("AFTER", after, False), ("BEFORE", before, True)):
        if checkpoint.format.startswith(_BY_NAME):
            found = _match_copies(pairs, swapped)
            if found:
                notes.append(f"{plural(found, 'tied tensor')} compared with the one copy that {side} stores")
    return Matching(tuple(pairs), "; ".join(notes))


def _match_copies(pairs: list[Pair], swapped: bool) -> int:
    """Match what the side without ties lacks, and return how many that are.

    Args:
        swapped: whether that side is BEFORE.
    """
    copies: dict[object, TensorInfo] = {}
    lacking: list[tuple[int, TensorInfo]] = []
    for number, (_, *sides) in enumerate(pairs):
        here, there = reversed(sides) if swapped else sides
        if here is None or here.storage is None:
            continue
        if there is None:
            lacking.append((number, here))
        else:
            copies.setdefault((here.storage, here.shape), there)
    found = [(number, here, copies.get((here.storage, here.shape))) for number, here in lacking]
    for number, here, copy in found:
        if copy is not None:
            name = pairs[number].name
            pairs[number] = Pair(name, copy, here) if swapped else Pair(name, here, copy)
    return sum(copy is not None for _, _, copy in found)
