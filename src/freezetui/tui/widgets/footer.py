"""KeyFooter: the keys at the bottom, as many as there is room for."""

from __future__ import annotations

from textual.app import ComposeResult
from textual.widgets import Footer

from freezetui.tui.guarded import Guarded

#: What goes where the screen is narrow, the last ones first.
_SECOND, _THIRD = {"freeze", "train", "presets"}, {"undo"}


class KeyFooter(Guarded, Footer):
    """Textual's footer, from which the styles leave out what a narrow screen has no room for."""

    def compose(self) -> ComposeResult:
        """Compose the keys, those that can be left out marked."""
        for key in super().compose():
            what = getattr(key, "description", "")
            yield key.set_class(what in _SECOND, "-second").set_class(what in _THIRD, "-third")
