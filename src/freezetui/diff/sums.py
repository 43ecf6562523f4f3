"""What is known of one tensor on both sides: whether it differs, and by how much. Knows no numpy."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import prod

from freezetui.checkpoint.types import PACKED, TensorInfo

#: Elements that are looked at at once: with their differences they fit the second cache.
CHUNK = 1 << 16
#: The most units in the last place that rounding can add up to: an EMA of decay d, updated by mul_ and add_,
#: drifts by up to a quarter of 1 / (1 - d).
MAX_ROUNDING = 4096
#: What a float32 may have been rounded to on its way, and the bits of a float32 that are zero then.
ROUNDED = {"bfloat16": 0xFFFF, "float16": 0x1FFF}


@dataclass
class Sums:
    """What the chunks of one tensor add up to.

    Attributes:
        changed: elements with other bits; after a change of dtype, with other values than a cast gives.
        nan, inf: elements that became so.
        largest: max |delta|; squares: of all deltas; weight: of all elements before; along: of each
            element times its delta. Over the elements that are finite on both sides.
        rows: rows with a change in them, where rows are counted.
        units: the largest distance in units of the last place, as long as that is no more than rounding.
        rounded: the dtypes to which a cast and back would be the whole change, so far.
        forward, back: elements that a cast from before to after (from after to before) does not explain.
    """

    changed: int = 0
    nan: int = 0
    inf: int = 0
    largest: float = 0.0
    squares: float = 0.0
    weight: float = 0.0
    along: float = 0.0
    rows: int = 0
    units: int = 0
    rounded: set[str] = field(default_factory=lambda: set(ROUNDED))
    forward: int = 0
    back: int = 0

    def add(self, other: Sums) -> None:
        """Take another chunk's sums in."""
        for name in ("changed", "nan", "inf", "squares", "weight", "along", "rows", "forward", "back"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.largest = max(self.largest, other.largest)
        self.units = max(self.units, other.units)
        self.rounded &= other.rounded


@dataclass
class Compared:
    """One tensor on both sides; names that are tied on both share it.

    Attributes:
        differs: whether a bit was found that differs.
        sums: by how much; None where that was not measured, or cannot be.
        reason: why it cannot be compared; "" where it can.
    """

    before: TensorInfo
    after: TensorInfo
    differs: bool = False
    sums: Sums | None = None
    reason: str = ""

    @property
    def is_cast(self) -> bool:
        """Whether the dtype is another."""
        return self.before.dtype != self.after.dtype


def row_of(info: TensorInfo) -> int:
    """Elements of a row (one index of the first dimension); 0 where rows are not counted."""
    if len(info.shape) < 2 or info.shape[0] < 2 or info.dtype in PACKED:
        return 0
    row = prod(info.shape[1:])
    return row if 0 < row <= CHUNK else 0
