"""Finds tied tensors that one side lacks because its format stores each tensor once."""

from __future__ import annotations

from freezetui.checkpoint.types import Checkpoint
from freezetui.diff.matching import Matching

#: The start of `Checkpoint.format` where tensors are stored by name, so that libraries save only one of
#: several tied ones.
_BY_NAME = ("safetensors", "GGUF")


def stored_once(matching: Matching, before: Checkpoint, after: Checkpoint) -> dict[str, str]:
    """Return the tensors that one side lacks -> the matched tensor that they are tied to on the other."""
    found: dict[str, str] = {}
    for checkpoint, swapped in ((after, False), (before, True)):
        if not checkpoint.format.startswith(_BY_NAME):
            continue
        copies: dict[object, str] = {}
        lacking: dict[str, object] = {}
        for name, *sides in matching.pairs:
            here, there = reversed(sides) if swapped else sides
            if here is None or here.storage is None:
                continue
            if there is None:
                lacking[name] = here.storage, here.shape
            else:
                copies.setdefault((here.storage, here.shape), name)
        found |= {name: copies[place] for name, place in lacking.items() if place in copies}
    return found
