"""CheckPanel: the sanity step below the tree, its progress while it runs and its findings after."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.text import Text
from textual import work
from textual.binding import Binding
from textual.containers import Horizontal, Vertical
from textual.message import Message
from textual.reactive import reactive
from textual.widgets import OptionList, ProgressBar, Static
from textual.widgets.option_list import Option

from freezetui.errors import EngineError
from freezetui.formatting.report import finding_text, headline, summary
from freezetui.sanity.report import SanityReport, Verdict
from freezetui.text import printable

if TYPE_CHECKING:
    from freezetui.sanity.client import Engine
    from freezetui.sanity.protocol import CheckRequest, Progress

_COLOURS: dict[Verdict, str] = {"held": "bold green", "moved": "bold red", "inconclusive": "bold yellow"}


class CheckPanel(Vertical):
    """Runs one engine at a time and shows what it says."""

    BINDINGS = [
        Binding("j", "cursor(1)", show=False),
        Binding("k", "cursor(-1)", show=False),
    ]

    #: Whether the choice has changed since what is told was found.
    outdated = reactive(False)

    class Ended(Message):
        """The check has ended with a report."""

        def __init__(self, report: SanityReport, mask: bytes) -> None:
            super().__init__()
            self.report, self.mask = report, mask

    class JumpTo(Message):
        """The person chose a finding: show its tensor."""

        def __init__(self, name: str) -> None:
            super().__init__()
            self.name = name

    def __init__(self, id: str | None = None) -> None:
        super().__init__(id=id)
        self._engine: Engine | None = None
        self._told: Text | None = None
        self._targets: dict[str, str] = {}

    @property
    def running(self) -> bool:
        """Whether an engine runs now."""
        return self._engine is not None

    async def start(self, request: CheckRequest, mask: bytes, timeout: float | None) -> None:
        """Run a check of the choice `mask`."""
        if not self.children:  # made when it is first used: the tree is painted the sooner
            headline = Static(id="check-headline", markup=False)
            progress = ProgressBar(id="check-progress", show_eta=False, show_percentage=False)
            await self.mount(Horizontal(headline, progress, id="check-line"), OptionList(id="check-findings"))
        self.display = True
        self._told, self.outdated = None, False
        self.query_one(OptionList).display = False
        self._say("starting the engine", running=True)
        self._run(request, mask, timeout)

    def cancel(self) -> None:
        """End a running check, or else hide the panel."""
        if self._engine is not None:
            self._engine.cancel()
        else:
            self.display = False

    @work(thread=True, exclusive=True, exit_on_error=False)
    def _run(self, request: CheckRequest, mask: bytes, timeout: float | None) -> None:
        from freezetui.sanity.client import Engine  # the first screen needs none
        from freezetui.sanity.protocol import Finished

        call = self.app.call_from_thread
        log: list[str] = []
        try:
            with Engine(request, timeout) as engine:
                self._engine = engine
                try:
                    for event in engine.events():
                        if isinstance(event, Finished):
                            call(self._finished, event.report, mask)
                            return
                        call(self._progress, event)
                    call(self._say, "cancelled; nothing was changed")
                except EngineError:
                    log = engine.log_tail(12)
                    raise
        except (EngineError, OSError) as error:
            hint = error.hint if isinstance(error, EngineError) else ""
            call(self._failed, getattr(error, "message", str(error)), hint, log)
        finally:
            self._engine = None

    def _progress(self, event: Progress) -> None:
        bar = self.query_one(ProgressBar)
        bar.update(total=event.total or None, progress=event.done)
        self._say(event.text, running=True)

    def _say(self, text: str | Text, running: bool = False) -> None:
        message = Text.assemble(" check: ", text, (" (esc cancels)", "dim") if running else "")
        self.query_one("#check-headline", Static).update(message)
        self.query_one(ProgressBar).display = running

    def _finished(self, report: SanityReport, mask: bytes) -> None:
        verdict, told = (headline(report), _COLOURS[report.verdict]), f"  {summary(report)}"
        keys = "  (tab: the findings, enter: to the tensor)" if report.findings else ""
        self._told = Text.assemble(verdict, told, (keys, "dim"))
        self._say(self._told)
        self._targets = {}
        options = []
        for number, finding in enumerate(report.findings):
            if finding.tensors:
                self._targets[str(number)] = finding.tensors[0]
            options.append(Option(Text(finding_text(finding)), id=str(number)))
        self._list(options, highlighted=0)
        self.post_message(self.Ended(report, mask))

    def watch_outdated(self, outdated: bool) -> None:
        """Say so in front of what was found, or take it back."""
        if self.children and self._told is not None:
            before = Text("before the last change: ", "bold")
            self._say(before.append(self._told.plain, "dim") if outdated else self._told)

    def _failed(self, message: str, hint: str, log: list[str]) -> None:
        self._say(Text.assemble((printable(message), "bold red"), f" {printable(hint)}"))
        self._targets = {}
        self._list([Option(Text(printable(line))) for line in log], highlighted=len(log) - 1)

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
