"""Copies from the TUI to the clipboard: code, script lines, names, patterns, fixes."""

from __future__ import annotations

from functools import partial
from typing import Any

from textual.app import App

from freezetui.errors import FreezeTuiError
from freezetui.formatting.fixes import fix_code
from freezetui.formatting.python_code import python_code
from freezetui.formatting.script_lines import script_lines
from freezetui.freeze.live_tree import has_other_names, live_mask, live_tree
from freezetui.freeze.patterns import literal
from freezetui.session.session import Session
from freezetui.tui.clipboard import send
from freezetui.tui.saving import FINDING_RULES, config_text
from freezetui.tui.screens.busy import run_with_busy_screen
from freezetui.tui.screens.copy import Copyable, CopyScreen
from freezetui.tui.widgets.block_groups import braces
from freezetui.tui.widgets.visible_rows import VisibleRows


async def copy_texts(app: App[Any], session: Session, rows: VisibleRows, node: int) -> None:
    """Copy the plan, of each stage, as plain PyTorch code, and show what else can be copied.

    Only for a worker.

    Args:
        node: the line under the cursor, for its name and its pattern.
    """
    tensors = len(session.tree.tensors)
    texts: list[Copyable] = []
    try:
        code = await run_with_busy_screen(app, "Writing the code…", lambda: _code(session), tensors)
        if code is None:
            return
        title = "Plain PyTorch for all stages" if len(session.stages.names) > 1 else "Plain PyTorch"
        texts.append(Copyable("PyTorch", title, code))
    except FreezeTuiError as error:
        app.notify(str(error), title="Not copied", severity="error", timeout=10)
    lines = script_lines(session.config_path.name, session.stages.names)
    texts.append(Copyable("FreezeConfig", "For a training script", lines))
    if node:
        texts.append(Copyable("name", "The name", session.tree.path(node)))
    texts.append(Copyable("pattern", "The pattern of this line", line_pattern(rows, node)))
    written = partial(run_with_busy_screen, app, FINDING_RULES, config_text(session), tensors)
    texts.append(Copyable("config", f"{session.config_path.name}, as it would be written", written))
    live = session.checks.live_report(session.stages.shown)
    fixes = [(f.code, "\n".join(fix_code(f, live.own)) or f.fix) for f in live.findings] if live else []
    texts += [Copyable(f"fix {code}", f"The fix for {code}", fix) for code, fix in fixes if fix]
    await app.push_screen_wait(CopyScreen(texts))


def _code(session: Session) -> str:
    """Return the code, with the live names if they are known and others.

    Raises:
        ConfigError: the plan cannot be written as code, or splits what becomes one live parameter.
    """
    name, stages = session.config_path.name, session.stages
    hold_norms = session.norm_statistics == "freeze"
    tree, live, model = session.tree, session.description, ""
    masks = {stage or "": bytes(stages.plan_of(stage).states) for stage in stages.names or (None,)}
    if len(masks) == 1 and stages.names:
        name, masks = f"{name}, stage {stages.names[0]}", {"": masks[stages.names[0]]}
    if live is not None and has_other_names(live.names):
        of_file = [(i, t.name) for i, t in enumerate(tree.tensors) if not t.untrainable_reason]
        tree, model = live_tree(live.names), live.model
        for stage, mask in masks.items():
            trains = live.names.to_live({name: bool(mask[i]) for i, name in of_file})
            masks[stage] = live_mask(live.names, tree, trains)
    hold_modules = stages.settings.frozen_modules == "eval"
    return python_code(session.checkpoint, tree, masks, name, hold_norms, model, hold_modules)


def copy_pattern(app: App[Any], rows: VisibleRows, node: int) -> None:
    """Send the pattern that matches what is on the line of `node` to the clipboard."""
    pattern = line_pattern(rows, node)
    send(app, pattern, "y shows it to select by hand")


def line_pattern(rows: VisibleRows, node: int) -> str:
    """Return the pattern of a line; for repeated blocks that are one line, of all of them."""
    if node == 0:
        return "**"
    segments = rows.segments(node)
    if all(numbers is None for _, numbers in segments):
        return literal(rows.tree.path(node))
    return ".".join(literal(name) if numbers is None else braces(numbers) for name, numbers in segments)
