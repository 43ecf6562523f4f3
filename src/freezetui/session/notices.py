"""What a user should know of a session at every moment, in a few words and in full."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from freezetui import numbers
from freezetui.session.session import Session

_MAX_LINES = 40


class Notice(NamedTuple):
    """One thing to know.

    Attributes:
        short: for the header.
        lines: in full; foreign text in them is not escaped.
    """

    short: str
    lines: tuple[str, ...]


def notices(session: Session) -> Iterator[Notice]:
    """Yield what is not as it should be, the most important first."""
    yield from _of_config(session)
    if session.checkpoint_changed:
        changed = f"{session.options.source} has been written to or replaced since it was opened."
        yield Notice("checkpoint changed", (changed, "Open it again to see what it holds now."))
    warnings = session.checkpoint.warnings
    if warnings:
        missing = any("missing" in warning or "no shard contains" in warning for warning in warnings)
        short = "data missing" if missing else numbers.plural(len(warnings), "warning")
        yield Notice(short, tuple(warnings[:_MAX_LINES]))
    if session.checks.failure:
        yield Notice("check failed", (session.checks.failure, "R shows its log; r checks again."))
    if session.report_is_stale:
        yield Notice("check out of date", ("The plan has changed since the last check: press r.",))
    if session.norm_statistics == "update" and session.has_statistics:
        told = "norm_statistics: update. Frozen norms follow train mode, and their statistics change."
        yield Notice("norms update", (told, "B keeps them."))
    architecture = session.architecture
    if not architecture.model.architecture and not architecture.tensors_only:
        said = "Press o to say what builds it, so that a check can run."
        if architecture.is_named:
            yield Notice("no code for it", (f"Nothing is known that builds {architecture.label}.", said))
        else:
            yield Notice("architecture unknown", ("No library's model has these names and shapes.", said))
    elif session.undescribed:
        yield Notice("live model unknown", (session.undescribed,))


def _of_config(session: Session) -> Iterator[Notice]:
    saved, name = session.saved, session.config_path.name
    if saved.not_written:
        yield Notice("not saved", (saved.not_written,))
    if saved.problem is not None:
        yield Notice("config unreadable", (str(saved.problem), f"Saving keeps {name} under another name."))
    if saved.differences:
        first = f"{name} was saved for another model, or does not select what it did:"
        last = "What it says is not what is shown here. Saving (s) asks before it is overwritten."
        yield Notice("config does not fit", (first, *saved.differences[:_MAX_LINES], last))
    if saved.on_disk == "changed":
        text = f"{name} has been written by something else since it was loaded or saved here."
        yield Notice("config changed on disk", (text, "Saving (s) asks before it is overwritten."))
    elif saved.on_disk == "deleted":
        yield Notice("config deleted", (f"{name} has been deleted since it was loaded or saved here.",))
