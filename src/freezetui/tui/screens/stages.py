"""StagesScreen: the stages of the config, with the keys that change them."""

from __future__ import annotations

from collections.abc import Iterator

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Vertical
from textual.widgets import OptionList, Static
from textual.widgets.option_list import Option

from freezetui import numbers
from freezetui.session.session import Session
from freezetui.text import printable
from freezetui.tui.screens.dialog import Dialog
from freezetui.tui.widgets.readable_list import ReadableList

_KEYS = "n new  r rename  d delete  K J move\ne epochs  l lr_scale"
_NOT_COMMON = "These rules are below those of every stage: Enter shows them, n adds a stage."
_EMPTY = "No stages yet: n makes what is chosen now the first one."
_COMMON = "common to all"
_MAX_NAME = 16


class StagesScreen(Dialog[tuple[str, str] | None]):
    """Lists the common rules and the stages; answers with what to do and the stage, or None when closed.

    The stage is "" for the common rules, which can be shown only.

    Args:
        place: the stage to highlight; None for the common rules.
    """

    BINDINGS = [
        Binding("escape,q,equals_sign", "dismiss", "Close", id="stages.close"),
        Binding("n,plus", "answer('new')", "New", id="stages.new"),
        Binding("r", "answer('rename')", "Rename", id="stages.rename"),
        Binding("e", "answer('epochs')", "Epochs", id="stages.epochs"),
        Binding("l", "answer('lr')", "Learning rate", id="stages.lr"),
        Binding("K,shift+up", "move(-1)", "Move up", id="stages.up"),
        Binding("J,shift+down", "move(1)", "Move down", id="stages.move-down"),
        Binding("d,delete", "answer('delete')", "Delete", id="stages.delete"),
    ]

    def __init__(self, session: Session, place: str | None) -> None:
        super().__init__()
        self._session, self._place = session, place

    def compose(self) -> ComposeResult:
        """Compose the list and the keys."""
        names = self._session.stages.names
        with Vertical(classes="dialog -wide") as dialog:
            dialog.border_title = "Stages, in the order in which they train"
            dialog.border_subtitle = "Enter: show it, Esc: close"
            if names:
                yield ReadableList(*self._options())
            yield Static(_KEYS if names else _EMPTY, id="stages-keys", markup=False)

    def on_mount(self) -> None:
        """Highlight the stage that was changed last."""
        names = self._session.stages.names
        if names:
            shown = names.index(self._place) + 1 if self._place in names else 0
            self.query_one(OptionList).highlighted = shown

    def _options(self) -> Iterator[Option]:
        """Yield the common rules and the stages, in their order."""
        for number, name in enumerate((None, *self._session.stages.names)):
            yield Option(self._label(number, name))

    def _label(self, number: int, name: str | None) -> Text:
        stages = self._session.stages
        section, totals = stages.sections.get(name or ""), stages.plan_of(name).totals()
        shown = Text(_COMMON if name is None else printable(name))
        shown.truncate(_MAX_NAME, overflow="ellipsis", pad=True)
        epochs = "" if not section or section.epochs is None else numbers.plural(section.epochs, "epoch")
        scale = "" if not section or section.lr_scale == 1 else f"lr × {section.lr_scale:g}"
        trains = f"trains {numbers.percent(totals.share)}"
        return Text.assemble(
            f"{number or ' '} ",
            (shown.plain, "bold"),
            f" {epochs:<9} {scale:<8} ",
            (trains, "dim"),
            no_wrap=True,
        )

    def on_option_list_option_highlighted(self) -> None:
        """Name the keys again, after what was said of the common rules."""
        self.query_one("#stages-keys", Static).update(_KEYS)

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        """Show the stage chosen by Enter or a click."""
        event.stop()
        self.action_answer("show")

    def action_move(self, by: int) -> None:
        """Move the highlighted stage up or down; the dialog stays, so that the key can be held."""
        stages = self._session.stages
        for options in self.query(OptionList):
            if not options.highlighted:
                self.query_one("#stages-keys", Static).update(_NOT_COMMON)
                return
            name = stages.names[options.highlighted - 1]
            stages.move(name, by)
            options.clear_options()
            options.add_options(list(self._options()))
            options.highlighted = stages.names.index(name) + 1

    def action_answer(self, what: str) -> None:
        """Answer with what to do with the highlighted stage."""
        names = self._session.stages.names
        if names:
            name = ("", *names)[self.query_one(OptionList).highlighted or 0]
            if name or what in ("show", "new"):
                self.dismiss((what, name))
            else:
                self.query_one("#stages-keys", Static).update(_NOT_COMMON)
        elif what == "new":
            self.dismiss((what, ""))
