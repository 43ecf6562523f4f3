"""FailureScreen: what could not be done, and that the plan is still there."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from freezetui.tui.screens.confirm import ConfirmScreen

_OPTIONS = (
    ("escape", "go on"),
    ("s", "save the config now"),
    ("S", "save it under another name"),
    ("q", "quit; what is unsaved is offered at the next start"),
)


class FailureScreen(ConfirmScreen):
    """Tells of an unexpected error; the answer is the key of the option chosen, "" to go on.

    Args:
        problem: what could not be done and why, one line.
        log: where the details are; None if they could not be written.
    """

    is_asked_for = False

    def __init__(self, problem: str, log: Path | None) -> None:
        details = f"Details: {log}" if log else "The details could not be written to the log."
        body = f"{problem}\n\nYour plan is still here and can be saved now.\n{details}"
        options: Sequence[tuple[str, str]] = _OPTIONS
        super().__init__("Something went wrong", body, options)
