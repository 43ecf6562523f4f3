"""Asks for a new stage."""

from __future__ import annotations

from typing import Any

from textual.app import App

from freezetui.session.stage_plans import StagePlans
from freezetui.tui.screens.prompt import PromptScreen

_BODY = "Its rules come below the common ones. [ and ] switch between stages."


async def ask_stage(app: App[Any], stages: StagePlans) -> bool:
    """Ask for a name and add the stage; return whether one was added. Only for a Textual worker."""
    name = await app.push_screen_wait(PromptScreen("New stage", _BODY, refuse=stages.why_not_a_name))
    if name is not None:
        stages.add(name)
    return name is not None
