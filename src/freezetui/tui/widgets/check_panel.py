"""CheckPanel: the check below the tree: its progress while it runs, its proof and findings afterwards."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.text import Text
from textual import on, work
from textual.binding import Binding
from textual.containers import Horizontal, Vertical
from textual.message import Message

from freezetui.errors import EngineError, from_os_error
from freezetui.text import printable
from freezetui.tui.guarded import Guarded

if TYPE_CHECKING:
    from textual.widgets import OptionList, ProgressBar

    from freezetui.sanity.client import Engine
    from freezetui.sanity.protocol import Progress
    from freezetui.sanity.report import SanityReport
    from freezetui.session.check_request import Job
    from freezetui.tui.proof import Proof, ProofLine
    from freezetui.tui.widgets.check_headline import CheckHeadline
    from freezetui.tui.widgets.proof_list import ProofList


class CheckPanel(Guarded, Vertical):
    """Runs the checks of stages in a thread that posts their progress (`running`); shows what one proved."""

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
    CheckPanel #check-progress {
        width: 24;
        Bar { width: 22; }
    }
    """

    BINDINGS = [Binding("y", "copy_fix", "Copy the fix", id="findings.copy")]

    class Progressed(Message):
        """The running check has made progress."""

        def __init__(self, progress: Progress, job: Job) -> None:
            super().__init__()
            self.progress, self.job = progress, job

    class Ended(Message):
        """A check ended with a report."""

        def __init__(self, report: SanityReport, job: Job) -> None:
            super().__init__()
            self.report, self.job = report, job

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

    class ReceiptWanted(Message):
        """The user wants to save the receipt of the checks."""

    class FixWanted(Message):
        """The user wants to copy the fix of a finding."""

        def __init__(self, code: str) -> None:
            super().__init__()
            self.code = code

    # Its widgets, created and imported on first use, so that the tree is painted sooner.
    _headline: CheckHeadline
    _progress: ProgressBar
    _findings: ProofList

    def __init__(self, id: str | None = None) -> None:
        super().__init__(id=id)
        self.running = False
        self.failure: CheckPanel.Failed | None = None  # of the last check; the next one forgets it
        self._engine: Engine | None = None
        self._jobs: list[Job] = []
        self._stages: list[str | None] = []
        self._timeout: float | None = None
        self._python = ""
        self._lines: Sequence[ProofLine] = ()

    @property
    def line(self) -> ProofLine | None:
        """The line of the proof under the cursor; None if there is none."""
        place = self._findings.highlighted if self.children else None
        return self._lines[place] if place is not None and place < len(self._lines) else None

    async def start(self, jobs: Sequence[Job], timeout: float | None, python: str = "") -> None:
        """Run these checks, at least one, in turn.

        Args:
            jobs: of the stages of one config.
            timeout: seconds after which a check is killed.
            python: what runs the engine.
        """
        await self._make()
        self.display = self.running = True
        self.failure = None
        self._jobs, self._stages = list(jobs), [job.request.stage for job in jobs]
        self._timeout, self._python = timeout, python
        self._findings.display = False
        self._start_engine()

    async def _make(self) -> None:
        """Create the widgets, if there are none yet."""
        if self.children:
            return
        from textual.widgets import ProgressBar

        from freezetui.tui.widgets.check_headline import CheckHeadline
        from freezetui.tui.widgets.proof_list import ProofList

        self._headline = CheckHeadline(id="check-headline")
        self._progress = ProgressBar(id="check-progress", show_eta=False, show_percentage=False)
        self._findings = ProofList(id="check-findings")
        line = Horizontal(self._headline, self._progress, id="check-line")
        await self.mount(line, self._findings)

    def _start_engine(self) -> None:
        """Start an engine for the checks that are left: none if they were cancelled."""
        from freezetui.sanity.client import Engine  # the first screen needs none

        if not self._jobs:
            return
        first, *later = self._jobs
        self._say_running(first, "starting the engine")
        request = first.request.then(job.request.stage for job in later)
        try:
            self._engine = Engine(request, self._timeout, self._python)  # by this thread: it ends with it
        except (EngineError, OSError) as error:
            told = error if isinstance(error, EngineError) else from_os_error(error)
            self.post_message(self.Failed(told.message, told.hint))
        else:
            self._run(self._engine, tuple(self._jobs))

    def cancel(self) -> None:
        """End a running check, or else hide the panel."""
        if not self.running:
            self.display = False
            return
        self._jobs = []
        if self._engine is not None:
            self._engine.cancel()

    async def show(self, proof: Proof) -> None:
        """Show what a check has proven, unless one is running, or the last one failed."""
        await self._make()
        if self.failure is not None:
            self._show_failure(self.failure)
        elif not self.running:
            self._lines = proof.lines
            self._say(Text.assemble(" check: ", proof.headline))
            self._findings.show([line.text for line in proof.lines], highlighted=proof.first)

    def on_unmount(self) -> None:
        """End a running check when the app ends, for whatever reason."""
        if self.running:
            self.cancel()

    @work(thread=True, exclusive=True, exit_on_error=False)
    def _run(self, engine: Engine, jobs: Sequence[Job]) -> None:
        from freezetui.sanity.log_lines import MAX_LOOKED_AT, telling  # needed after a failure only

        log: list[str] = []
        try:
            with engine:
                try:
                    done = self._follow(engine, jobs)
                except EngineError:
                    log = telling(engine.log_tail(MAX_LOOKED_AT))
                    raise
        except EngineError as error:
            self.post_message(self.Failed(error.message, error.hint, log))
        except Exception as error:  # whatever happened, the panel must not wait forever
            self.post_message(self.Failed(str(error) or type(error).__name__))
        else:
            if engine.cancelled:
                self.post_message(self.Cancelled())
            elif done < len(jobs):
                self.call_later(self._start_engine)  # when the messages above have arrived

    def _follow(self, engine: Engine, jobs: Sequence[Job]) -> int:
        """Post progress and reports until the engine ends; return how many of the checks have ended."""
        from freezetui.sanity.protocol import Finished

        done = 0
        for event in engine.events():
            if isinstance(event, Finished):
                self.post_message(self.Ended(event.report, jobs[done]))
                done += 1
            else:
                self.post_message(self.Progressed(event, jobs[done]))
        return done

    @on(Progressed)
    def _progressed(self, event: Progressed) -> None:
        event.stop()
        if self.running:
            progress = event.progress
            self._progress.update(total=progress.total or None, progress=progress.done)
            self._say_running(event.job, progress.text)

    @on(Ended)
    def _ended(self) -> None:
        """Wait for the next stage; the screen, which gets this message too, shows what was proven."""
        del self._jobs[:1]
        if not self._jobs:
            self._finish()

    @on(Cancelled)
    def _was_cancelled(self) -> None:
        """Say so; the screen, which gets this message too, no longer says that a check runs."""
        self._finish()
        self._say(Text(" check: cancelled"))

    @on(Failed)
    def _failed(self, event: Failed) -> None:
        """Show why the check failed; the screen, which gets this message too, keeps it."""
        self._finish()
        self.failure = event
        self._show_failure(event)

    def _show_failure(self, event: Failed) -> None:
        self._lines = ()
        told = (printable(event.message), "check--moved")
        self._say(Text.assemble(" check: ", told, f" {printable(event.hint)}"))
        self._findings.show([Text(printable(line)) for line in event.log], highlighted=len(event.log) - 1)

    def _finish(self) -> None:
        self.running, self._engine, self._jobs = False, None, []

    def _say_running(self, job: Job, text: str) -> None:
        stage, number = job.request.stage, self._stages.index(job.request.stage) + 1
        which = "" if stage is None else f"{printable(stage)}, {number} of {len(self._stages)}: "
        self._say(Text(f" check: {which}{text}"))  # the footer names the key that ends it

    def _say(self, text: Text) -> None:
        self._headline.say(text, one_line=self.running)
        self._progress.display = self.running

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        """Jump to the tensor that a line is about, or save the receipt."""
        event.stop()
        line = self.line
        if line is not None and line.receipt:
            self.post_message(self.ReceiptWanted())
        elif line is not None and line.tensor:
            self.post_message(self.JumpTo(line.tensor))

    def action_copy_fix(self) -> None:
        """Copy the fix of the finding that is highlighted."""
        line = self.line
        if line is not None and line.code:
            self.post_message(self.FixWanted(line.code))
        else:
            self.notify("This line has no fix to copy.", timeout=3)
