"""What the last check says about single tensors: marks for the tree, words for the details pane."""

from __future__ import annotations

from freezetui.sanity.report import SanityReport
from freezetui.session.session import Session
from freezetui.text import printable


def marks_of(session: Session) -> bytes:
    """Return one mark per tensor of the tree; b"" without a report or if the plan has changed since."""
    found = session.outcomes
    return b"" if found is None or session.report_is_stale else found.all


def outcome_of(session: Session, name: str) -> list[str]:
    """Return what the last check found out about one tensor, as lines of text; [] without a check."""
    report, found = session.report, session.outcomes
    if report is None or found is None:
        return []
    when = f" ({', '.join(qualified)})" if (qualified := qualifiers(session)) else ""
    words = found.of(session.tree.first[session.tree.find(name)]).words
    return [f"last check{when}: {words}", *_noted(report, name)]


def qualifiers(session: Session) -> list[str]:
    """Return what qualifies the last check of the shown stage: its day, if it is of an earlier session."""
    parts = ["out of date"] if session.report_is_stale else []
    when = session.checks.when(session.stages.shown)
    return [*parts, f"as of {printable(when[:10])}"] if when else parts


def _noted(report: SanityReport, name: str) -> list[str]:
    """Return the gradient and the update of a tensor, and the findings that name it."""
    lines = []
    known = report.forward  # else they are the check's own random numbers
    if known and name in report.gradients:
        largest = report.gradients[name]
        lines.append(f"largest |gradient| {'not finite' if largest is None else format(largest, '.2g')}")
    if known and name in report.updates:
        update = report.updates[name]
        text = "not finite (from zeros, or NaN)" if update is None else format(update, ".2g")
        lines.append(f"largest |update| / |weight| {text}, by {report.updates_by}")
    for finding in report.findings:
        if name in finding.tensors:
            lines += ["", f"{finding.code}: {finding.message}"]
            lines += [f"fix: {finding.fix}"] if finding.fix else []
    return lines
