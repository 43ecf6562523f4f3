"""Saves the config from the TUI: what to confirm before, what to report after."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from textual.app import App

from freezetui.config.paths import SUFFIX, why_no_config
from freezetui.errors import FreezeTuiError
from freezetui.session.session import Session
from freezetui.tui.screens.busy import run_with_busy_screen
from freezetui.tui.screens.confirm import ConfirmScreen
from freezetui.tui.screens.prompt import PromptScreen

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
        app.notify(f"{target} is not a file: it got a copy, and the plan stays as it was.", title="Written")
        return True
    app.notify(f"Saved {target.name}; y →: the lines for your script", timeout=6)
    return True


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
    from freezetui.config.codec import text_to_write
    from freezetui.session.writing import to_write

    path, write = session.config_path, to_write(session, session.config_path)

    def text() -> str:
        try:
            return text_to_write(path, write())
        except FreezeTuiError as error:
            return f"# {error}"

    return text


async def save_receipt(app: App[Any], session: Session) -> None:
    """Ask where, and write the receipt of the checks that are of the plans as they are. Only for a worker."""
    from freezetui.formatting.receipt import receipts
    from freezetui.session.receipt_file import receipt_path, write_receipt

    def refused(text: str) -> str:
        try:
            receipt_path(session, text)
        except FreezeTuiError as error:
            return str(error)
        return ""

    path = session.config_path
    name = str(path.with_name(path.name.removesuffix(SUFFIX) + ".receipt.txt"))
    screen = PromptScreen(
        "Save the receipt as", "As text, or as JSON if the name ends in .json", name, refused
    )
    answer = await app.push_screen_wait(screen)
    if answer is None:
        return
    target, stages = receipt_path(session, answer), session.stages.names or (None,)
    fresh = [session.checks.live_report(stage) for stage in stages if not session.is_stale(stage)]
    reports = [report for report in fresh if report is not None]
    try:
        write_receipt(target, receipts(reports, session, as_json=target.suffix == ".json"))
    except FreezeTuiError as error:
        app.notify(str(error), title="Not saved", severity="error", timeout=10)
    else:
        app.notify(str(target.name), title="Receipt saved", timeout=4)


async def may_quit(app: App[Any], session: Session) -> bool:
    """Whether the user saved or discarded what was unsaved, if anything. Only for a Textual worker."""
    if not session.unsaved:
        return True
    options = [("escape", "go back"), ("s", "save and quit"), ("x", "quit without saving")]
    body = f"Your changes have not been saved to {session.config_path.name}."
    answer = await app.push_screen_wait(ConfirmScreen("Unsaved changes", body, options))
    return answer == "x" or (answer == "s" and await save_config(app, session))


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
