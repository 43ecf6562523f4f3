"""Measures the time from a key to the frame that shows its effect, with 100,000 tensors all expanded."""

from __future__ import annotations

from statistics import median

from harness import Row, Terminal
from make_inputs import MANY_SAFETENSORS
from startup import FREEZETUI

PAGE_DOWN = "\x1b[6~"
EXPAND_ALL, SPACE = "E", " "
BUDGET = "16 ms, with the details 33 ms"


def measure(runs: int) -> list[Row]:
    """Return milliseconds as seen from outside, including reading and writing of the terminal.

    The first figure is the first frame, the second is the last that follows; one frame should show all.
    """
    terminal = Terminal((*FREEZETUI, str(MANY_SAFETENSORS)))
    try:
        terminal.wait_for("layers")
        terminal.press(EXPAND_ALL)
        toggles = [terminal.press(SPACE) for _ in range(runs)]
        pages = [terminal.press(PAGE_DOWN) for _ in range(runs)]
    finally:
        terminal.end()
    rows = []
    for what, paints in (("space on the root", toggles), ("one page down", pages)):
        first = median(paint.first for paint in paints) * 1000
        last = median(paint.last for paint in paints) * 1000
        measured = f"{first:.1f} ms, with the details {last:.0f} ms"
        rows.append(Row(f"key to paint, 100,000 tensors all expanded: {what}", measured, BUDGET))
    return rows
