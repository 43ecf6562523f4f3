"""The app: what stands where, opening, checking, saving, leaving."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Iterable
from functools import partial
from pathlib import Path

from textual import on, work
from textual.app import ComposeResult, SystemCommand
from textual.containers import Horizontal, Vertical
from textual.screen import Screen

from freezetui import numbers
from freezetui.config.paths import why_no_config
from freezetui.errors import FreezeTuiError, from_os_error
from freezetui.model_spec import ModelSpec
from freezetui.recognition.model_line import read_model_line, write_model_line
from freezetui.session.loading import Opening, open_in_thread
from freezetui.session.session import Options, Session
from freezetui.text import printable
from freezetui.tui.bindings import SECTIONS
from freezetui.tui.finding import Finding
from freezetui.tui.screens.changes import changes_text
from freezetui.tui.screens.confirm import ConfirmScreen
from freezetui.tui.screens.help import help_text
from freezetui.tui.screens.prompt import PromptScreen
from freezetui.tui.screens.text_viewer import TextViewer
from freezetui.tui.widgets.check_panel import CheckPanel
from freezetui.tui.widgets.column_header import ColumnHeader
from freezetui.tui.widgets.detail_line import DetailLine
from freezetui.tui.widgets.details import DetailsPane
from freezetui.tui.widgets.filter_bar import FilterBar
from freezetui.tui.widgets.footer import KeyFooter
from freezetui.tui.widgets.header import Header
from freezetui.tui.widgets.parameter_tree import ParameterTree
from freezetui.tui.widgets.totals_bar import TotalsBar
from freezetui.tui.widgets.visible_rows import VisibleRows

_NAME_IT = """\
What builds the model? For example
  torchvision:resnet18
  my_package.models:build --arg num_classes=10
  my/model.py:build --input 3,224,224
