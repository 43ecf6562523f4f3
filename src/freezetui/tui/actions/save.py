"""SaveActions: saves the config, shows what has changed since."""

from __future__ import annotations

import asyncio
from pathlib import Path

from textual import on, work

from freezetui.config.paths import typed_path
from freezetui.tui.actions.base import Actions, SessionScreen

#: With more tensors the text of the config is made in a thread, this many seconds after an edit.
_MAX_INSTANT, _PAUSE = 1_000, 0.2


class SaveActions(Actions):
    """Saves the config, and shows its text beside the tree."""

    #: Whether the text of the config is to be made again, and whether it is being made.
    _is_outdated = False
    _is_writing = False
    #: The name that was last saved under, as it was typed.
    _last_path = ""

    @work
    async def action_save(self) -> None:
        """Save to the config's path: where it was loaded from, or beside the checkpoint."""
        await self._save()

    @work
    async def action_save_as(self) -> None:
        """Save under another name."""
        from freezetui.tui.saving import ask_path  # the first screen needs none

        path = await ask_path(self.app, self._last_path or str(self.session.config_path))
        if path is not None:
            self._last_path = path
            await self._save(typed_path(path))

    async def _save(self, path: Path | None = None) -> None:
        from freezetui.tui.saving import save_config

        await save_config(self.app, self.session, path)
        self.refresh_session()

    @work
    async def action_changes(self) -> None:
        """Show the changes since the last save."""
        from freezetui.tui.saving import show_changes

        await show_changes(self.app, self.session)

    async def action_config_text(self) -> None:
        """Show the config as saving would write it, and follow every edit; or close it."""
        if self.shows_config:
            self.hide_config()
            return
        if not self.query("#config"):
            from freezetui.tui.widgets.config_pane import ConfigPane  # the first screen needs none

            await self.query_one("#side").mount(ConfigPane(id="config"))
        if self.is_low:
            self._panel.display = self._panel.running
        self.add_class("-config")
        self._follow_plan()

    @on(SessionScreen.Changed)
    def _follow_plan(self) -> None:
        """Rewrite the text of the config if its pane is open; after the text in progress, if any."""
        self._is_outdated = self.shows_config
        if self._is_outdated and not self._is_writing:
            self._write_text()

    @work
    async def _write_text(self) -> None:
        from freezetui.tui.saving import config_text
        from freezetui.tui.widgets.config_pane import ConfigPane

        pane, session = self.query_one(ConfigPane), self.session
        large = len(session.tree.tensors) > _MAX_INSTANT
        self._is_writing = True
        try:
            while self._is_outdated:
                if large:
                    pane.wait()
                    await asyncio.sleep(_PAUSE)
                self._is_outdated = False
                make = config_text(session)
                text = await asyncio.to_thread(make) if large else make()
                pane.show(text)
        finally:
            self._is_writing = False
