"""The least that a Textual app can be."""

from textual.app import App, ComposeResult
from textual.widgets import Static


class EmptyApp(App[None]):
    """One line of text."""

    def compose(self) -> ComposeResult:
        """Show the line."""
        yield Static("ready")


if __name__ == "__main__":
    EmptyApp().run()
