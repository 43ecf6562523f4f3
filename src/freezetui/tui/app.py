"""FreezeTuiApp: everything around the screens: loading, the palette, toasts, help, quitting."""

from __future__ import annotations

import errno
import gc
import os
from collections import deque
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
from textual import events, work
from textual.app import App, SystemCommand
from textual.binding import Binding
from textual.filter import LineFilter
from textual.screen import ModalScreen, Screen
from textual.widgets import Input

from freezetui.errors import FreezeTuiError, from_os_error
from freezetui.session.loading import Opening, open_in_thread
from freezetui.session.options import Options
from freezetui.state import log_error, remember_theme, remembered_theme
from freezetui.text import printable_lines, shortened
from freezetui.tui.bindings import bind
from freezetui.tui.guarded import Guarded
from freezetui.tui.main_screen import MainScreen
from freezetui.tui.printable_filter import PrintableFilter
from freezetui.tui.readable_filter import ReadableFilter
from freezetui.tui.typing_ahead import workers_started
from freezetui.tui.widgets.drawing import whole_words
from freezetui.tui.widgets.parameter_tree import ParameterTree

if TYPE_CHECKING:
    from freezetui.tui.screens.picker import PickerScreen

_READABLE, _PRINTABLE = ReadableFilter(), PrintableFilter()
#: The exit code after an unexpected error: EX_SOFTWARE of sysexits.h.
EXIT_CRASHED = 70
#: With more errors than this before the dialog is answered, the screen cannot be drawn at all.
_MAX_ERRORS_AT_ONCE = 3
#: Messages that are kept, to be read in full.
_MAX_SAID = 5


