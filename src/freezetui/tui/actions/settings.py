"""SettingsActions: another state_dict of the file, and the settings of the config."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import msgspec
from textual import work

from freezetui.tui.actions.base import Actions
from freezetui.tui.norms import modules_text, norms_brief

if TYPE_CHECKING:
    from freezetui.tui.host import Host

#: State_dicts that are offered; each has a digit as its key.
_MAX_CHOICES = 9


class SettingsActions(Actions):
    """Changes what is open, and settings of the config that no line of the tree shows."""

    @work
    async def action_key(self) -> None:
        """Choose another state_dict of the file, such as its EMA copy, and open it."""
        from freezetui.tui.screens.confirm import ConfirmScreen

        choices = self.session.checkpoint.choices[:_MAX_CHOICES]
        if len(choices) < 2:
            self.notify("The file holds only one state_dict.", timeout=3)
            return
        shown = self.session.checkpoint.unwrapped
        options = [(str(number), key or "the top level") for number, key in enumerate(choices, 1)]
        screen = ConfirmScreen("Which state_dict?", f"Shown: {shown or 'the top level'}", options)
        answer = await self.app.push_screen_wait(screen)
        if answer:
            asked = msgspec.structs.replace(self.session.options, key=choices[int(answer) - 1])
            cast("Host", self.app).reopen(asked)

    def action_norms(self) -> None:
        """Let the running statistics of frozen norms change, or keep them."""
        session = self.session
        session.stages.set(norm_statistics="update" if session.norm_statistics == "freeze" else "freeze")
        self.refresh_session()
        self.notify(norms_brief(session), timeout=4)

    def action_modules(self) -> None:
        """Keep frozen modules in eval mode, dropout included, or let them follow train mode."""
        stages = self.session.stages
        stages.set(frozen_modules="eval" if stages.settings.frozen_modules == "train" else "train")
        self.refresh_session()
        self.notify(f"frozen_modules: {modules_text(self.session)}", timeout=4)
