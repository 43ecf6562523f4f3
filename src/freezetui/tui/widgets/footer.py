"""KeyFooter: the keys at the bottom that do something now, as many as fit."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from rich.cells import cell_len
from rich.style import Style
from rich.text import Text

from freezetui.text import printable
from freezetui.tui.contrast import legible, muted
from freezetui.tui.footer_keys import MAX_BARE, FooterKey
from freezetui.tui.widgets.drawing import TextBar

#: A narrower footer has no room for the legend, which keeps so many cells away from the keys.
_MIN_LEGEND, _MIN_GAP = 160, 3


class KeyFooter(TextBar):
    """Names keys in one line; those that matter least lose their labels, or are left out, first.

    A click runs the action. Where there is room at the right end, it says what the signs of the map mean.

    Args:
        keys: returns what can be named now.
        legend: returns what the signs mean.
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

    def __init__(
        self, keys: Callable[[], Iterable[FooterKey]], legend: Callable[[], str], id: str | None = None
    ) -> None:
        super().__init__(id=id)
        self._keys, self._legend = keys, legend

    def render(self) -> Text:
        """Draw the keys that fit, in their order."""
        shown = fitting(list(self._keys()), self.size.width)
        style = legible(self.get_component_rich_style("footer--key"))
        line, remark = Text(no_wrap=True, style=self.base), Style(italic=True) + muted(self)
        for each in shown:
            click = Style(meta={"@click": f"screen.run_key({each.action!r})"}) if each.action else Style()
            line.append(" " if line.plain else "")
            line.append(each.key, style + click).append(" " if each.key and each.label else "")
            line.append(printable(each.label), click if each.key else remark)
        legend = self._legend() if self.size.width >= _MIN_LEGEND else ""
        gap = self.size.width - cell_len(line.plain) - cell_len(legend) - 1
        if legend and gap >= _MIN_GAP:
            line.append(" " * gap).append(legend, muted(self))
        return line


def fitting(keys: list[FooterKey], width: int) -> list[FooterKey]:
    """Return the keys that fit into a width, in their order, some without their label.

    Keys down to the rank `MAX_BARE` come before the labels, the lowest ranks first; then what else fits.
    """
    order = sorted(range(len(keys)), key=lambda place: (keys[place].rank, place))
    chosen: dict[int, FooterKey] = {}
    room = width + 1
    for bare in (True, False):
        for place in order:
            key = keys[place]
            if bare and key.rank > MAX_BARE:
                break
            each = key._replace(label="") if bare and key.key else key
            needed = _width(each) - (_width(chosen[place]) if place in chosen else 0)
            if needed <= room:
                chosen[place] = each
                room -= needed
    return [chosen[place] for place in sorted(chosen)]


def _width(key: FooterKey) -> int:
    """Return the cells of a key, its label and what is before the next one."""
    return sum(cell_len(part) + 1 for part in (key.key, key.label) if part)
