"""Holds what is known of one tensor on both sides: whether it differs, and how much. Needs no numpy."""

from __future__ import annotations

from math import prod

import msgspec

from freezetui.checkpoint.types import PACKED, TensorInfo

#: Elements in a chunk: more do not fit the L2 cache, fewer make threads wait for the GIL more often.
CHUNK = 1 << 17
#: The most units in the last place that rounding can add up to: an EMA of decay d, updated by mul_ and add_,
#: drifts by up to a quarter of 1 / (1 - d).
MAX_ROUNDING = 4096
#: Dtypes that a float32 or float64 may have been rounded to, and how many low bits of a double are then zero.
ROUNDED = {"bfloat16": 45, "float16": 42, "float32": 29}
#: Dtypes of one or two bytes whose bits are a sign and a magnitude -> the largest relative error of rounding
#: to them. Rounding is most of what decay by one factor changes in them.
SIGNED = {
    "float16": 2**-11,
    "bfloat16": 2**-8,
    "float8_e4m3fn": 2**-4,
    "float8_e4m3fnuz": 2**-4,
    "float8_e5m2": 2**-3,
    "float8_e5m2fnuz": 2**-3,
}
_NOT_FINITE = ("nan", "inf", "from_nan", "from_inf")
#: The attributes of `Sums` that are the sums of those of all chunks.
_ADDED = ("changed", *_NOT_FINITE, "squares", "weight", "along", "rows", "forward", "back")


class Sums(msgspec.Struct):
    """The sums over the chunks of one tensor.

    Attributes:
        changed: elements with different bits; after a change of dtype, with values that no cast explains.
        nan, inf: elements that became NaN or infinite; from_nan, from_inf: that were, and became finite.
        largest: max |delta|; squares: of all deltas; weight: of all elements before; along: of each
            element times its delta. Over the elements that are finite on both sides.
        rows: rows with a change, if rows are counted.
        units: the largest distance in units of the last place, as long as it may be rounding.
        shrinks: whether every change so far is toward zero and does not cross it; only for `SIGNED` dtypes.
        same_values: whether only signs of zeros and bits of NaN differ so far.
        rounded: the dtypes to which a cast and back explains the whole change so far.
        forward, back: elements that a cast from before to after (from after to before) does not explain.
    """

    changed: int = 0
    nan: int = 0
    inf: int = 0
    from_nan: int = 0
    from_inf: int = 0
    largest: float = 0.0
    squares: float = 0.0
    weight: float = 0.0
    along: float = 0.0
    rows: int = 0
    units: int = 0
    shrinks: bool = True
    same_values: bool = True
    rounded: set[str] = msgspec.field(default_factory=lambda: set(ROUNDED))
    forward: int = 0
    back: int = 0

    def begun(self) -> Sums:
        """Return sums for further chunks, which need not find again what is already ruled out."""
        return Sums(
            units=self.units,
            shrinks=self.shrinks,
            same_values=self.same_values,
            rounded=set(self.rounded),
        )

    def add(self, other: Sums) -> None:
        """Add another chunk's sums."""
        for name in _ADDED:
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.largest = max(self.largest, other.largest)
        self.units = max(self.units, other.units)
        self.shrinks = self.shrinks and other.shrinks
        self.same_values = self.same_values and other.same_values
        self.rounded &= other.rounded


class Compared(msgspec.Struct):
    """One tensor on both sides; shared by names that are tied on both.

    The shapes are equal, or `may_be_resized`.

    Attributes:
        differs: whether a difference was found.
        sums: how much it changed; None if not measured or not measurable.
        reason: why it cannot be compared; "" if it can.
    """

    before: TensorInfo
    after: TensorInfo
    differs: bool = False
    sums: Sums | None = None
    reason: str = ""

    @property
    def is_cast(self) -> bool:
        """Whether the dtypes differ."""
        return self.before.dtype != self.after.dtype

    @property
    def is_resized(self) -> bool:
        """Whether one side has more rows, so that only those that both have are compared."""
        return self.before.shape != self.after.shape


def may_be_resized(before: TensorInfo, after: TensorInfo) -> bool:
    """Whether two shapes differ in the first dimension only, as after new words or other classes."""
    one, other = before.shape, after.shape
    is_plain = before.packing is None and after.packing is None
    return is_plain and one != other and one[1:] == other[1:] and bool(prod(one) and prod(other))


def row_of(info: TensorInfo) -> int:
    """Return the elements of a row (one index of the first dimension); 0 if rows are not counted."""
    if len(info.shape) < 2 or info.shape[0] < 2 or info.dtype in PACKED:
        return 0
    row = prod(info.shape[1:])
    return row if 0 < row <= CHUNK else 0
