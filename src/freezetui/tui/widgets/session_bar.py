"""A widget of one line that draws the session."""

from __future__ import annotations

from textual.widget import Widget

from freezetui.session.session import Session


class SessionBar(Widget):
    """A widget of one line that draws the session."""

    def __init__(self, id: str | None = None) -> None:
        super().__init__(id=id)
        self.session: Session | None = None

    def show(self, session: Session) -> None:
        """Draw this session."""
        self.session = session
        self.refresh()
