"""The modal screens: a question, a line to fill in, a text to read."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from rich.console import RenderableType
from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Vertical, VerticalScroll
from textual.screen import ModalScreen
from textual.widgets import Input, OptionList, Static
from textual.widgets.option_list import Option

from freezetui.checkpoint.text import printable, printable_lines

_SHOWN = {"escape": "esc"}


class Question(ModalScreen[str]):
    """Asks; the answer is the key of the option chosen, "" for none.

    Args:
        options: (key, what it does) pairs; the key also works pressed directly.
    """

    BINDINGS = [
        Binding("escape", "answer('')", "Back"),
        Binding("j", "cursor(1)", show=False),
        Binding("k", "cursor(-1)", show=False),
    ]

    def __init__(self, title: str, body: str, options: Sequence[tuple[str, str]]) -> None:
        super().__init__()
        self._title, self._body, self._options = printable_lines(title), printable_lines(body), options

    def compose(self) -> ComposeResult:
        """Title, body and the options as a list."""
        with Vertical(classes="dialog"):
            yield Static(self._title, classes="dialog-title", markup=False)
            yield Static(self._body, markup=False)
            yield OptionList(
                *(
                    Option(Text.assemble((_SHOWN.get(key, key), "bold"), f"  {what}"), id=key)
                    for key, what in self._options
                )
            )

    def on_mount(self) -> None:
        """Let the options' keys answer directly."""
        for key, what in self._options:
            self._bindings.bind(key, f"answer('{key}')", what)

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        """Enter or a click on an option."""
        self.dismiss(event.option_id or "")

    def action_cursor(self, by: int) -> None:
        """Move as in the tree."""
        options = self.query_one(OptionList)
        options.action_cursor_down() if by > 0 else options.action_cursor_up()

    def action_answer(self, answer: str) -> None:
        """Close with this answer."""
        self.dismiss(answer)


class Prompt(ModalScreen[str | None]):
    """Asks for one line of text; None when the person goes back.

    Args:
        refuse: what is wrong with a line, which is then told and asked for again; "" where nothing is.
    """

    BINDINGS = [Binding("escape", "leave", "Back")]

    def __init__(
        self, title: str, body: str, value: str = "", refuse: Callable[[str], str] = lambda line: ""
    ) -> None:
        super().__init__()
        self._title, self._body = printable_lines(title), printable_lines(body)
        self._value, self._refuse = value, refuse

    def compose(self) -> ComposeResult:
        """Title, body and the input."""
        with Vertical(classes="dialog") as dialog:
            dialog.border_subtitle = "enter accepts, esc goes back"
            yield Static(self._title, classes="dialog-title", markup=False)
            yield Static(self._body, id="prompt-body", markup=False)
            yield Input(printable(self._value))

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Enter."""
        unchanged = event.value == printable(self._value)  # what cannot be shown is kept all the same
        line = self._value if unchanged else event.value.strip()
        if wrong := self._refuse(line):
            self.query_one("#prompt-body", Static).update(Text(printable(wrong), "bold red"))
        else:
            self.dismiss(line)

    def action_leave(self) -> None:
        """Escape."""
        self.dismiss(None)


class Reader(ModalScreen[None]):
    """Shows a text that may be longer than the screen."""

    BINDINGS = [
        Binding("escape,q,enter,d,question_mark", "leave", "Close"),
        Binding("j", "scroll(1)", show=False),
        Binding("k", "scroll(-1)", show=False),
        Binding("g", "edge(-1)", show=False),
        Binding("G", "edge(1)", show=False),
    ]

    def __init__(self, title: str, body: RenderableType) -> None:
        super().__init__()
        self._title, self._body = title, body

    def compose(self) -> ComposeResult:
        """Title and the text in a scrolling box."""
        with VerticalScroll(classes="dialog wide") as dialog:
            dialog.border_title = self._title
            dialog.border_subtitle = "↑ ↓ scroll, esc closes"
            yield Static(self._body)

    def on_mount(self) -> None:
        """Keys scroll at once."""
        self.query_one(VerticalScroll).focus()

    def action_scroll(self, by: int) -> None:
        """Move as in the tree."""
        self.query_one(VerticalScroll).scroll_relative(y=by, animate=False)

    def action_edge(self, direction: int) -> None:
        """Go to the start or to the end."""
        box = self.query_one(VerticalScroll)
        box.scroll_home(animate=False) if direction < 0 else box.scroll_end(animate=False)

    def action_leave(self) -> None:
        """Close."""
        self.dismiss()
