"""Formats what changed in one tensor or in a module, as short lines."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence

from freezetui import numbers
from freezetui.diff.looks import SAME_VALUES, SOME_ROWS
from freezetui.diff.report import STATUSES, Status, TensorDiff, relative_change
from freezetui.text import printable

_WORDS: dict[Status, str] = {"cast": "equal after a cast", "unread": "not compared"}


def status_word(status: Status) -> str:
    """Return a status in words."""
    return _WORDS.get(status, status)


def tensor_change(tensor: TensorDiff) -> list[str]:
    """Return what changed in one tensor, as short lines."""
    if tensor.status == "identical":
        return ["unchanged, bit for bit"]
    if tensor.status == "added":
        return ["new: not in the earlier file"]
    if tensor.status == "reshaped" and tensor.new_shape is not None:
        head = f"reshaped: {numbers.shape(tensor.shape)} → {numbers.shape(tensor.new_shape)}"
        return [head, *(printable(line) for line in (*resized(tensor), *_amounts(tensor)) if line)]
    lines = [_head(tensor), *_amounts(tensor)]
    return [printable(line) for line in (*lines, looks_like(tensor), tensor.reason) if line]


def _head(tensor: TensorDiff) -> str:
    if tensor.status != "changed":
        return status_word(tensor.status)
    if tensor.changed is None:
        return "changed: its bytes differ"
    share = numbers.percent(tensor.changed / tensor.elements) if tensor.elements else ""
    return f"changed: {tensor.changed:,} of {numbers.plural(tensor.elements, 'element')} ({share})"


def _amounts(tensor: TensorDiff) -> list[str]:
    lines = []
    if tensor.new_dtype:
        lines.append(f"{tensor.dtype} → {tensor.new_dtype}")
    if has_size(tensor):
        lines.append(f"max |Δ| {tensor.max_delta:.3g}")
    if tensor.status in ("changed", "reshaped"):
        lines += [text for text in [_relative(_ratio(tensor))] if text]
    return lines + counted(tensor)


def _ratio(tensor: TensorDiff) -> float:
    """Return |delta| / |weight| of one tensor; infinite if the weight was 0."""
    if tensor.relative is None:
        return math.inf if tensor.delta_norm else 0.0
    return tensor.relative


def has_size(tensor: TensorDiff) -> bool:
    """Whether `max_delta` says how large the change is: one to or from NaN or Inf alone has no size."""
    return bool(tensor.max_delta) or (tensor.max_delta == 0 and tensor.looks == SAME_VALUES)


def looks_like(tensor: TensorDiff) -> str:
    """Return what the change looks like, with its factor; "" if that is not known, or said otherwise."""
    if tensor.looks in (SOME_ROWS, SAME_VALUES):  # the count of rows, and the reason
        return ""
    factor = f", factor 1 - {1 - tensor.factor:.3g}" if tensor.factor is not None else ""
    return f"looks like {tensor.looks}{factor}" if tensor.looks else ""


def resized(tensor: TensorDiff) -> list[str]:
    """Return what became of the rows of a reshaped tensor of which one side has more; [] for any other."""
    if tensor.status != "reshaped" or tensor.rows is None or tensor.new_shape is None:
        return []
    what = "row" if len(tensor.shape) > 1 else "element"
    one, verb = tensor.rows == 1, "is" if tensor.rows == 1 else "are"
    first = f"the first {what}" if one else f"the first {numbers.plural(tensor.rows, what)}"
    count = "some" if tensor.rows_changed is None else f"{tensor.rows_changed:,}"
    if tensor.changed == 0:
        found = f"{first} {verb} {'equal after a cast' if tensor.new_dtype else 'unchanged'}"
    elif tensor.rows_changed == tensor.rows:
        found = f"{'' if one else 'all of '}{first} changed"
    else:
        found = f"{count} of {first} changed"
    more = tensor.new_shape[0] - tensor.shape[0]
    return [f"{found}, {abs(more):,} {'added' if more > 0 else 'removed'}"]


def counted(tensor: TensorDiff) -> list[str]:
    """Return how many rows changed if it is not all, and how many elements became NaN, infinite or finite."""
    lines = []
    if (
        tensor.status == "changed"
        and tensor.rows_changed is not None
        and tensor.rows_changed < (tensor.rows or 0)
    ):
        lines.append(f"only {tensor.rows_changed:,} of {tensor.rows:,} rows")
    return lines + not_finite([tensor])


def not_finite(tensors: Iterable[TensorDiff]) -> list[str]:
    """Return how many elements of all these tensors became NaN, infinite or finite."""
    counts = Counter[str]()
    for tensor in tensors:
        counts["became NaN"] += tensor.nan
        counts["became Inf"] += tensor.inf
        counts["NaN became finite"] += tensor.from_nan
        counts["Inf became finite"] += tensor.from_inf
    return [f"{count:,} {words}" for words, count in counts.items() if count]


def module_change(tensors: Sequence[TensorDiff]) -> list[str]:
    """Return what changed in the tensors of a module, as short lines; [] if it has none."""
    counts = Counter(tensor.status for tensor in tensors)
    lines = [f"{counts[status]:,} {status_word(status)}" for status in STATUSES if counts[status]]
    relative = _relative(relative_change(tensors))
    return [*lines, relative] if relative else lines


def _relative(change: float) -> str:
    """Return a relative change in words; "" if there is none or its size is not known."""
    if not change or math.isnan(change):
        return ""
    return "from zero" if math.isinf(change) else f"|Δ| / |weight| {change:.3g}"
