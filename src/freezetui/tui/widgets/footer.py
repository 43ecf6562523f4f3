"""KeyFooter: the keys at the bottom that do something now, as many as fit."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from rich.cells import cell_len
from rich.style import Style
from rich.text import Text

from freezetui.text import printable
from freezetui.tui.contrast import legible
from freezetui.tui.footer_keys import FooterKey
from freezetui.tui.widgets.drawing import TextBar


class KeyFooter(TextBar):
    """Names keys in one line; those that matter least are left out first. A click runs the action.

    Args:
        keys: returns what can be named now.
    """

    COMPONENT_CLASSES = {"footer--key"}
    DEFAULT_CSS = """
    KeyFooter {
        height: 1;
        background: $panel;
        color: $foreground;
        & > .footer--key { color: $text-accent; text-style: bold; }
    }
    """

    def __init__(self, keys: Callable[[], Iterable[FooterKey]], id: str | None = None) -> None:
        super().__init__(id=id)
        self._keys = keys

    def render(self) -> Text:
        """Draw the keys that fit, in their order."""
        shown = fitting(list(self._keys()), self.size.width)
        style = legible(self.get_component_rich_style("footer--key"))
        line = Text(no_wrap=True, style=self.base)
        for each in shown:
            click = Style(meta={"@click": f"screen.run_key({each.action!r})"}) if each.action else Style()
            line.append(" " if line.plain else "")
            line.append(each.key, style + click).append(" " if each.key else "")
            line.append(printable(each.label), click if each.key else Style(italic=True))
        return line


def fitting(keys: list[FooterKey], width: int) -> list[FooterKey]:
    """Return the keys that fit into a width, in their order; the lowest ranks first."""
    chosen: set[int] = set()
    room = width + 1
    for place in sorted(range(len(keys)), key=lambda place: (keys[place].rank, place)):
        needed = cell_len(keys[place].label) + 1 + (cell_len(keys[place].key) + 1 if keys[place].key else 0)
        if needed <= room:
            chosen.add(place)
            room -= needed
    return [key for place, key in enumerate(keys) if place in chosen]
