"""FreezeTuiApp: everything around the screens: loading, the palette, toasts, help, quitting."""

from __future__ import annotations

import gc
from collections.abc import Iterable
from functools import partial
from itertools import chain
from typing import Any

from textual import events, on, work
from textual.app import App, SystemCommand
from textual.binding import Binding
from textual.screen import ModalScreen, Screen
from textual.widgets import Input

from freezetui.errors import FreezeTuiError, from_os_error
from freezetui.session.loading import Opening, open_in_thread
from freezetui.session.session import Options
from freezetui.text import printable_lines
from freezetui.tui.bindings import SECTIONS, bind
from freezetui.tui.main_screen import MainScreen
from freezetui.tui.screens.loading import LoadingScreen
from freezetui.tui.widgets.parameter_tree import ParameterTree


class FreezeTuiApp(App[int]):
    """Opens a checkpoint in the terminal.

    Args:
        options: from the command line.
        opening: the session, if it is already being opened.

    Attributes:
        main_screen: None until the session is open.
        failure: why the checkpoint could not be opened; the app then ends with 2.
    """

    CSS_PATH = "app.tcss"
    TITLE = "freezetui"
    BINDINGS = [
        bind("app.help", "question_mark", "help", "help", "This help", True, "?"),
        bind("app.quit", "q,ctrl+c", "quit", "quit", "Quit (prompts to save)", True),
    ]

    def __init__(self, options: Options, opening: Opening | None = None) -> None:
        super().__init__()
        self._opening = opening or open_in_thread(options)
        self.main_screen: MainScreen | None = None
        self.failure: FreezeTuiError | None = None

    def get_default_screen(self) -> Screen[Any]:
        """Return the main screen if the file has been read, as most have; else the loading screen."""
        if self._opening.done() and self._opening.exception() is None:
            return self._make_main_screen()
        return LoadingScreen(self._opening)

    def _make_main_screen(self) -> MainScreen:
        self.main_screen = MainScreen(self._opening.result())
        # All of this lives as long as the program, so the collector never needs to scan it again.
        gc.freeze()
        gc.enable()
        return self.main_screen

    @on(LoadingScreen.Done)
    async def _opened(self) -> None:
        error = self._opening.exception()
        if isinstance(error, OSError):
            error = from_os_error(error)
        if isinstance(error, FreezeTuiError):
            self.failure = error
            self.exit(2)
            return
        self.add_mode("main", self._make_main_screen)
        await self.switch_mode("main")

    async def on_key(self, event: events.Key) -> None:
        """Forward a letter typed right after the key that moved the focus to an input."""
        if isinstance(self.focused, Input) and event.is_printable and event.character:
            self.focused.insert_text_at_cursor(event.character)
            event.prevent_default().stop()

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Forbid the palette over a dialog: it acts on the tree, which the dialog hides."""
        return not (action == "command_palette" and isinstance(self.screen, ModalScreen))

    def notify(self, message: str, *, title: str = "", **options: Any) -> None:
        """Show a toast; control characters and markup in names of files and tensors are escaped."""
        options["markup"] = False
        super().notify(printable_lines(message), title=printable_lines(title), **options)

    def push_screen(self, *arguments: Any, **options: Any) -> Any:
        """Show a screen; toasts are cleared first, since they would cover it."""
        self.clear_notifications()
        return super().push_screen(*arguments, **options)

    @work
    async def action_quit(self) -> None:  # type: ignore[override]
        """Quit; ask first if there are unsaved changes."""
        if self.main_screen is None or await self.main_screen.leave():
            self.exit(0)

    def action_help(self) -> None:
        """Show every key."""
        from freezetui.tui.screens.help import help_text  # the first screen needs none
        from freezetui.tui.screens.text_viewer import TextViewer

        self.push_screen(TextViewer("Keys", help_text(all_bindings())))

    def offers(self, action: str) -> bool:
        """Whether an action has an effect now; help and quitting always do."""
        return True

    def get_system_commands(self, screen: Screen[Any]) -> Iterable[SystemCommand]:
        """Return the palette's commands: every action that has an effect now, and Textual's own."""
        main = screen if isinstance(screen, MainScreen) else None
        owners: tuple[ParameterTree | MainScreen | FreezeTuiApp, ...]
        owners = (main.tree_view, main, self) if main else (self,)
        offered = {
            binding.id: (owner, binding)
            for owner in owners
            for binding in owner.BINDINGS
            if isinstance(binding, Binding) and owner.offers(binding.action)
        }
        for id in chain.from_iterable(ids for section, ids in SECTIONS.items() if section != "Move"):
            if id in offered:
                owner, binding = offered[id]
                run = partial(self.run_action, binding.action, owner)
                yield SystemCommand(binding.tooltip, f"key {self.get_key_display(binding)}", run)
        for command in super().get_system_commands(screen):
            if command.title not in ("Keys", "Quit"):  # ours are more specific
                yield command


def all_bindings() -> list[Binding]:
    """Return the keys of the app, of the main screen and of its tree."""
    owners = (ParameterTree, MainScreen, FreezeTuiApp)
    return [key for owner in owners for key in owner.BINDINGS if isinstance(key, Binding)]
