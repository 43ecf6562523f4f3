"""Converts sums to a TensorDiff: by how much a tensor changed, and what the change looks like."""

from __future__ import annotations

import math
from typing import Any

import msgspec

from freezetui.checkpoint.types import TensorInfo, can_require_grad
from freezetui.diff.matching import Pair
from freezetui.diff.report import TensorDiff
from freezetui.diff.sums import MAX_ROUNDING, SIGNED, Sums, row_of
from freezetui.numbers import plural

#: The share of a change that one factor must explain for it to be decay, and the share of what is left after
#: it that it may miss: the squares of 1%.
_MIN_EXPLAINED, _MAX_MISSED = 0.99, 1e-4
#: The share of a change if all of it is toward zero and the rest is rounding to a narrow dtype, and how many
#: elements must have changed for that not to be chance. A constant taken off each gives 2 / pi.
_MIN_ROUNDED, _MIN_SHRUNK = 0.75, 8
#: Steps that rounding makes unequal add up to no smaller factor; pruning and clipping may.
_MIN_FACTOR = 0.75
#: A few units in the last place are rounding anywhere; an EMA changes about 15% of the elements, while
#: trained rows change almost entirely.
_MAX_UNITS, _MAX_SHARE, _MIN_FILLED = 8, 0.3, 0.6
DECAY, ROUNDING, CAST_AND_BACK, SOME_ROWS, TIED = "decay", "rounding", "cast and back", "some rows", "tied"
SAME_VALUES = "same values"


def unread(pair: Pair, reason: str) -> TensorDiff:
    """Return the diff of a tensor that was not compared; another shape is a difference all the same."""
    if pair.before is not None and pair.after is not None and pair.before.shape != pair.after.shape:
        return msgspec.structs.replace(tensor_diff(pair, None, False), reason=reason)
    return msgspec.structs.replace(_named(pair), status="unread", changed=None, reason=reason)


def tensor_diff(pair: Pair, sums: Sums | None, differs: bool) -> TensorDiff:
    """Return the diff of one tensor.

    Args:
        sums: None if it was not compared as numbers.
        differs: whether any bit differs; unused if the dtypes differ.
    """
    found = _named(pair)
    before, after = pair.before, pair.after
    if before is None or after is None:
        return msgspec.structs.replace(found, status="added" if before is None else "removed", changed=None)
    if before.shape != after.shape:
        return msgspec.structs.replace(found, status="reshaped", changed=None)
    if before.dtype != after.dtype:
        assert sums is not None
        missed = min(sums.forward, sums.back)
        if not missed:
            return msgspec.structs.replace(found, status="cast", reason=_direction(before, after, sums))
        return msgspec.structs.replace(found, status="changed", changed=missed, **_amounts(sums))
    if not differs:
        return found
    if sums is None:
        return msgspec.structs.replace(found, status="changed", changed=None)
    return msgspec.structs.replace(
        found, status="changed", changed=sums.changed, **_amounts(sums), **_looks(before, sums)
    )


def resized_diff(pair: Pair, sums: Sums | None, differs: bool) -> TensorDiff:
    """Return the diff of a tensor of which one side has more rows, over the rows that both have.

    Args:
        sums, differs: as for `tensor_diff`, of those rows.
    """
    before, after = pair.before, pair.after
    assert before is not None and after is not None
    rows = min(before.shape[0], after.shape[0])
    if before.dtype != after.dtype:
        assert sums is not None
        changed: int | None = min(sums.forward, sums.back)
    else:
        changed = 0 if not differs else sums.changed if sums is not None else None
    rows_changed: int | None = sums.rows or None if sums is not None else None
    if not changed:
        rows_changed = changed
    elif rows == 1 or len(before.shape) == 1:
        rows_changed = min(rows, changed)
    return msgspec.structs.replace(
        _named(pair),
        status="reshaped",
        changed=changed,
        rows=rows,
        rows_changed=rows_changed,
        **(_amounts(sums) if sums is not None and changed else {}),
    )


