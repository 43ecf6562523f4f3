"""Dialog: the base of every dialog, a box centered on the screen."""

from __future__ import annotations

from collections.abc import Sequence

from textual import events
from textual.filter import LineFilter
from textual.screen import ModalScreen, ScreenResultType

from freezetui.tui.guarded import Guarded
from freezetui.tui.readable_filter import ReadableFilter

#: Keys that answer no question.
_HARMLESS = frozenset(["escape", "up", "down", "pageup", "pagedown", "home", "end"])


class Dialog(Guarded, ModalScreen[ScreenResultType]):
    """A modal screen with one container, the box, of the CSS class `dialog` (and `-wide`, ...).

    Keys that were typed before it was there do not reach it: they cannot have been meant for it. In a dialog
    that the user asked for, those that only move or close it wait until it is there.

    Attributes:
        is_asked_for: whether the user opened it; else it must be seen before it goes.
    """

    is_asked_for = True
    _there_since = float("inf")

    DEFAULT_CSS = """
    Dialog {
        align: center middle;
    }
    Dialog > .dialog {
        width: 64;
        max-width: 95%;
        height: auto;
        max-height: 95%;
        padding: 0 1;
        border: round $primary;
        border-title-color: $text-accent;
        border-title-style: bold;
        border-subtitle-color: $text-muted;
        background: $surface;
        &.-wide { width: 78; }
        &.-wider { width: 92; }
        &.-widest { width: 114; }
        & > .dialog-title {
            text-style: bold;
            color: $text-accent;
        }
        & > OptionList {
            height: auto;
            max-height: 12;
            border: none;
            background: $surface;
            margin-top: 1;
        }
        & > Input {
            margin-top: 1;
        }
    }
    """

    def __init__(self, classes: str | None = None) -> None:
        super().__init__(classes=classes)
        self._early: list[str] = []

    def get_line_filters(self) -> Sequence[LineFilter]:
        """Return what its own lines go through, those of the faded screen behind the box: they stay faded."""
        return [each for each in super().get_line_filters() if not isinstance(each, ReadableFilter)]

    def _on_mount(self, event: events.Mount) -> None:
        super()._on_mount(event)
        self._there_since = event.time
        for key in self._early:
            self.call_after_refresh(self.app.post_message, events.Key(key, None))

    def came_before(self, key: events.Key) -> bool:
        """Whether a key was typed before the dialog was there, and is dropped or has to wait for it."""
        if key.time >= self._there_since:
            return False
        if not self.is_asked_for or key.key not in _HARMLESS:
            return True
        if self.is_mounted:
            return False
        self._early.append(key.key)
        return True
