"""Tells what is wrong with what was opened: once in passing, and in full on a key."""

from __future__ import annotations

from rich.text import Text
from textual.widget import Widget

from freezetui.session.notices import notices
from freezetui.session.session import Session
from freezetui.text import printable
from freezetui.tui.actions.settings import norms_text

#: Entries of the file beside its state_dict that are listed.
_MAX_SKIPPED = 12


def tell_problems(widget: Widget, session: Session) -> None:
    """Show problems and warnings of the config and the checkpoint as toasts."""
    problem = session.saved.problem
    if problem is not None:
        widget.notify(str(problem), title="Config could not be loaded", severity="error", timeout=15)
    if session.differences:
        title = f"{session.config_path.name} does not fit"
        widget.notify("\n".join(session.differences[:6]), title=title, severity="warning", timeout=20)
    for warning in session.checkpoint.warnings[:3]:
        widget.notify(printable(warning), severity="warning")


def notices_text(session: Session) -> Text:
    """Return everything that the header is brief about."""
    text = Text()
    for notice in notices(session):
        text.append(f"{notice.short}\n", "bold")
        text.append("".join(f"  {printable(line)}\n" for line in notice.lines) + "\n")
    text = text or Text("Nothing is wrong.\n\n")
    text.append(f"norm_statistics: {norms_text(session)}; B changes it\n", "dim")
    choices = session.checkpoint.choices
    if len(choices) > 1:
        text.append(f"{len(choices):,} state_dicts in this file; K opens another one\n", "dim")
    for each in session.checkpoint.skipped[:_MAX_SKIPPED]:
        text.append(f"not read: {printable(each.key)}, {printable(each.what)}\n", "dim")
    return text
