"""RecoverActions: keeps what is unsaved in a recovery file, and offers that of a run that crashed."""

from __future__ import annotations

import asyncio
import contextlib
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from textual import on, work

from freezetui.tui.actions.base import LOOK_DELAY, Actions, SessionScreen

if TYPE_CHECKING:
    from freezetui.session.recovery import Recovery
    from freezetui.session.recovery_files import Found

#: Seconds after a change until it is written.
_DELAY = 0.5


class RecoverActions(Actions):
    """Writes and offers recovery files."""

    _recovery: Recovery | None = None
    _pending = False
    #: Whether the user has left with what was unsaved given up or saved.
    _settled = False

    def start_recovery(self) -> None:
        """Look for the files of runs that crashed, once the first screen is there."""
        self.set_timer(LOOK_DELAY, self._offer)

    @on(SessionScreen.Changed)
    def _note(self) -> None:
        """Write what is unsaved a moment from now, together with what follows until then."""
        if not self._pending:
            self._pending = True
            self.set_timer(_DELAY, self._write)

    def _write(self) -> None:
        from freezetui.session.recovery import Recovery  # the first screen needs none

        self._pending = False
        if self._recovery is None:
            self._recovery = Recovery(self.session)
        self._recovery.note()

    def end_recovery(self) -> None:
        """Keep what is unsaved if the app ends without having asked, as on a signal; else remove the file."""
        keep = not self._settled and self.session.unsaved
        if keep and self._pending:
            self._write()
        if self._recovery is not None:
            self._recovery.close(keep)

    @work
    async def _offer(self) -> None:
        from freezetui.session.recent import note_opened
        from freezetui.session.recovery_files import discard, found, restore
        from freezetui.state import keeps_state

        if not keeps_state():
            return
        await asyncio.to_thread(note_opened, self.session.options)
        for each in await asyncio.to_thread(found, self.session):
            while not self.is_current or self.is_filtering or self._panel.running:
                await asyncio.sleep(LOOK_DELAY)
            answer = await self._asked(each)
            if answer == "r":
                restore(self.session, each.kept)
                self.tree_view.show_plan(self.session.plan)
                self._write()
            if answer in ("r", "delete"):
                discard(each)
            if answer != "delete":
                return

    async def _asked(self, each: Found) -> str:
        from freezetui.tui.screens.confirm import ConfirmScreen

        when = datetime.fromtimestamp(each.kept.when).astimezone().strftime("%Y-%m-%d %H:%M")
        body = f"On {when} freezetui ended before the plan was saved to {Path(each.kept.config).name}."
        with contextlib.suppress(OSError):
            if Path(each.kept.config).stat().st_mtime > each.kept.when:
                body += " That file has been saved since. u undoes the restoring."
        options = [("r", "restore it"), ("escape", "not now"), ("delete", "discard it")]
        screen = ConfirmScreen("Restore an unsaved plan?", body, options)
        screen.is_asked_for = False
        return await self.app.push_screen_wait(screen)
