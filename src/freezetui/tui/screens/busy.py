"""BusyScreen: shown while a task takes long; lets the user cancel it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from concurrent.futures import Future, TimeoutError
from typing import Any

from rich.text import Text
from textual.app import App, ComposeResult
from textual.binding import Binding
from textual.containers import Vertical
from textual.widgets import LoadingIndicator, Static

from freezetui.session.loading import Result, run_in_thread
from freezetui.tui.screens.dialog import Dialog

#: Seconds before anything is shown: most tasks are done by then.
_PATIENCE = 0.2
#: Seconds in which a task may be done without any screen.
_INSTANT = 0.1
#: With fewer tensors, no task takes long enough to be noticed.
_MIN_TENSORS = 10_000


class BusyScreen(Dialog[None]):
    """Blocks input while a task runs; dismissed by the caller or by the user."""

    DEFAULT_CSS = """
    BusyScreen LoadingIndicator {
        height: 1;
    }
    BusyScreen.-early {
        background: transparent;
        & > .dialog { visibility: hidden; }
    }
    """

    BINDINGS = [Binding("escape", "dismiss", "Cancel", id="dialog.back")]

    def __init__(self, what: str) -> None:
        super().__init__(classes="-early")
        self._what = what

    def compose(self) -> ComposeResult:
        """Compose what is being done, and a moving indicator."""
        with Vertical(classes="dialog") as dialog:
            dialog.border_subtitle = "Esc: cancel"
            yield Static(Text(self._what))
            yield LoadingIndicator()

    def on_mount(self) -> None:
        """Stay invisible for the first moment."""
        self.set_timer(_PATIENCE, lambda: self.remove_class("-early"))


async def run_with_busy_screen(
    app: App[Any], what: str, work: Callable[[], Result], tensors: int
) -> Result | None:
    """Return what `work` returns; None if the user cancelled.

    Only for a Textual worker, and for work without side effects: it keeps running after the user cancels.

    Args:
        what: what is being done, for display.
        work: runs in its own thread if the model is large.
        tensors: how many the model has.
    """
    if tensors < _MIN_TENSORS:
        return work()
    promise: Future[Result] = Future()
    run_in_thread(promise, work)
    with contextlib.suppress(TimeoutError):  # a screen takes longer, and no key may come in between
        return promise.result(_INSTANT)
    return await wait_with_busy_screen(app, what, promise)


async def wait_with_busy_screen(app: App[Any], what: str, promise: Future[Result]) -> Result | None:
    """Return the result of `promise`; None if the user gave up waiting for it. Only for a Textual worker.

    Raises:
        Exception: whatever the promise holds.
    """
    screen = BusyScreen(what)
    done, left = asyncio.wrap_future(promise), app.push_screen(screen, wait_for_dismiss=True)
    done.add_done_callback(lambda _: done.cancelled() or done.exception())  # one that comes late is nobody's
    await asyncio.wait((done, left), return_when=asyncio.FIRST_COMPLETED)
    if not done.done():
        return None
    if screen.is_active:
        screen.dismiss(None)
    return done.result()
