"""CheckHeadline: the first lines of the check's panel, with the verdict in its color."""

from __future__ import annotations

from rich.text import Text
from textual.widgets import Static

from freezetui.tui.contrast import colored
from freezetui.tui.guarded import Guarded
from freezetui.tui.units import with_units


class CheckHeadline(Guarded, Static):
    """Shows text whose spans are named as component classes, readable in every theme."""

    DEFAULT_CSS = """
    CheckHeadline {
        width: 1fr;
        color: auto;
        &.-one-line { height: 1; text-wrap: nowrap; text-overflow: ellipsis; }
        & > .check--held { color: $text-success; text-style: bold; }
        & > .check--moved { color: $text-error; text-style: bold; }
        & > .check--open { color: $text-warning; text-style: bold; }
    }
    """
    COMPONENT_CLASSES = {"check--held", "check--moved", "check--open"}

    def __init__(self, id: str | None = None) -> None:
        super().__init__(id=id, markup=False)
        self._told = Text()

    def say(self, text: Text, one_line: bool = False) -> None:
        """Show this text; what changes often in one line, so that nothing above moves."""
        self._told = with_units(text)
        self.set_class(one_line, "-one-line")
        self._color()

    def on_show(self) -> None:
        """Let other lines give way on a low screen."""
        self.screen.add_class("-proof")

    def on_hide(self) -> None:
        """Give the lines back."""
        self.screen.remove_class("-proof")

    def _color(self) -> None:
        self.update(colored(self._told, self, self.COMPONENT_CLASSES))

    def notify_style_update(self) -> None:
        """Take the colors of the new theme."""
        super().notify_style_update()
        self.call_after_refresh(self._color)
