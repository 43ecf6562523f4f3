"""CheckPanel: the check below the tree: its progress while it runs, its findings afterwards."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.text import Text
from textual import on, work
from textual.binding import Binding
from textual.containers import Horizontal, Vertical
from textual.message import Message
from textual.reactive import reactive
from textual.widgets import OptionList, ProgressBar, Static
from textual.widgets.option_list import Option

from freezetui.errors import EngineError, from_os_error
from freezetui.formatting.report import finding_text, headline, summary
from freezetui.sanity.report import SanityReport, Verdict
from freezetui.text import printable
from freezetui.tui.guarded import Guarded

if TYPE_CHECKING:
    from freezetui.sanity.client import Engine
    from freezetui.sanity.protocol import CheckRequest, Progress

_COLORS: dict[Verdict, str] = {"held": "bold green", "moved": "bold red", "inconclusive": "bold yellow"}
#: Lines of the engine's log to show if a check fails.
_LOG_LINES = 12


class CheckPanel(Guarded, Vertical):
    """Runs one check at a time, in a thread that posts its progress, and shows it.

    Attributes:
        running: whether a check is running.
    """

    DEFAULT_CSS = """
    CheckPanel {
        display: none;
        height: auto;
        background: $surface;
        border-top: hkey $panel-lighten-1;
    }
    CheckPanel > #check-line {
        height: auto;
    }
    CheckPanel #check-headline {
        width: 1fr;
    }
    CheckPanel #check-progress {
        width: 24;
        Bar { width: 22; }
    }
    CheckPanel > #check-findings {
        height: auto;
        max-height: 10;
        border: none;
        padding: 0 1;
        background: $surface;
        &:focus { border: none; }
    }
    """

    BINDINGS = [
        Binding("j", "cursor(1)", show=False, id="findings.down"),
        Binding("k", "cursor(-1)", show=False, id="findings.up"),
    ]

    #: Whether the plan has changed since the check that is shown.
    outdated = reactive(False)

    class Progressed(Message):
        """The running check has made progress."""

        def __init__(self, progress: Progress) -> None:
            super().__init__()
            self.progress = progress

    class Ended(Message):
        """The check of `mask` ended with a report."""

        def __init__(self, report: SanityReport, mask: bytes) -> None:
            super().__init__()
            self.report, self.mask = report, mask

    class Cancelled(Message):
        """The check ended because the user cancelled it."""

    class Failed(Message):
        """The check ended without a report; `log` has the engine's last lines."""

        def __init__(self, message: str, hint: str = "", log: list[str] | None = None) -> None:
            super().__init__()
            self.message, self.hint, self.log = message, hint, log or []

    class JumpTo(Message):
        """The user chose a finding: show its tensor."""

        def __init__(self, name: str) -> None:
            super().__init__()
            self.name = name

    def __init__(self, id: str | None = None) -> None:
        super().__init__(id=id)
        self.running = False
        self._engine: Engine | None = None
        self._told: Text | None = None
        self._targets: dict[str, str] = {}

    async def start(self, request: CheckRequest, mask: bytes, timeout: float | None) -> None:
        """Check the plan `mask`; the engine is killed after `timeout` seconds."""
        if not self.children:  # created on first use, so that the tree is painted sooner
            headline = Static(id="check-headline", markup=False)
            progress = ProgressBar(id="check-progress", show_eta=False, show_percentage=False)
            await self.mount(Horizontal(headline, progress, id="check-line"), OptionList(id="check-findings"))
        self.display = self.running = True
        self._told, self.outdated = None, False
        self.query_one(OptionList).display = False
        self._say("starting the engine")
        from freezetui.sanity.client import Engine  # the first screen needs none

        try:
            self._engine = Engine(request, timeout)  # by this thread, with which it ends
        except (EngineError, OSError) as error:
            told = error if isinstance(error, EngineError) else from_os_error(error)
            self.post_message(self.Failed(told.message, told.hint))
        else:
            self._run(self._engine, mask)

    def cancel(self) -> None:
        """End a running check, or else hide the panel."""
        if not self.running:
            self.display = False
            return
        if self._engine is not None:
            self._engine.cancel()

    def on_unmount(self) -> None:
        """End a running check when the app ends, for whatever reason."""
        if self.running:
            self.cancel()

    @work(thread=True, exclusive=True, exit_on_error=False)
    def _run(self, engine: Engine, mask: bytes) -> None:
        log: list[str] = []
        try:
            with engine:
                try:
                    report = self._follow(engine)
                except EngineError:
                    log = engine.log_tail(_LOG_LINES)
                    raise
        except EngineError as error:
            self.post_message(self.Failed(error.message, error.hint, log))
        except Exception as error:  # whatever happened, the panel must not wait forever
            self.post_message(self.Failed(str(error) or type(error).__name__))
        else:
            self.post_message(self.Cancelled() if report is None else self.Ended(report, mask))

    def _follow(self, engine: Engine) -> SanityReport | None:
        """Post progress until the check ends; return its report, None if it was cancelled."""
        from freezetui.sanity.protocol import Finished

        for event in engine.events():
            if isinstance(event, Finished):
                return event.report
            self.post_message(self.Progressed(event))
        return None

    @on(Progressed)
    def _progressed(self, event: Progressed) -> None:
        event.stop()
        if self.running:
            progress = event.progress
            self.query_one(ProgressBar).update(total=progress.total or None, progress=progress.done)
            self._say(progress.text)

    @on(Ended)
    def _ended(self, event: Ended) -> None:
        self._finish()
        report = event.report
        verdict, told = (headline(report), _COLORS[report.verdict]), f"  {summary(report)}"
        keys = "  (Tab: findings, Enter: go to tensor)" if report.findings else ""
        self._told = Text.assemble(verdict, told, (keys, "dim"))
        self._say(self._told)
        options = []
        for number, finding in enumerate(report.findings):
            if finding.tensors:
                self._targets[str(number)] = finding.tensors[0]
            options.append(Option(Text(finding_text(finding)), id=str(number)))
        self._list(options, highlighted=0)

    @on(Cancelled)
    def _was_cancelled(self, event: Cancelled) -> None:
        event.stop()
        self._finish()
        self._say("cancelled")

    @on(Failed)
    def _failed(self, event: Failed) -> None:
        event.stop()
        self._finish()
        self._say(Text.assemble((printable(event.message), "bold red"), f" {printable(event.hint)}"))
        self._list([Option(Text(printable(line))) for line in event.log], highlighted=len(event.log) - 1)

    def _finish(self) -> None:
        self.running, self._engine = False, None
        self._targets = {}

    def _say(self, text: str | Text) -> None:
        message = Text.assemble(" check: ", text, (" (Esc to cancel)", "dim") if self.running else "")
        self.query_one("#check-headline", Static).update(message)
        self.query_one(ProgressBar).display = self.running

    def watch_outdated(self, outdated: bool) -> None:
        """Mark the last result as outdated, or unmark it."""
        if self.children and self._told is not None:
            before = Text("outdated: ", "bold")
            self._say(before.append(self._told.plain, "dim") if outdated else self._told)

    def _list(self, options: list[Option], highlighted: int) -> None:
        findings = self.query_one(OptionList)
        findings.clear_options()
        findings.add_options(options)
        findings.display = bool(options)
        findings.highlighted = highlighted if options else None
        findings.call_after_refresh(findings.scroll_to_highlight)

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        """Jump to the finding's first tensor."""
        event.stop()
        if event.option_id in self._targets:
            self.post_message(self.JumpTo(self._targets[event.option_id]))

    def action_cursor(self, by: int) -> None:
        """Move as in the tree."""
        findings = self.query_one(OptionList)
        findings.action_cursor_down() if by > 0 else findings.action_cursor_up()
