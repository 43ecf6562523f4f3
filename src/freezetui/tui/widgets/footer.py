"""KeyFooter: the keys at the bottom, as many as fit."""

from __future__ import annotations

from textual.app import ComposeResult
from textual.widgets import Footer

from freezetui.tui.guarded import Guarded

#: Keys to hide on a narrow screen: the last group first.
_SECOND, _THIRD, _FOURTH = {"freeze", "train", "presets"}, {"undo"}, {"code"}


class KeyFooter(Guarded, Footer):
    """Textual's footer; styles hide the keys that do not fit on a narrow screen."""

    def compose(self) -> ComposeResult:
        """Compose the keys, with a class on those that can be hidden."""
        for key in super().compose():
            what = getattr(key, "description", "")
            key.set_class(what in _FOURTH, "-fourth")
            yield key.set_class(what in _SECOND, "-second").set_class(what in _THIRD, "-third")