It is run in a process of its own. Empty: the optimizer step alone, on bare tensors."""

_FINDING_RULES = "finding the fewest rules that say this …"


class FreezeTuiApp(Finding):
    """Choose what trains, prove it, save it.

    Args:
        options: what the command line said.
        opening: the session where somebody is reading it already.

    Attributes:
        failure: why the checkpoint could not be opened; the app has ended with 2 then.
    """

    CSS_PATH = "app.tcss"
    TITLE = "freezetui"
    BINDINGS = [binding for section in SECTIONS.values() for binding in section]
    HORIZONTAL_BREAKPOINTS = [(0, "-tiny"), (78, "-slim"), (86, "-narrow"), (110, "-wide"), (180, "-huge")]
    VERTICAL_BREAKPOINTS = [(0, "-low"), (20, "-high")]

    def __init__(self, options: Options, opening: Opening | None = None) -> None:
        super().__init__(options)
        self._opening = opening or open_in_thread(options)
        self.failure: FreezeTuiError | None = None
        self._save_as = ""

    def compose(self) -> ComposeResult:
        """Header, tree and details, check, filter, totals, keys."""
        yield Header(id="header")
        with Horizontal(id="body"):
            with Vertical(id="main"):
                yield ColumnHeader(id="heads")
                yield ParameterTree(id="tree")
            yield DetailsPane(id="details")
        yield DetailLine(id="detail-line")
        yield CheckPanel(id="check")
        yield FilterBar(id="filter")
        yield TotalsBar(id="totals")
        yield KeyFooter(compact=True, show_command_palette=False)

    def on_mount(self) -> None:
        """Show what is open; most files are by now, and stand in the first frame."""
        self.tree_view.focus()
        if self._opening.done():
            self._opened()
        else:
            self._await_opening()

    @work
    async def _await_opening(self) -> None:
        reading = asyncio.wrap_future(self._opening)
        while not (await asyncio.wait([reading], timeout=0.1))[0]:
            self.query_one(Header).progress = self._opening.progress
        self._opened()

    def _opened(self) -> None:
        error = self._opening.exception()
        if isinstance(error, OSError):
            error = from_os_error(error)
        if isinstance(error, FreezeTuiError):
            self.failure = error
            self.exit(2)
            return
        session = self._opening.result()
        rows = VisibleRows(session.tree)
        # All this lives as long as the program: the collector need not look through it ever again.
        gc.freeze()
        gc.enable()
        self.session, self.rows = session, rows
        for bar in (self.query_one(Header), self.query_one(ColumnHeader), self.query_one(TotalsBar)):
            bar.show(session)
        self.tree_view.show(rows, session.plan)
        if session.saved.problem is not None:
            self.notify(
                str(session.saved.problem),
                title="Config not read",
                severity="error",
                timeout=15,
                markup=False,
            )
        if session.differences:
            text = "\n".join(session.differences[:6])
            name = session.config_path.name
            self.notify(text, title=f"{name} does not fit", severity="warning", timeout=20, markup=False)
        for warning in session.checkpoint.warnings[:3]:
            self.notify(printable(warning), severity="warning", markup=False)

    @on(ParameterTree.Moved)
    def _moved(self) -> None:
        self.redraw_status()

    @work
    async def action_check(self) -> None:
        """Run the sanity step, asking first for what is missing or would run foreign code."""
        session, panel = self.session, self.query_one(CheckPanel)
        if session is None or self._is_checking():
            return
        architecture = session.architecture
        if not architecture.spec and not architecture.bare:
            if not await self._name_architecture(session, "No architecture recognised"):
                return
        elif not architecture.asked and not await self._may_import(session):
            return
        mask = session.plan.mask()
        config = await self.run_with_busy_screen(_FINDING_RULES, session.written)
        if config is not None:
            await panel.start(session.request(config), mask, self.options.timeout)

    def _is_checking(self) -> bool:
        running = self.query_one(CheckPanel).running
        if running:
            self.notify("a check is running: esc cancels it", timeout=3)
        return running

    async def _may_import(self, session: Session) -> bool:
        body = f"{session.config_path.name} asks to import and run {session.architecture.spec}."
        options = [("y", "import and run it"), ("n", "do not check")]
        if await self.push_screen_wait(ConfirmScreen("Run code named by the config?", body, options)) != "y":
            return False
        session.trust_architecture()
        return True

    @on(CheckPanel.Ended)
    def _checked(self, event: CheckPanel.Ended) -> None:
        if self.session:
            self.session.checked(event.report, event.mask)
            self.edited()

    @on(CheckPanel.JumpTo)
    def _jump(self, event: CheckPanel.JumpTo) -> None:
        node = self.session.tree.find(event.name) if self.session else -1
        if node >= 0:
            self.tree_view.go_to(node)
            self.tree_view.focus()

    @work
    async def action_architecture(self) -> None:
        """Name what builds the model."""
        if self.session is not None and not self._is_checking():
            await self._name_architecture(self.session, "Architecture for the sanity step")

    async def _name_architecture(self, session: Session, title: str) -> bool:
        now = session.architecture
        line = write_model_line(ModelSpec(now.spec, now.arguments, now.input))
        answer = await self.push_screen_wait(PromptScreen(title, _NAME_IT, line, refuse=_why_not_read))
        if answer is None:
            return False
        model = read_model_line(answer)
        session.name_architecture(model.architecture, model.arguments, model.input)
        if session.report is None:
            self.query_one(CheckPanel).cancel()
        self.edited()
        return True

    # Saving and leaving

    @work
    async def action_save(self) -> None:
        """Save where the config was, or beside the checkpoint."""
        await self._save(None)

    @work
    async def action_save_as(self) -> None:
        """Save under another name."""
        if self.session is None:
            return
        last = self._save_as or str(self.session.config_path)
        title = "Save the freeze config as"
        answer = await self.push_screen_wait(
            PromptScreen(title, ".yaml or .json", last, refuse=why_no_config)
        )
        if answer is not None:
            self._save_as = answer
            await self._save(Path(answer).expanduser())

    async def _save(self, path: Path | None) -> bool:
        session = self.session
        if session is None:
            return False
        target = path or session.config_path
        why = session.saved.why_not_write(target)
        if why:
            broken = session.saved.unreadable(target)
            title = f"{target.name} could not be read" if broken else f"Write over {target.name}?"
            options = [("y", "write a new one" if broken else "write over it"), ("n", "go back")]
            if await self.push_screen_wait(ConfirmScreen(title, why, options)) != "y":
                return False
        config = await self.run_with_busy_screen(_FINDING_RULES, lambda: session.written(target))
        if config is None:
            return False
        try:
            session.save(target, config)
        except FreezeTuiError as error:
            self.notify(str(error), title="Not saved", severity="error", timeout=10, markup=False)
            return False
        totals = session.totals
        frozen = f"{numbers.plural(totals.frozen.tensors, 'tensor')} frozen, "
        frozen += f"{totals.trainable.tensors:,} to train"
        self.notify(f"{target}\n{frozen}", title="Saved", timeout=4, markup=False)
        self.redraw_status()
        return True

    @work
    async def action_changes(self) -> None:
        """What changed since the file on disk."""
        session = self.session
        if session is not None:
            text = await self.run_with_busy_screen(
                "comparing with the file on disk …", lambda: changes_text(session)
            )
            if text is not None:
                self.push_screen(TextViewer("Changes", text))

    @work
    async def action_quit(self) -> None:  # type: ignore[override]
        """Leave; ask first when something is unsaved."""
        session = self.session
        if session is not None and session.unsaved:
            options = [("s", "save and quit"), ("q", "quit without saving"), ("escape", "go back")]
            body = f"The choice is not in {session.config_path.name} yet."
            answer = await self.push_screen_wait(ConfirmScreen("Unsaved changes", body, options))
            if answer not in ("s", "q") or (answer == "s" and not await self._save(None)):
                return
        self.query_one(CheckPanel).cancel()
        self.exit(0)

    # Help

    def action_help(self) -> None:
        """Every key."""
        self.push_screen(TextViewer("Keys", help_text()))

    def get_system_commands(self, screen: Screen[object]) -> Iterable[SystemCommand]:
        """The palette: every key's action, and what Textual itself offers."""
        if self.session is not None:
            for section in SECTIONS.values():
                for binding in section:
                    run = partial(self.run_action, binding.action)
                    yield SystemCommand(binding.tooltip, f"key {self.get_key_display(binding)}", run)
        for command in super().get_system_commands(screen):
            if command.title not in ("Keys", "Quit"):  # our own say more
                yield command


def _why_not_read(line: str) -> str:
    """What is wrong with the line that names an architecture; "" where nothing is."""
    try:
        read_model_line(line)
    except FreezeTuiError as error:
        return str(error)
    return ""
