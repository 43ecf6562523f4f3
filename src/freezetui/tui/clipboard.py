"""Sends text to the terminal's clipboard, and says no more of it than is known."""

from __future__ import annotations

import os
from typing import Any

from textual.app import App

#: Whether it arrives cannot be known: a terminal does not answer OSC 52.
SENT = "sent to the terminal's clipboard"
_TMUX = "tmux passes it on after: set -g set-clipboard on"


def send(app: App[Any], text: str, by_hand: str = "") -> None:
    """Send a text, and say so.

    Args:
        by_hand: how to see it to select it by hand, in words.
    """
    app.copy_to_clipboard(text)
    notes = [note for note in (by_hand, in_the_way()) if note]
    app.notify("\n".join([f"{SENT}: {text}", *notes]), timeout=6 if notes else 3)


def in_the_way() -> str:
    """Return what must be set so that it arrives, where the program runs in tmux; "" elsewhere."""
    return _TMUX if os.environ.get("TMUX") else ""
