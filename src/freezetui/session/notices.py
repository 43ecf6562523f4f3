"""What a user should know of a session at every moment, in a few words and in full."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from itertools import islice
from typing import NamedTuple

from freezetui import numbers
from freezetui.recognition.adapters import Adapter, adapter_of
from freezetui.session.session import Session
from freezetui.text import listed

_MAX_LINES, _MAX_NAMES = 40, 12


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
    if session.norm_statistics == "update" and session.has_statistics:
        told = "norm_statistics: update. Frozen norms follow train mode, and their statistics change."
        yield Notice("norms update", (told, "Press B to keep them."))
    not_finite = session.not_finite | (session.comparison.not_finite if session.comparison else {})
    if not_finite:
        lines = (f"{name}{found and f': {found}'}" for name, found in not_finite.items())
        yield Notice("NaN or inf", ("Values that are not finite numbers:", *islice(lines, _MAX_LINES)))
    yield from _of_check(session)
    yield from _of_comparison(session)
    architecture = session.architecture
    if architecture.misfit:
        said = "config.json may belong to another model. Press o to say what builds this one."
        yield Notice("config.json of another model", (f"{architecture.misfit}.", said))
    if not architecture.model.architecture and not architecture.tensors_only:
        said = "Press o to say what builds it, so that a check can run."
        if architecture.is_named:
            yield Notice("no code for it", (f"No known library builds {architecture.label}.", said))
        elif (adapter := _adapter(session.options.source)) is not None:
            offered = "r and o offer what builds both." if adapter.line else said
            yield Notice("PEFT adapter", (f"An adapter for {adapter.base}. {offered}",))
        else:
            yield Notice("architecture unknown", ("No known model has these names and shapes.", said))
    elif session.undescribed:
        yield Notice("model not built", (session.undescribed,))


@lru_cache(8)
def _adapter(source: str) -> Adapter | None:
    return adapter_of(source)


def _of_check(session: Session) -> Iterator[Notice]:
    """Yield what the last check of the shown stage has found, and why it has not proven what it should."""
    if session.checks.failure:
        yield Notice("check failed", (session.checks.failure, "R shows its log; r checks again."))
    report = session.report
    if report is None:
        return
    found = [f for f in report.findings if f.severity != "note"]
    lines = []
    for each in found[:_MAX_LINES]:
        names = listed(each.tensors, _MAX_NAMES, longest=None)
        lines.append(f"{each.code}: {each.message}{names and f': {names}'}")
        lines += [f"fix: {each.fix}"] if each.fix else []
    drifted = set(report.changed_of_frozen)
    changed = len(drifted)
    if changed:
        names = listed(report.changed_of_frozen, _MAX_NAMES, longest=None)
        lines.append(f"{numbers.plural(changed, 'buffer')} of frozen modules changed: {names}")
        about = (f.fix for f in report.findings if f.severity == "note" and not drifted.isdisjoint(f.tensors))
        lines += [f"fix: {fix}" for fix in dict.fromkeys(about) if fix]
    if session.report_is_stale:
        old = ("It had found:", *lines) if lines else ()
        yield Notice("check out of date", ("The plan has changed since the last check: press r.", *old))
    elif report.verdict == "moved" or (report.verdict == "inconclusive" and not report.nothing_to_hold):
        yield Notice(f"check {report.verdict}", tuple(lines) or ("The panel (R) says why.",))
    elif lines:
        what = (
            numbers.plural(len(found), "finding") if found else f"{numbers.plural(changed, 'buffer')} changed"
        )
        yield Notice(what, tuple(lines))


def _of_comparison(session: Session) -> Iterator[Notice]:
    """Yield what the plan keeps and the other checkpoint has otherwise."""
    comparison = session.comparison
    if comparison is None:
        if session.not_compared:
            yield Notice("not compared", (session.not_compared,))
        return
    moved = comparison.changed_frozen
    if moved:
        names = [session.tree.tensors[index].name for index in moved[:_MAX_LINES]]
        changed, verdict, *more = comparison.summary()
        yield Notice(f"{len(moved):,} frozen changed", (changed, verdict, *names, *more))
    elif comparison.nothing_in_common:
        yield Notice("nothing compared", comparison.summary())
    elif comparison.unsure_frozen:
        yield Notice(f"{comparison.unsure_frozen:,} frozen not compared", comparison.summary())


def _of_config(session: Session) -> Iterator[Notice]:
    saved, name = session.saved, session.config_path.name
    if saved.not_written:
        yield Notice("not saved", (saved.not_written,))
    if saved.problem is not None:
        yield Notice("config unreadable", (str(saved.problem), f"Saving keeps {name} under another name."))
    if saved.differences:
        first = f"{name} does not fit what is open:"
        last = "The tree shows what its rules select here. Saving (s) asks before it is overwritten."
        yield Notice("config does not fit", (first, *saved.differences[:_MAX_LINES], last))
    if saved.on_disk == "changed":
        text = f"{name} has been changed by something else since it was loaded or saved here."
        yield Notice("config changed on disk", (text, "Saving (s) asks before it is overwritten."))
    elif saved.on_disk == "deleted":
        yield Notice("config deleted", (f"{name} has been deleted since it was loaded or saved here.",))
