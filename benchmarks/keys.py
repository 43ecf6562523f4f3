"""Measures the time from a key to the frame that shows its effect, with 100,000 tensors all expanded."""

from __future__ import annotations

from collections.abc import Iterator
from statistics import median

from harness import Paint, Row, Terminal
from make_inputs import MANY_SAFETENSORS
from startup import FREEZETUI

PAGE_DOWN = "\x1b[6~"
EXPAND_ALL, SPACE = "E", " "
#: Where the tree has the screen almost alone, and where it has the details, the map and the costs beside it.
SIZES = {(80, 24): "16 ms", (120, 40): "33 ms"}


def measure(runs: int) -> list[Row]:
    """Return milliseconds as seen from outside, including reading and writing of the terminal.

    They are those of the last frame that a key paints; there should be one.
    """
    rows = []
    for size, budget in SIZES.items():
        for what, paints in _paints(runs, size):
            took = median(paint.last for paint in paints) * 1000
            where = f"{size[0]} x {size[1]}, 100,000 tensors all expanded: {what}, key to paint"
            rows.append(Row(where, f"{took:.0f} ms", budget))
    return rows


def _paints(runs: int, size: tuple[int, int]) -> Iterator[tuple[str, list[Paint]]]:
    terminal = Terminal((*FREEZETUI, str(MANY_SAFETENSORS)), size)
    try:
        terminal.wait_for("layers")
        terminal.press(EXPAND_ALL)
        for what, key in (("space on the root", SPACE), ("one page down", PAGE_DOWN)):
            yield what, [terminal.press(key) for _ in range(runs)]
    finally:
        terminal.end()
