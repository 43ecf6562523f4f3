"""Copies from the TUI to the clipboard: the plan as plain PyTorch code, and the pattern of a line."""

from __future__ import annotations

from typing import Any

from rich.text import Text
from textual.app import App

from freezetui.errors import FreezeTuiError
from freezetui.formatting.python_code import python_code
from freezetui.freeze.live_tree import has_other_names, live_mask, live_tree
from freezetui.freeze.patterns import literal
from freezetui.session.session import Session
from freezetui.text import printable
from freezetui.tui.screens.busy import run_with_busy_screen
from freezetui.tui.screens.text_viewer import TextViewer
from freezetui.tui.widgets.block_groups import braces
from freezetui.tui.widgets.visible_rows import VisibleRows

_TITLE = "Plain PyTorch, copied to the clipboard if the terminal allows it"
#: Lines that are shown; all are copied.
_MAX_SHOWN = 1_000


async def copy_code(app: App[Any], session: Session) -> None:
    """Copy the shown plan as plain PyTorch code, and show it. Only for a Textual worker."""
    tensors = len(session.tree.tensors)
    try:
        code = await run_with_busy_screen(app, "Writing the code…", lambda: _code(session), tensors)
    except FreezeTuiError as error:
        app.notify(str(error), title="Not copied", severity="error", timeout=10)
        return
    if code is None:
        return
    app.copy_to_clipboard(code)
    lines = code.splitlines()
    shown = Text("\n".join(lines[:_MAX_SHOWN]))
    if len(lines) > _MAX_SHOWN:
        shown.append(f"\n\n{len(lines) - _MAX_SHOWN:,} more lines are copied", "dim")
    app.push_screen(TextViewer(_TITLE, shown, "-widest"))


def _code(session: Session) -> str:
    """Return the code, with the live names if they are known and others.

    Raises:
        ConfigError: the plan cannot be written as code, or splits what becomes one live parameter.
    """
    name, stage = session.config_path.name, session.stages.shown
    hold_norms = session.config is None or session.config.norm_statistics == "freeze"
    tree, mask, live = session.tree, session.plan.mask(), session.description
    model = ""
    if live is not None and has_other_names(live.names):
        pairs = zip(tree.tensors, mask, strict=True)
        trains = live.names.to_live({t.name: bool(train) for t, train in pairs if not t.untrainable_reason})
        tree, model = live_tree(live.names), live.model
        mask = live_mask(live.names, tree, trains)
    what = name if stage is None else f"{name}, stage {stage}"
    return python_code(session.checkpoint, tree, {"": mask}, what, hold_norms, model)


def copy_pattern(app: App[Any], rows: VisibleRows, node: int) -> None:
    """Copy the pattern that matches what is on the line of `node`."""
    pattern = line_pattern(rows, node)
    app.copy_to_clipboard(pattern)
    app.notify(f"copied: {printable(pattern)}", timeout=3)


def line_pattern(rows: VisibleRows, node: int) -> str:
    """Return the pattern of a line; for repeated blocks that are one line, of all of them."""
    if node == 0:
        return "**"
    segments = rows.segments(node)
    if all(numbers is None for _, numbers in segments):
        return literal(rows.tree.path(node))
    return ".".join(literal(name) if numbers is None else braces(numbers) for name, numbers in segments)
