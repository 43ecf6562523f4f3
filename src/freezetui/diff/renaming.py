"""Matches what plain names leave over on both sides: by other spellings, and by the live model's names."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

import msgspec

from freezetui.checkpoint.types import Checkpoint, TensorInfo
from freezetui.diff.matching import Matching, Pair, match
from freezetui.diff.moved import Same, match_moved
from freezetui.errors import FreezeTuiError
from freezetui.numbers import plural

if TYPE_CHECKING:
    from freezetui.freeze.name_map import NameMap

#: Returns the name map of a checkpoint's model; raises a FreezeTuiError that says why there is none.
Ask: TypeAlias = "Callable[[Checkpoint], NameMap]"

#: A part of a name -> how else the same tensor is spelled: both weight norms of torch, the names of norms
#: converted from TensorFlow, and the modules that PEFT puts around others.
_SPELLINGS = (
    (r"(^|\.)parametrizations\.(\w+)\.original0$", r"\1\2_g"),
    (r"(^|\.)parametrizations\.(\w+)\.original1$", r"\1\2_v"),
    (r"(^|\.)parametrizations\.(\w+)\.original$", r"\1\2_orig"),
    (r"(^|\.)gamma$", r"\1weight"),
    (r"(^|\.)beta$", r"\1bias"),
    (r"(^|\.)base_layer\.", r"\1"),
    (r"(^|\.)modules_to_save\.[^.]+\.", r"\1"),
)
_LIVE = "matched by the names of the live model"


class _Side(NamedTuple):
    """One checkpoint's tensors under other names.

    Attributes:
        tensors: with these names, in the checkpoint's order.
        originals: the new name -> the tensor as it is in the checkpoint.
    """

    tensors: list[TensorInfo]
    originals: dict[str, TensorInfo]


def match_renamed(
    before: Checkpoint, after: Checkpoint, ask: Ask | None = None, same: Same | None = None
) -> Matching:
    """Match two checkpoints by name; what is left over on both sides by spelling, bytes, the live model.

    Args:
        same: compares the bytes of tensors.
        ask: called only if both sides have tensors that the other lacks, some of them of one shape.
    """
    matching = match(before.tensors, after.tensors)
    if not _may_be_renamed(matching):
        return matching
    spelled = _spelled(before.tensors), _spelled(after.tensors)
    matching = _better(matching, *spelled)
    if same is not None and _may_be_renamed(matching):
        matching = match_moved(matching, same)
    if not _may_be_renamed(matching):
        return matching
    if ask is None:
        return matching
    reasons: list[str] = []
    for one, other, names in _renamed(before, after, spelled, ask, reasons):
        better = _better(matching, one, other)
        if better is not matching:
            route = f" ({names.route})" if names.route else ""
            parts = [f"{_LIVE}{route}", better.note, _merged(names, better)]
            matching = better._replace(note="; ".join(part for part in parts if part))
        if not _may_be_renamed(matching):
            return matching
    if reasons and not matching.note.startswith(_LIVE):
        matching = matching._replace(note=f"{matching.note} (live names: {reasons[0]})")
    return matching


def _renamed(
    before: Checkpoint, after: Checkpoint, spelled: tuple[_Side, _Side], ask: Ask, reasons: list[str]
) -> Iterator[tuple[_Side, _Side, NameMap]]:
    """Yield both sides with one under live names, then both; a side is asked about once, when it is needed.

    Args:
        reasons: receives why there are no live names.
    """
    one = _live(before, ask, reasons)
    if one is not None:
        yield one[0], spelled[1], one[1]
    other = _live(after, ask, reasons)
    if other is not None:
        yield spelled[0], other[0], other[1]
        if one is not None:
            yield one[0], other[0], one[1]


def _live(checkpoint: Checkpoint, ask: Ask, reasons: list[str]) -> tuple[_Side, NameMap] | None:
    """Return a checkpoint's tensors under the names of the live parameters that are made of them alone."""
    try:
        names = ask(checkpoint)
    except FreezeTuiError as error:
        reasons.append(str(error))
        return None
    whole = {t.files[0]: t.clean or t.name for t in reversed(names.live) if len(t.files) == 1}
    prefix = names.prefix
    shorts = [tensor.name.removeprefix(prefix) for tensor in checkpoint.tensors]
    renames = (whole.get(t.name, short) for t, short in zip(checkpoint.tensors, shorts, strict=True))
    return _side(checkpoint.tensors, renames), names


def _spelled(tensors: Sequence[TensorInfo]) -> _Side:
    return _side(tensors, (_spelling(tensor.name) for tensor in tensors))


def _spelling(name: str) -> str:
    for pattern, other in _SPELLINGS:
        name = re.sub(pattern, other, name)
    return name


def _side(tensors: Sequence[TensorInfo], names: Iterable[str]) -> _Side:
    """Return the tensors under other names; those that would share one keep their own."""
    renames = list(names)
    counts = Counter(renames)
    own = {tensor.name for tensor in tensors}
    originals: dict[str, TensorInfo] = {}
    renamed = []
    for tensor, new in zip(tensors, renames, strict=True):
        free = counts[new] == 1 and (new == tensor.name or new not in own)
        name = new if free else tensor.name
        originals[name] = tensor
        renamed.append(tensor if name == tensor.name else msgspec.structs.replace(tensor, name=name))
    return _Side(renamed, originals)


def _better(matching: Matching, before: _Side, after: _Side) -> Matching:
    """Return the match under other names, told by the checkpoints' own, if it leaves fewer tensors over."""
    found = match(before.tensors, after.tensors)
    if _unmatched(found) >= _unmatched(matching):
        return matching
    taken = {tensor.name for tensor in before.originals.values()}
    pairs = []
    for name, one, other in found.pairs:
        one, other = one and before.originals[one.name], other and after.originals[other.name]
        if one is not None:
            name = one.name
        elif other is not None and name in taken:
            name = f"{other.name} (AFTER)" if other.name in taken else other.name
        taken.add(name)
        pairs.append(Pair(name, one, other))
    return found._replace(pairs=tuple(pairs))


def _unmatched(matching: Matching) -> int:
    return sum(pair.before is None or pair.after is None for pair in matching.pairs)


def _may_be_renamed(matching: Matching) -> bool:
    """Whether both sides have tensors that the other lacks, some of them of one shape."""
    left = {pair.before.shape for pair in matching.pairs if pair.before and not pair.after}
    return any(pair.after.shape in left for pair in matching.pairs if pair.after and not pair.before)


def _merged(names: NameMap, matching: Matching) -> str:
    """Return a note on the tensors that the library merges while it loads them, "" if there are none."""
    left = {pair.name for pair in matching.pairs if pair.after is None}
    files = [file for merged in names.merged.values() for file in merged if file in left]
    if not files:
        return ""
    return f"{plural(len(files), 'tensor')} that the library merges while it loads them were not compared"
