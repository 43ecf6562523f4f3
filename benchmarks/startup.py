"""Measures time to the first painted tree and peak memory: whole processes in a pseudo-terminal."""

from __future__ import annotations

import sys
from pathlib import Path
from shutil import which
from statistics import median
from typing import NamedTuple

from harness import Row, Terminal, take_turns
from make_inputs import MANY_PTH, MANY_SAFETENSORS, VGG_PTH, VGG_SAFETENSORS

HERE = Path(__file__).resolve().parent
FREEZETUI = (sys.executable, "-m", "freezetui")


class Start(NamedTuple):
    """Seconds from exec to the first screen, and the peak memory in bytes."""

    seconds: float
    peak: float


class Case(NamedTuple):
    """A program to start.

    Attributes:
        text: what the first screen shows.
        budget: the largest allowed ratio to an empty Textual app; 0 for none.
    """

    what: str
    command: tuple[str, ...]
    text: str
    budget: float = 0

    def run(self) -> Start:
        """Start it, wait until its first screen no longer changes, kill it."""
        terminal = Terminal(self.command)
        try:
            seconds = terminal.wait_for(self.text)
            terminal.settle()
        finally:
            peak = terminal.end()
        return Start(seconds, peak)


EMPTY = Case("an empty Textual app", (sys.executable, str(HERE / "empty_app.py")), "ready")
OURS = (
    Case("`freezetui`, VGG16 `.pth` (528 MB)", (*FREEZETUI, str(VGG_PTH)), "features", 1.4),
    Case("`freezetui`, 100,000 tensors, safetensors", (*FREEZETUI, str(MANY_SAFETENSORS)), "layers", 2.7),
    Case("`freezetui`, 100,000 tensors, zip `.pth`", (*FREEZETUI, str(MANY_PTH)), "layers", 3.5),
)


def peers(path: str | None) -> list[Case]:
    """Return the other programs that show a checkpoint and are installed; `path` replaces PATH."""
    loop = (sys.executable, str(HERE / "torch_loop.py"))
    cases = [
        Case("`torch.load` and a loop, VGG16 `.pth`", (*loop, str(VGG_PTH)), "done"),
        Case("`torch.load` and a loop, 100,000 tensors, zip `.pth`", (*loop, str(MANY_PTH)), "done"),
    ]
    for name, arguments in (("sft", ("browse",)), ("safe-view", ())):
        program = which(name, path=path)
        if program is None:
            print(f"{name} is not installed: left out", file=sys.stderr)
            continue
        command = (program, *arguments)
        cases += [
            Case(f"`{name}`, VGG16 safetensors", (*command, str(VGG_SAFETENSORS)), "classifier"),
            Case(f"`{name}`, 100,000 tensors, safetensors", (*command, str(MANY_SAFETENSORS)), "layers"),
        ]
    return cases


def measure(runs: int, path: str | None) -> list[Row]:
    """Return ratios of time, and differences of memory, to an empty Textual app."""
    ours, others = [EMPTY, *OURS], peers(path)
    cases = [*ours, *others]
    # The others read whole files, and would evict the page cache for whatever comes after them.
    starts = take_turns({case.what: case.run for case in ours}, 2 * runs)
    starts |= take_turns({case.what: case.run for case in others}, runs)
    seconds = {what: median(start.seconds for start in taken) for what, taken in starts.items()}
    peaks = {what: median(start.peak for start in taken) for what, taken in starts.items()}
    times = [
        Row(
            f"first screen: {case.what}",
            f"{seconds[case.what] / seconds[EMPTY.what]:.2f} ×",
            f"{case.budget:g} ×" if case.budget else "",
        )
        for case in cases
    ]
    memory = [
        Row(
            f"peak memory over an empty Textual app: {case.what}",
            f"{(peaks[case.what] - peaks[EMPTY.what]) / 1e6:.0f} MB",
            "80 MB" if case in OURS else "",
        )
        for case in cases[1:]
    ]
    return times + memory