class FreezeTuiApp(Guarded, App[int]):
    """Opens a checkpoint in the terminal.

    Args:
        options: from the command line.
        opening: the session, if it is already being opened.
        choose: whether to ask first which checkpoint to open, in place of that of the options.

    Attributes:
        main_screen: None until the session is open.
        failure: why the checkpoint could not be opened; the app then ends with 2.
        errors: the unexpected errors so far, the newest last.
        crash: the error that ended the app; None if it ended otherwise.
        log_path: where the details of the last error were written; None if they could not be.
        said: the last messages, each in one line.
    """

    CSS_PATH = "app.tcss"
    TITLE = "freezetui"
    _found_theme: Any = None
    BINDINGS = [
        bind("app.help", "question_mark", "help", "help", "This help", True, "?"),
        bind("app.quit", "q,ctrl+c", "quit", "quit", "Quit (prompts to save)", True),
    ]

    def __init__(self, options: Options, opening: Opening | None = None, choose: bool = False) -> None:
        super().__init__()
        self._options = options
        self._opening = None if choose else opening or open_in_thread(options)
        self._picker: PickerScreen | None = None
        self.main_screen: MainScreen | None = None
        self.failure: FreezeTuiError | None = None
        self.errors: list[BaseException] = []
        self.crash: BaseException | None = None
        self.log_path: Path | None = None
        self.said: deque[str] = deque(maxlen=_MAX_SAID)
        self._telling, self._errors_seen = False, 0
        theme = "" if "TEXTUAL_THEME" in os.environ else remembered_theme()
        if theme in self.available_themes:
            self.theme = theme
        self._remembered_theme = self.theme

    @property
    def current_theme(self) -> Any:
        """The theme: found once, since Textual asks for it with every line that it draws."""
        if self._found_theme is None or self._found_theme.name != self.theme:
            self._found_theme = super().current_theme
        return self._found_theme

    def watch_theme(self, theme: str) -> None:
        """Remember the theme that the user chose, for the next time."""
        if self.is_running and theme != self._remembered_theme:
            self._remembered_theme = theme
            remember_theme(theme)

    def get_default_screen(self) -> Screen[Any]:
        """Return the main screen if the file has been read, as most have; else the loading screen."""
        if self._opening is None:
            from freezetui.tui.screens.picker import PickerScreen

            self._picker = PickerScreen()
            return self._picker
        if self._opening.done() and self._opening.exception() is None:
            return self._make_main_screen()
        from freezetui.tui.screens.loading import LoadingScreen

        return LoadingScreen(self._opening)

    def on_picker_screen_chosen(self, event: PickerScreen.Chosen) -> None:
        """Open what was chosen, and show the progress."""
        from freezetui.tui.screens.loading import LoadingScreen

        self._opening = open_in_thread(msgspec.structs.replace(self._options, source=event.source))
        self.push_screen(LoadingScreen(self._opening))

    @work
    async def reopen(self, options: Options) -> None:
        """Open something else in place of what is open; ask first if something is unsaved."""
        from freezetui.tui.screens.busy import wait_with_busy_screen

        before = self.main_screen
        if before is None or not await before.leave(f"open {shortened(options.key or 'the top level')}"):
            return
        opening = open_in_thread(options)
        try:
            opened = await wait_with_busy_screen(self, "Opening…", opening)
        except (FreezeTuiError, OSError) as error:
            opened = None
            self.notify(str(error), title="Not opened", severity="error", timeout=10)
        if opened is None:
            before.stay()
            return
        self._opening, self._options = opening, options
        before.end()
        await self.push_screen(self._make_main_screen())

    def _make_main_screen(self) -> MainScreen:
        assert self._opening is not None
        self.main_screen = MainScreen(self._opening.result())
        # All of this lives as long as the program, so the collector never needs to scan it again.
        self.call_after_refresh(gc.freeze)
        self.call_after_refresh(gc.enable)
        return self.main_screen

    async def on_loading_screen_done(self) -> None:
        """Show what was opened, or say why it cannot be."""
        assert self._opening is not None
        error = self._opening.exception()
        error = from_os_error(error) if isinstance(error, OSError) else error
        if isinstance(error, FreezeTuiError):
            if self._picker is None:
                self.failure = error
                self.exit(2)
            else:
                self.pop_screen()  # the list is below it
                self._picker.tell(str(error))
            return
        # Over the loading screen: for a mode of its own, Textual would parse all styles again.
        await self.push_screen(self._make_main_screen())

    async def on_event(self, event: events.Event) -> None:
        """Drop a key that was typed before the dialog was there that it would reach."""
        before = getattr(self.screen, "came_before", None) if self._screen_stack else None
        if before is None or not isinstance(event, events.Key) or not before(event):
            await super().on_event(event)

    async def on_key(self, event: events.Key) -> None:
        """Forward a letter typed right after the key that moved the focus to an input."""
        if self._screen_stack and isinstance(self.focused, Input) and event.is_printable and event.character:
            self.focused.insert_text_at_cursor(event.character)
            event.prevent_default().stop()

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Forbid the palette over a dialog: it acts on the tree, which the dialog hides."""
        return not (action == "command_palette" and isinstance(self.screen, ModalScreen))

    def notify(self, message: str, *, title: str = "", **options: Any) -> None:
        """Show a message in one line, in place of the one before; it is kept in full for the state (!).

        Control characters and markup in names of files and tensors are escaped.
        """
        line = "; ".join((f"{title}: {message}" if title else message).splitlines())
        self.said.append(printable_lines(line))
        super().notify(whole_words(self.said[-1], self.size.width - 2), **{**options, "markup": False})

    def on_notify(self) -> None:
        """Let a message take the place of the one before."""
        self.clear_notifications()
        for rack in self.screen.query("ToastRack") if self._screen_stack else ():
            rack.remove_children()  # Textual would keep the empty place of the one before

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

    def get_line_filters(self) -> Sequence[LineFilter]:
        """Return what each drawn line goes through: its contrast first, unprintable characters last."""
        return [_READABLE, *super().get_line_filters(), _PRINTABLE]

    # Unexpected errors

    async def run_action(self, action: Any, *arguments: Any, **options: Any) -> bool:
        """Run an action; an error in it is reported under the action's name."""
        try:
            done = await super().run_action(action, *arguments, **options)
            await workers_started()
            return done
        except Exception as error:
            self.tell_failure(error, action if isinstance(action, str) else str(action[1]))
            return True

    def tell_failure(self, error: BaseException, what: str) -> None:
        """Log an unexpected error and show a dialog; end the app where it cannot go on.

        Args:
            what: was being done: the name of an action or of its worker, or a few words.
        """
        from freezetui.tui.failures import described, reason

        doing = described(what, all_bindings())
        self.errors.append(error)
        self.log_path = log_error(error, doing)
        if self.main_screen is None or len(self.errors) - self._errors_seen > _MAX_ERRORS_AT_ONCE:
            self._crash(error)
        elif not self._telling:
            self._telling = True
            self.call_later(self._show_failure, f"Could not complete: {doing}. {reason(error)}")

    async def _show_failure(self, problem: str) -> None:
        from freezetui.tui.screens.failure import FailureScreen

        self.push_screen(FailureScreen(problem, self.log_path), self._failure_told)

    def _failure_told(self, answer: str | None) -> None:
        self._telling, self._errors_seen = False, len(self.errors)
        if answer == "q":
            self.exit(0)
        elif answer in ("s", "S") and (main := self.main_screen) is not None:
            main.action_save() if answer == "s" else main.action_save_as()

    def _handle_exception(self, error: Exception) -> None:
        """Tell what Textual would end the app with: an error in a worker, a timer or while drawing."""
        from freezetui.tui.failures import current_work, original

        self.tell_failure(original(error), current_work("updating the screen"))

    def panic(self, *renderables: Any) -> None:
        """End the app: its terminal can no longer be read."""
        self._crash(OSError(errno.EIO, "the terminal cannot be read"))

    def _crash(self, error: BaseException) -> None:
        """End the app with an exit code that is not 0, and without a traceback on the terminal."""
        if self.crash is None:
            self.crash = error
            super()._handle_exception(error if isinstance(error, Exception) else RuntimeError(repr(error)))
        self._return_code = EXIT_CRASHED

    def _fatal_error(self) -> None:
        """End the app, without the traceback that Textual would print: it is in the log."""
        self._close_messages_no_wait()

    def offers(self, action: str) -> bool:
        """Whether an action has an effect now; help and quitting always do."""
        return True

    def get_system_commands(self, screen: Screen[Any]) -> Iterable[SystemCommand]:
        """Return the palette's commands: every action that has an effect now, and Textual's own."""
        from freezetui.tui.palette import commands  # the first screen needs none

        owners = (screen.tree_view, screen, self) if isinstance(screen, MainScreen) else (self,)
        yield from commands(self, [(owner, owner.offers) for owner in owners])
        for command in super().get_system_commands(screen):
            if command.title not in ("Keys", "Quit"):  # ours are more specific
                yield command


def all_bindings() -> list[Binding]:
    """Return the keys of the app, of the main screen and of its tree."""
    owners = (ParameterTree, MainScreen, FreezeTuiApp)
    return [key for owner in owners for key in owner.BINDINGS if isinstance(key, Binding)]
