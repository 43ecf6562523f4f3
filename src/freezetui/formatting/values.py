"""Formats the output of `freezetui stats` and `freezetui validate`."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence

from freezetui import numbers
from freezetui.diff.stats_report import BINS, Norms, TensorStats
from freezetui.diff.validate_report import Validation
from freezetui.formatting.columns import Table, all_wrapped, joined, wrapped
from freezetui.text import printable

_BLOCKS = "▁▂▃▄▅▆▇█"
_HEAD = "name", "shape, dtype", "min", "max", "mean", "std", "zeros", "NaN", "Inf", "histogram"
_TABLE = Table(
    (40, 26, *[10] * 4, *[6] * 3, BINS), "<>>>>>>>><", (0, *[1] * 8, 2), name=0, spare=(1, len(_HEAD) - 1)
)
#: Value of `--sort` -> sort key, the largest first; other values keep the order of the model.
SORTS: dict[str, Callable[[TensorStats], float | None]] = {
    "elements": lambda stats: stats.elements,
    "min": lambda stats: stats.min,
    "max": lambda stats: stats.max,
    "mean": lambda stats: stats.mean,
    "std": lambda stats: stats.std,
    "zeros": lambda stats: stats.zeros,
    "nan": lambda stats: stats.nan,
    "inf": lambda stats: stats.inf,
}


def sorted_stats(stats: Sequence[TensorStats], column: str) -> list[TensorStats]:
    """Return the statistics sorted by a column of SORTS, the largest first and missing values last."""
    if column not in SORTS:
        return list(stats)
    value = SORTS[column]
    return sorted(stats, key=lambda each: -math.inf if (v := value(each)) is None else v, reverse=True)


def stats_lines(stats: Sequence[TensorStats], width: int | None = None) -> Iterator[str]:
    """Yield a table; for a single tensor all details, one per line.

    Args:
        width: of the terminal, None for no edge; if the table does not fit it, each tensor has a few lines.
    """
    if len(stats) == 1:
        yield from all_wrapped(tensor_lines(stats[0]), width)
        return
    rows = [(_HEAD, ""), *map(_row, stats)]
    table = _TABLE.fitted([cells for cells, reason in rows if not reason], width)
    if table is None:
        for each in stats:
            yield from wrapped(printable(f"{each.name}  {_what(each)}"), width)
            parts = [printable(each.reason)] if each.reason else [*_parts(each), f"zeros {_zeros(each)}"]
            yield from joined(parts, width, indent=2)
        return
    for cells, reason in rows:
        line = table.line(cells if width is None else table.shortened(cells))
        yield from wrapped(f"{line}  {reason}" if reason else line, width)


def _row(stats: TensorStats) -> tuple[tuple[str, ...], str]:
    """Return the cells of a row of the table, and the reason if figures are missing."""
    head = printable(stats.name), printable(_what(stats))
    if stats.reason:
        return (*head, *[""] * (len(_HEAD) - len(head))), printable(stats.reason)
    figures = map(_short, (stats.min, stats.max, stats.mean, stats.std))
    return (
        *head,
        *figures,
        _zeros(stats),
        f"{stats.nan:,}",
        f"{stats.inf:,}",
        sparkline(stats.histogram),
    ), ""


def _what(stats: TensorStats) -> str:
    return f"{numbers.shape(stats.shape)} {stats.dtype}"


def _zeros(stats: TensorStats) -> str:
    return numbers.percent(stats.zeros / stats.elements) if stats.elements else ""


def tensor_lines(stats: TensorStats) -> Iterator[str]:
    """Yield all details of one tensor."""
    elements = numbers.plural(stats.elements, "element")
    yield printable(f"{stats.name}  {numbers.shape(stats.shape)} {stats.dtype}, {elements}")
    yield from value_lines(stats)


def brief_line(stats: TensorStats) -> str:
    """Return what matters most about the values of a tensor, in one line."""
    if stats.reason:
        return stats.reason
    return "  ".join(_parts(stats)).rstrip()


def _parts(stats: TensorStats) -> list[str]:
    found = (("min", stats.min), ("max", stats.max), ("mean", stats.mean), ("std", stats.std))
    parts = [f"{word} {_short(value)}" for word, value in found]
    return [*parts, f"NaN {stats.nan:,}", f"Inf {stats.inf:,}", sparkline(stats.histogram)]


def value_lines(stats: TensorStats) -> Iterator[str]:
    """Yield the statistics of one tensor, one per line; also used by the details pane."""
    if stats.reason:
        yield printable(stats.reason)
        return
    if "complex" in stats.dtype:
        yield "of absolute values:"
    yield f"min {_short(stats.min)}  max {_short(stats.max)}"
    yield f"mean {_short(stats.mean)}  std {_short(stats.std)}"
    share = f" ({numbers.percent(stats.zeros / stats.elements)})" if stats.zeros else ""
    yield f"zeros {stats.zeros:,}{share}"
    for word, count, first in (("NaN", stats.nan, stats.first_nan), ("Inf", stats.inf, stats.first_inf)):
        where = f", first at {list(first)}" if first else ""
        yield f"{word} {count:,}{where}"
    if stats.histogram:
        yield f"{_short(stats.min)} {sparkline(stats.histogram)} {_short(stats.max)}"
    for word, norms in (("rows", stats.rows), ("columns", stats.columns)):
        if norms is not None:
            yield _norms(word, norms)


def _norms(word: str, norms: Norms) -> str:
    return (
        f"norms of {word}: min {_short(norms.min)} (at {norms.min_at:,}), median {_short(norms.median)}, "
        f"max {_short(norms.max)} (at {norms.max_at:,})"
    )


def sparkline(histogram: Sequence[int]) -> str:
    """Return small bars on a scale from 0 to the highest; every nonempty bin is visible."""
    highest = max(histogram, default=0)
    return "".join(
        _BLOCKS[max(0, math.ceil(count / highest * len(_BLOCKS)) - 1)] if count else " "
        for count in histogram
    )


def _short(value: float | None) -> str:
    return "-" if value is None else f"{value:.4g}"


def validation_lines(report: Validation, width: int | None = None) -> Iterator[str]:
    """Yield the problems by tensor, then the outcome in one line.

    Args:
        width: of the terminal; None for no edge.
    """
    yield from all_wrapped(_validation(report), width)


def _validation(report: Validation) -> Iterator[str]:
    yield printable(f"{report.source}  {report.format}")
    for warning in report.warnings:
        yield printable(f"warning: {warning}")
    for problem in report.problems:
        yield printable(f"✗ {problem.name}  {problem.what}: {problem.detail}")
    tensors = numbers.plural(report.tensors, "tensor")
    agree = "checksum agrees" if report.checked == 1 else "checksums agree"
    checked = f"; {report.checked:,} {agree}" if report.checked and report.valid else ""
    if not report.checked:
        checked = "; the file has no checksums"
    if report.unread:
        checked += f"; {len(report.unread):,} not readable as numbers"
    if not report.tensors:
        yield "no tensors: there is nothing to validate"
    elif report.valid:
        every = "every number that can be read" if report.unread else "every number"
        yield f"✓ {tensors}: all data is complete, and {every} is finite{checked}"
    else:
        names = len({problem.name for problem in report.problems})
        yield f"✗ {names:,} of {tensors} missing, corrupt or not finite{checked}"
