"""FilterInput: the text of the filter, and the keys that act on it."""

from __future__ import annotations

from textual.binding import Binding
from textual.message import Message
from textual.widgets import Input

from freezetui.tui.guarded import Guarded


class FilterInput(Guarded, Input):
    """The text of the filter.

    Its keys are bound here, not with priority in the bar, so that letters typed before them come first.
    """

    BINDINGS = [
        Binding("ctrl+f", "all(False)", "freeze all", tooltip="Freeze all matches", id="filter.freeze-all"),
        Binding("ctrl+t", "all(True)", "train all", tooltip="Train all matches", id="filter.train-all"),
        Binding("enter", "submit", "apply", tooltip="Apply the filter", id="filter.keep"),
    ]

    class All(Message):
        """Freeze or train all that `text`, the filter when the key was pressed, matches."""

        def __init__(self, text: str, trainable: bool) -> None:
            super().__init__()
            self.text, self.trainable = text, trainable

    def action_all(self, trainable: bool) -> None:
        """Freeze or train all matches."""
        self.post_message(self.All(self.value, trainable))

    async def action_submit(self) -> None:
        """Move the focus immediately, so that the next key does not go to the filter."""
        self.screen.set_focus(None)
        await super().action_submit()
