"""Tells what is wrong with what was opened: once in passing, and in full on a key."""

from __future__ import annotations

from collections.abc import Sequence

from rich.text import Text
from textual.notifications import SeverityLevel
from textual.widget import Widget

from freezetui.session.notices import notices
from freezetui.session.session import Session
from freezetui.text import printable
from freezetui.tui.norms import modules_text, norms_text

#: Warnings that are shown in passing, and for how many seconds.
_MAX_TOLD, _SECONDS = 3, 10

#: Entries of the file beside its state_dict that are listed.
_MAX_SKIPPED = 12


def tell_problems(widget: Widget, session: Session) -> None:
    """Say in one line what is worst about what was opened; the header and its key (!) say it all the time."""
    problem = session.saved.problem
    severity: SeverityLevel = "warning"
    if problem is not None:
        severity, title, told = "error", "Config could not be loaded", str(problem)
    elif session.differences:
        title, told = f"{session.config_path.name} does not fit (! says more)", "; ".join(session.differences)
    else:
        title, told = "Warning (! says more)", "; ".join(session.checkpoint.warnings[:_MAX_TOLD])
    if told:
        widget.notify(told, title=title, severity=severity, timeout=_SECONDS)


def notices_text(session: Session, said: Sequence[str] = ()) -> Text:
    """Return everything that the header is brief about.

    Args:
        said: the last messages, the newest last.
    """
    text = Text()
    for notice in notices(session):
        text.append(f"{notice.short}\n", "bold")
        text.append("".join(f"  {printable(line)}\n" for line in notice.lines) + "\n")
    text = text or Text("Nothing is known to be wrong.\n\n")
    if session.report is None:
        text.append("not checked yet: nothing is proven (r checks)\n", "dim")
    if session.comparison is not None:
        text.append(f"against {printable(session.comparison.before)}:\n", "dim")
        text.append("".join(f"  {printable(line)}\n" for line in session.comparison.summary()), "dim")
    text.append(f"norm_statistics: {norms_text(session)}; B changes it\n", "dim")
    text.append(f"frozen_modules: {modules_text(session)}; O changes it\n", "dim")
    choices = session.checkpoint.choices
    if len(choices) > 1:
        shown = printable(session.checkpoint.unwrapped) or "the top level"
        text.append(
            f"{len(choices):,} state_dicts in this file, shown: {shown}; K opens another one\n", "dim"
        )
    for each in session.checkpoint.skipped[:_MAX_SKIPPED]:
        text.append(f"skipped {printable(each.key)}: {printable(each.what)}\n", "dim")
    if said:
        text.append("\nlast messages\n", "bold")
        text.append("".join(f"  {line}\n" for line in reversed(said)))
    return text
