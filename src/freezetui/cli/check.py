"""`freezetui check`: the check without the TUI, of one stage or of each."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from freezetui.cli.options import config_option, json_option, key_option, model_options, paths_argument
from freezetui.cli.output import print_json, print_lines, say
from freezetui.cli.sessions import open_session, session_options
from freezetui.cli.training_options import training_options
from freezetui.errors import FreezeTuiError
from freezetui.text import printable

if TYPE_CHECKING:
    from freezetui.sanity.protocol import Progress
    from freezetui.sanity.report import SanityReport
    from freezetui.session.session import Session


@click.command(short_help="Run a short training check and verify that frozen weights do not change.")
@paths_argument
@key_option
@config_option
@click.option("--stage", metavar="NAME|all", help="Check this stage of the config, or each in turn.")
@model_options
@training_options
@click.option(
    "--report", "to", metavar="FILE", help="Write a receipt to FILE (JSON if it ends in .json, else text)."
)
@json_option
def check(paths: tuple[str, ...], as_json: bool, stage: str | None, to: str | None, **options: Any) -> None:
    """Run a few real training steps, then compare every tensor bit for bit."""
    from freezetui.config.schema import ALL_STAGES, ONLY_STAGE_ALL
    from freezetui.formatting.receipt import receipts
    from freezetui.sanity.report import worst
    from freezetui.session.receipt_file import receipt_path, write_receipt

    session = open_session(session_options(paths, **options))
    if not session.architecture.trusted and not _may_import(session):
        named = session.architecture.model.architecture
        raise FreezeTuiError(
            f"{session.config_path} wants to import and run {named}.",
            f"If you trust it, pass --architecture {named}.",
        )
    each = stage == ALL_STAGES and ALL_STAGES not in session.stages.names
    stages = (session.stages.names or (None,)) if each else (stage,)
    of_stages = session.saved.refused_stages
    if refused := session.saved.refused or [of_stages[name] for name in stages if name in of_stages]:
        why = "; ".join(line.rstrip(".") for line in refused[:3])
        raise FreezeTuiError(
            f"{session.config_path} does not fit: {why}.",
            "FreezeConfig.apply would reject it too. Open the checkpoint and re-save the config.",
        )
    path = receipt_path(session, to) if to is not None else None
    if stage == ALL_STAGES and not each and session.stages.names[1:]:
        say(ONLY_STAGE_ALL)
    if stage is None and session.stages.names:
        say("Checking the rules common to all stages; pass --stage NAME or --stage all to check the stages.")
    reports, failed = _checked(session, stages)
    if as_json:
        print_json(reports if each else reports[0])
    else:
        for name, report in zip(stages, reports, strict=False):
            _print(report, session, name)
    if failed is not None:
        say(f"freezetui: {failed}")
    elif path is not None:
        write_receipt(path, receipts(reports, session, as_json=path.suffix == ".json"))
        say(f"Saved {path}")
    codes = [report.exit_code for report in reports]
    sys.exit(worst(codes if failed is None else [*codes, 2]))


def _checked(
    session: Session, stages: Sequence[str | None]
) -> tuple[list[SanityReport], FreezeTuiError | None]:
    """Check these stages, and show the progress.

    Returns:
        the reports of the stages until one fails, at least one; why that failed.

    Raises:
        FreezeTuiError: the config does not have one of them, or the check of the first is not possible.
    """
    from freezetui.sanity.client import run_checks

    session.stages.show(stages[0])
    request, options = session.request().then(stages[1:]), session.options
    reports: list[SanityReport] = []
    try:
        run_checks(request, _progress, options.timeout, options.python, reports.append)
    except FreezeTuiError as error:
        if not reports:
            raise
        return reports, error
    return reports, None


def _print(report: SanityReport, session: Session, stage: str | None) -> None:
    from freezetui.formatting.report import report_lines
    from freezetui.formatting.sentences import InFile

    if report.stage is not None:
        print_lines([f"stage {report.stage}"])
    totals = session.stages.plan_of(stage).totals()
    stored = InFile(totals.frozen.tensors, totals.trainable.tensors, session.is_adapter)
    print_lines(report_lines(report, stored))


def _may_import(session: Session) -> bool:
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        return False
    named = session.architecture.model.architecture
    question = printable(f"{session.config_path.name} wants to import and run {named}. Continue?")
    return click.confirm(question, err=True)


def _progress(event: Progress) -> None:
    say(event.text)
