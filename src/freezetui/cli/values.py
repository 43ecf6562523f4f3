"""`freezetui stats` and `freezetui validate`: summarize the values, and check that they are complete."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import click

from freezetui.cli.options import json_option, key_option
from freezetui.cli.output import line_width, print_json, print_lines, say
from freezetui.cli.progress import end_now, progress_line

if TYPE_CHECKING:
    from freezetui.checkpoint.types import Checkpoint, TensorInfo
    from freezetui.diff.stats_report import TensorStats
    from freezetui.freeze.patterns import Pattern

_path_argument = click.argument("path", metavar="PATH", type=click.Path(path_type=str, readable=False))
_COLUMNS = ("name", "elements", "min", "max", "mean", "std", "zeros", "nan", "inf")


@click.command(short_help="Show statistics of the values of each tensor.")
@_path_argument
@click.argument("pattern", metavar="[PATTERN]", required=False)
@key_option
@click.option(
    "--sort",
    type=click.Choice(_COLUMNS),
    default="name",
    show_default=True,
    help="Sort by a column, the largest first; name keeps the model's order.",
)
@json_option
def stats(path: str, pattern: str | None, key: str | None, sort: str, as_json: bool) -> None:
    """Print minimum, maximum, mean, standard deviation, zeros, NaN, Inf and a histogram of each tensor.

    PATTERN is written as in a config. For a single tensor, the norms of its rows and columns are printed too.
    Figures of complex numbers are those of their absolute values.
    """
    from freezetui.checkpoint.open import open_checkpoint
    from freezetui.diff.rewritten import ending_if_truncated
    from freezetui.diff.sides import files_of
    from freezetui.formatting.values import sorted_stats, stats_lines

    with ending_if_truncated(end_now), progress_line() as progress:
        checkpoint = open_checkpoint(files_of(path), key=key, progress=progress)
        found = sorted_stats(_stats(checkpoint, _chosen(checkpoint, pattern), progress), sort)
    for warning in checkpoint.warnings:
        say(f"warning: {warning}")
    if as_json:
        print_json({"source": checkpoint.source, "format": checkpoint.format, "tensors": found})
    else:
        print_lines(stats_lines(found, line_width()))


@click.command(short_help="Check that all data is complete and every number finite.")
@_path_argument
@key_option
@json_option
def validate(path: str, key: str | None, as_json: bool) -> None:
    """Read every tensor and check that its data is complete, checksums match and every number is finite.

    Exit codes: 0 valid, 1 something is missing, corrupt or not finite, 2 not a readable checkpoint.
    """
    from freezetui.checkpoint.open import open_checkpoint
    from freezetui.diff.rewritten import ending_if_truncated
    from freezetui.diff.sides import files_of
    from freezetui.diff.validate import validate as look

    with ending_if_truncated(end_now), progress_line() as progress:
        report = look(open_checkpoint(files_of(path), key=key, progress=progress), progress)
    if as_json:
        print_json(report)
    else:
        from freezetui.formatting.values import validation_lines

        print_lines(validation_lines(report, line_width()))
    sys.exit(report.exit_code)


def _chosen(checkpoint: Checkpoint, pattern: str | None) -> Sequence[TensorInfo]:
    """Return the tensors that the pattern matches, in the order of the model."""
    from freezetui.diff.order import in_order
    from freezetui.errors import PatternError
    from freezetui.freeze.patterns import Pattern
    from freezetui.freeze.rules import closest
    from freezetui.freeze.tree import ParamTree
    from freezetui.text import printable

    tree = ParamTree(in_order(checkpoint).tensors)
    if pattern is None:
        return tree.tensors
    spans = Pattern(pattern).spans(tree)
    if not spans:
        _refuse_absent(checkpoint, Pattern(pattern))
        close = ", ".join(map(printable, closest(pattern, tree)))
        raise PatternError(f"pattern {pattern!r} matches no tensor.", f"Closest: {close}." if close else "")
    return [tensor for span in spans for tensor in tree.tensors[slice(*span)]]


def _refuse_absent(checkpoint: Checkpoint, pattern: Pattern) -> None:
    """Refuse a pattern that matches only tensors whose data is missing.

    Raises:
        CheckpointError: it matches some of those.
    """
    from freezetui.diff.report import ABSENT
    from freezetui.errors import CheckpointError
    from freezetui.text import listed

    absent = [name for name in checkpoint.absent if pattern.matches(name)]
    if absent:
        verb = "is" if len(absent) == 1 else "are"
        raise CheckpointError(f"{listed(absent, 4)} {verb} {ABSENT}: {'; '.join(checkpoint.warnings)}.")


def _stats(
    checkpoint: Checkpoint, tensors: Sequence[TensorInfo], progress: Callable[[str], None]
) -> list[TensorStats]:
    from freezetui.checkpoint.storage import open_weights
    from freezetui.diff.rewritten import refuse_rewritten
    from freezetui.diff.stats import tensor_stats, unread_stats
    from freezetui.errors import CheckpointError

    found = []
    with open_weights(checkpoint, urls=True) as weights:
        for number, info in enumerate(tensors, 1):
            progress(f"reading tensor {number:,} of {len(tensors):,}")
            try:
                found.append(tensor_stats(weights, info))
            except CheckpointError as error:
                found.append(unread_stats(info, error.message))
    refuse_rewritten(checkpoint)
    return found
