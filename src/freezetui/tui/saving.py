"""Saves the config from the TUI: what to confirm before, what to report after."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from textual.app import App

from freezetui import numbers
from freezetui.config.paths import SUFFIX, why_no_config
from freezetui.errors import FreezeTuiError
from freezetui.session.session import Session
from freezetui.tui.screens.busy import run_with_busy_screen
from freezetui.tui.screens.confirm import ConfirmScreen
from freezetui.tui.screens.prompt import PromptScreen

#: Stages that a toast names.
_MAX_STAGES = 3
FINDING_RULES = "Simplifying the rules…"


async def save_config(app: App[Any], session: Session, path: Path | None = None) -> bool:
    """Save the plan, asking first if something would be lost. Only for a Textual worker.

    Args:
        path: None saves where the config was loaded from, or beside the checkpoint.

    Returns:
        Whether it was saved.
    """
    target = path or session.config_path
    if not await _may_write(app, session, target):
        return False
    tensors = len(session.tree.tensors)
    try:
        config = await run_with_busy_screen(app, FINDING_RULES, lambda: session.written(target), tensors)
        if config is None:
            return False
        session.save(target, config)
    except FreezeTuiError as error:
        session.saved.not_written = str(error)
        app.notify(str(error), title="Not saved", severity="error", timeout=10)
        return False
    if session.config_path != target:
        app.notify(
            f"{target} is not a regular file: it got a copy; the config file was not written.",
            title="Written",
        )
        return True
    said = [f"Saved {target.name}", "y →: the lines for your script", _selected(session)]
    if is_receipt_to_save(session):
        where = "" if session.checks.is_to_keep(session.stages.shown) else f"in stage {_to_keep(session)[0]} "
        said.append(f"{where}R, then the last line: save the receipt of the check")
    app.notify("; ".join(said), timeout=6)
    return True


def _selected(session: Session) -> str:
    """Return how many tensors what was saved freezes: of every stage, where there are stages."""
    stages = session.stages
    if not stages.names:
        totals = session.totals
        return (
            f"{numbers.plural(totals.frozen.tensors, 'tensor')} frozen, {totals.trainable.tensors:,} to train"
        )
    all_totals = {name: stages.plan_of(name).totals() for name in stages.names}
    counts = [f"{name} freezes {each.frozen.tensors:,}" for name, each in all_totals.items()]
    tensors = numbers.plural(next(iter(all_totals.values())).parameters.tensors, "tensor")
    more = f" and {len(counts) - _MAX_STAGES} more stages" if counts[_MAX_STAGES:] else ""
    return f"{', '.join(counts[:_MAX_STAGES])} of {tensors}{more}"


async def ask_path(app: App[Any], last: str) -> str | None:
    """Ask where to save; return None if the user cancels. Only for a Textual worker."""
    title = "Save the freeze config as"
    return await app.push_screen_wait(PromptScreen(title, ".yaml or .json", last, refuse=why_no_config))


async def show_changes(app: App[Any], session: Session) -> None:
    """Show the changes since the last save. Only for a Textual worker."""
    from freezetui.tui.screens.changes import changes_text  # the first screen needs none
    from freezetui.tui.screens.text_viewer import TextViewer

    what, tensors = "Comparing with the saved config…", len(session.tree.tensors)
    text = await run_with_busy_screen(app, what, lambda: changes_text(session), tensors)
    if text is not None:
        app.push_screen(TextViewer("Changes", text))


def config_text(session: Session) -> Callable[[], str]:
    """Return what makes the text of the config as saving would write it now, or says why it could not.

    What it returns may run in a thread: it goes by the session as it is at this moment.
    """
    from freezetui.session.writing import to_write

    path, write = session.config_path, to_write(session, session.config_path)

    def text() -> str:
        from freezetui.config.codec import text_to_write  # slow: imports a YAML library

        try:
            return text_to_write(path, write())
        except FreezeTuiError as error:
            return f"# {error}"

    return text


async def save_receipt(app: App[Any], session: Session) -> None:
    """Ask where, and write the receipt of the checks that are of the plans as they are. Only for a worker."""
    from freezetui.session.receipt_file import receipt_path

    def refused(text: str) -> str:
        try:
            receipt_path(session, text)
        except FreezeTuiError as error:
            return str(error)
        return ""

    body, name = "As text, or as JSON if the name ends in .json", str(_receipt_beside(session))
    answer = await app.push_screen_wait(PromptScreen("Save the receipt as", body, name, refused))
    if answer is not None:
        _write_receipt(app, session, answer)


def is_receipt_to_save(session: Session) -> bool:
    """Whether a check has held for a plan as it is now, and no receipt says so."""
    return bool(_to_keep(session))


def _to_keep(session: Session) -> list[str | None]:
    """Return the stages, None for a plan without, whose check has held and is in no receipt."""
    return [stage for stage in session.stages.names or (None,) if session.checks.is_to_keep(stage)]


def _receipt_beside(session: Session) -> Path:
    path = session.config_path
    return path.with_name(path.name.removesuffix(SUFFIX) + ".receipt.txt")


def _write_receipt(app: App[Any], session: Session, name: str) -> bool:
    """Write the receipt, and return whether that was possible; the user is told."""
    from freezetui.formatting.receipt import receipts
    from freezetui.session.receipt_file import receipt_path, write_receipt

    checks = session.checks
    fresh = [s for s in session.stages.names or (None,) if checks.report(s) and not checks.is_stale(s)]
    reports = [report for stage in fresh if (report := checks.live_report(stage)) is not None]
    try:
        target = receipt_path(session, name)
        write_receipt(target, receipts(reports, session, as_json=target.suffix == ".json"))
    except FreezeTuiError as error:
        app.notify(str(error), title="Receipt not saved", severity="error", timeout=10)
        return False
    for stage in fresh:
        checks.keep(stage)
    app.notify(str(target.name), title="Receipt saved", timeout=4)
    return True


async def may_leave(app: App[Any], session: Session, then: str = "quit") -> bool:
    """Whether the user saved or discarded what was unsaved, if anything. Only for a Textual worker.

    Args:
        then: what comes after it, in words, e.g. "quit".
    """
    if not session.unsaved:
        return True
    proof, save = is_receipt_to_save(session), f"save and {then}"
    body = f"Your changes have not been saved to {session.config_path.name}."
    if proof:
        body += " Nor has the receipt of the check."
        save = f"save both and {then}"
    options = [("escape", "go back"), ("s", save), ("x", f"{then} without saving")]
    answer = await app.push_screen_wait(ConfirmScreen("Unsaved changes", body, options))
    if answer != "s" or not await save_config(app, session):
        return answer == "x"
    return not proof or _write_receipt(app, session, str(_receipt_beside(session)))


async def _may_write(app: App[Any], session: Session, target: Path) -> bool:
    changed = session.why_not_as_opened()
    if changed:
        options = [("n", "go back"), ("y", "save the plan for its old names and shapes")]
        if await app.push_screen_wait(ConfirmScreen("The checkpoint has changed", changed, options)) != "y":
            return False
    why = session.saved.why_not_write(target)
    if not why:
        return True
    broken = session.saved.unreadable(target)
    title = f"{target.name} is not readable as a config" if broken else f"Overwrite {target.name}?"
    options = [("n", "go back"), ("y", "replace it" if broken else "overwrite it")]
    return await app.push_screen_wait(ConfirmScreen(title, why, options)) == "y"
