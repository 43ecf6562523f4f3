"""Lets a key that was typed ahead of a dialog meet that dialog, and not what is below it."""

from __future__ import annotations

import asyncio

#: Turns of the event loop in which a message goes up to the screen, and a worker takes its first steps.
_TURNS = 20


async def workers_started() -> None:
    """Let the workers that an action has started open their dialogs, before the next key is looked at."""
    for _ in range(_TURNS):
        await asyncio.sleep(0)
