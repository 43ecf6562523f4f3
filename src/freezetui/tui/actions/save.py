"""SaveActions: saves the config, shows what has changed since."""

from __future__ import annotations

from pathlib import Path

from textual import work

from freezetui.config.paths import typed_path
from freezetui.tui.actions.base import SessionScreen


class SaveActions(SessionScreen):
    """Saves the config."""

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

    @work
    async def action_config_text(self) -> None:
        """Show the config as saving would write it."""
        from freezetui.tui.saving import show_config_text

        await show_config_text(self.app, self.session)