def _named(pair: Pair) -> TensorDiff:
    info = pair.before or pair.after
    assert info is not None
    after = pair.after or info
    return TensorDiff(
        pair.name,
        "identical",
        info.kind,
        info.shape,
        info.dtype,
        info.elements,
        changed=0 if pair.before and pair.after else None,
        new_name=after.name if after.name != pair.name else "",
        new_shape=after.shape if after.shape != info.shape else None,
        new_dtype=after.dtype if after.dtype != info.dtype else "",
    )


def _direction(before: TensorInfo, after: TensorInfo, sums: Sums) -> str:
    one, other = (before, after) if not sums.forward else (after, before)
    return f"{one.dtype} cast to {other.dtype}"


def _amounts(sums: Sums) -> dict[str, Any]:
    delta, norm = math.sqrt(sums.squares), math.sqrt(sums.weight)
    return {
        "max_delta": _finite(sums.largest),
        "delta_norm": _finite(delta),
        "norm": _finite(norm),
        "relative": _finite(delta / norm) if norm else None,
        "nan": sums.nan,
        "inf": sums.inf,
        "from_nan": sums.from_nan,
        "from_inf": sums.from_inf,
    }


def _looks(before: TensorInfo, sums: Sums) -> dict[str, Any]:
    """Return what the change looks like, and how many rows it affects."""
    found: dict[str, Any] = {}
    if row_of(before):
        found |= {"rows": before.shape[0], "rows_changed": sums.rows}
    if sums.nan or sums.inf or sums.from_nan or sums.from_inf or not can_require_grad(before.dtype):
        return found
    if sums.same_values:
        return {**found, "looks": SAME_VALUES, "reason": "only signs of zeros or bits of NaN differ"}
    if "complex" in before.dtype:
        return found
    factor = 1 + sums.along / sums.weight if sums.weight else 1.0
    # Running statistics that begin at 1 shrink alike, too; no optimizer has them.
    if before.kind != "buffer" and 0 < factor < 1 and sums.changed > 1 and _is_decay(before.dtype, sums):
        return {**found, "looks": DECAY, "factor": factor}
    if sums.rounded:
        return {**found, "looks": CAST_AND_BACK, "reason": f"as if cast to {min(sums.rounded)} and back"}
    if before.dtype in ("float32", "float64") and _is_rounding(before, sums):
        units = plural(sums.units, "unit")
        return {**found, "looks": ROUNDING, "reason": f"at most {units} in the last place"}
    if found and 0 < sums.rows < before.shape[0]:
        return {**found, "looks": SOME_ROWS}
    return found


def _is_decay(dtype: str, sums: Sums) -> bool:
    """Whether one factor explains the change, or all of it that is not rounding to a narrow dtype."""
    rest = sums.squares - sums.along * sums.along / sums.weight
    after = sums.weight + 2 * sums.along + sums.squares
    if rest <= (1 - _MIN_EXPLAINED) * sums.squares and rest <= _MAX_MISSED * after:
        return True
    if not (dtype in SIGNED and sums.shrinks and sums.changed >= _MIN_SHRUNK):
        return False
    is_once = rest <= 2 * SIGNED[dtype] ** 2 * sums.weight  # both sides are rounded
    is_near = 1 + sums.along / sums.weight >= _MIN_FACTOR
    return rest <= (1 - _MIN_ROUNDED) * sums.squares and (is_once or is_near)


def _is_rounding(before: TensorInfo, sums: Sums) -> bool:
    """Whether it changed by a few units, or by more in few elements that do not fill rows."""
    if sums.units <= _MAX_UNITS:
        return True
    few = sums.changed <= _MAX_SHARE * before.elements
    fills_rows = sums.changed >= _MIN_FILLED * sums.rows * row_of(before) > 0
    return few and not fills_rows and sums.units <= MAX_ROUNDING


def _finite(number: float) -> float | None:
    return number if math.isfinite(number) else None
