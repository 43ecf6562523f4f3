"""`freezetui diff`: shows what a training run changed."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import click

from freezetui.cli.options import config_option, json_option, key_option, process_options
from freezetui.cli.output import line_width, print_json, print_lines, say
from freezetui.cli.progress import end_now, progress_line

if TYPE_CHECKING:
    from freezetui.checkpoint.types import Checkpoint
    from freezetui.diff.report import DiffReport, Judged, Series
    from freezetui.freeze.name_map import NameMap


@click.command(short_help="Show what a training run changed, bit for bit.")
@click.argument(
    "paths",
    metavar="BEFORE AFTER [MORE...]",
    nargs=-1,
    required=True,
    type=click.Path(path_type=str, readable=False),
)
@key_option
@click.option("--key-after", metavar="KEY", help="Key for AFTER (default: the same as --key).")
@config_option
@click.option(
    "--stage",
    metavar="NAME|all",
    help="Stage of the config, or a verdict on each (default: what all stages freeze).",
)
@click.option("--stat", is_flag=True, help="Print one line for each top-level module.")
@click.option(
    "--sort",
    type=click.Choice(("module", "change")),
    default="module",
    show_default=True,
    help="Sort by module order, or by the largest change.",
)
@process_options
@json_option
def diff(
    paths: tuple[str, ...],
    key: str | None,
    key_after: str | None,
    config: Path | None,
    stage: str | None,
    stat: bool,
    sort: str,
    python: str,
    engine: bool,
    as_json: bool,
) -> None:
    """Compare two checkpoints tensor by tensor, bit for bit; of several, each with the one before it.

    Each is a file, a directory, a URL, or a quoted pattern for the files of one checkpoint: 'part-*.bin'.

    With more than two and --stage all, the first stage judges the second checkpoint, and so on.

    Exit codes: with --config 0 held, 1 moved, 3 inconclusive; without it 0 identical, 1 different; 2 bad
    usage or input, or no difference found but not everything could be compared.
    """
    if len(paths) < 2:
        hint = " A quoted pattern is one checkpoint." if set(paths[0]) & set("*?[") else ""
        raise click.UsageError(f"Pass two checkpoints: BEFORE and AFTER.{hint}", click.get_current_context())
    if stage is not None and config is None:
        raise click.UsageError("--stage needs --config.", click.get_current_context())
    _mention_config(paths[0], config)
    from freezetui.diff.rewritten import ending_if_truncated
    from freezetui.diff.run import diff_series, diff_stages

    with ending_if_truncated(end_now), progress_line() as progress:
        ask = partial(_live_names, python, engine, progress)
        first, *later = _in_number_order(paths) if len(paths) > 2 else paths
        opened = [_open_before(first, key, key_after, progress)]
        opened += [_open_after(path, key, key_after, progress) for path in later]
        if len(opened) == 2:
            reports = diff_stages(opened[0], opened[1], config, stage, progress, ask)
        else:
            series = diff_series(opened, config, stage, progress, ask)
    if config is not None and stage is not None:
        _mention_stage_all(config, stage)
    if len(opened) == 2:
        if key_after in (None, key) and _are_same(*paths):
            say("BEFORE and AFTER are the same file.")
        _print_reports(reports, sort, stat, as_json, stage)
    else:
        if sort != "module":
            say("--sort has no effect on more than two checkpoints.")
        _print_series(series, stat, as_json, stage)


def _print_reports(
    reports: Sequence[DiffReport], sort: str, stat: bool, as_json: bool, stage: str | None
) -> NoReturn:
    """Print the reports of all stages, of which only the verdict differs, and exit with the worst code."""
    from freezetui.sanity.report import worst

    if as_json:
        documents = [report.document() for report in reports]
        print_json(documents if _is_each(stage, reports[0].judged) else documents[0])
    else:
        from freezetui.formatting.diff import diff_lines, judged_lines

        width = line_width()
        print_lines(diff_lines(reports[0], sort, stat, width))
        for report in reports[1:]:
            print_lines(judged_lines(report.judged, width) if report.judged else ())
    _mention_note(reports[0].judged)
    if found := reports[0].not_compared:
        say(found)
    sys.exit(worst(report.exit_code for report in reports))


def _is_each(stage: str | None, judged: Judged | None) -> bool:
    """Whether all stages were asked for, and not the one that has this name."""
    if stage is None or judged is None:
        return False
    from freezetui.config.schema import ALL_STAGES  # imports YAML

    return stage == ALL_STAGES and judged.stage != ALL_STAGES


def _mention_stage_all(config: Path, stage: str) -> None:
    """Say that "all" is one of several stages of the config, if it is."""
    from freezetui.config.codec import read_config
    from freezetui.config.schema import ALL_STAGES, ONLY_STAGE_ALL

    names = [named.name for named in read_config(config).stages] if stage == ALL_STAGES else []
    if ALL_STAGES in names and names[1:]:
        say(ONLY_STAGE_ALL)


def _print_series(series: Series, stat: bool, as_json: bool, stage: str | None) -> NoReturn:
    if as_json:
        print_json(series.document())
    else:
        from freezetui.formatting.series import series_lines

        print_lines(series_lines(series, 1 if stat else None, line_width()))
    _mention_note(series.steps[0].judged)
    if any(step.has_nothing_in_common for step in series.steps):
        say("Files without a tensor in common may be one checkpoint: pass their pattern in quotes.")
    for number, step in enumerate(series.steps, 1):
        if step.not_compared:
            say(f"step {number}: {step.not_compared}")
    sys.exit(series.exit_code)


def _mention_note(judged: Judged | None) -> None:
    if judged is not None and judged.note:
        say(f"{judged.config}: {judged.note}")


def _live_names(
    python: str, engine: bool, progress: Callable[[str], None], checkpoint: Checkpoint
) -> NameMap:
    from freezetui.session.live_names import live_names  # needed only for names that differ

    return live_names(checkpoint, python, engine, progress)


def _open(path: str, key: str | None, progress: Callable[[str], None]) -> Checkpoint:
    from freezetui.checkpoint.open import open_checkpoint
    from freezetui.diff.sides import files_of

    return open_checkpoint(files_of(path), key=key, progress=progress)


def _open_before(
    path: str, key: str | None, key_after: str | None, progress: Callable[[str], None]
) -> Checkpoint:
    """Open BEFORE; where it lacks a key that may be meant for AFTER, say how to pass that."""
    from freezetui.errors import CheckpointError

    try:
        return _open(path, key, progress)
    except CheckpointError as error:
        if key is None or key_after is not None:
            raise
        _open(path, None, progress)  # raises its own error if the key is not what is wrong
        hint = f"{error.hint} For a key in AFTER alone, pass --key-after."
        raise CheckpointError(error.message, hint) from None


def _open_after(
    path: str, key: str | None, key_after: str | None, progress: Callable[[str], None]
) -> Checkpoint:
    """Open AFTER with its own key, or with BEFORE's if its format has keys."""
    from freezetui.diff.sides import open_side

    return _open(path, key_after, progress) if key_after is not None else open_side(path, key, progress)


def _in_number_order(paths: tuple[str, ...]) -> tuple[str, ...]:
    """Return `epoch_2` before `epoch_10` if the paths, or those after the first, are in a shell's order."""
    from freezetui.checkpoint.state_dict.ordering import natural_order

    for start in (0, 1):
        rest = list(paths[start:])
        if rest == sorted(rest):
            return (*paths[:start], *natural_order(rest))
    return paths


def _mention_config(before: str, config: Path | None) -> None:
    from freezetui.config.paths import default_path

    found = default_path(before)
    if config is None and os.path.isfile(found):  # noqa: PTH113 (its name may be too long)
        say(f"Found {found}: pass --config {found} to verify its freeze.")


def _are_same(before: str, after: str) -> bool:
    try:
        return Path(before).samefile(after)
    except (OSError, ValueError):  # a URL, a pattern, missing, or too long a name
        return False
