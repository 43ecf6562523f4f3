"""FaceApp: what every part of the app shares, the session and how an edit is shown."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Any

from textual.app import App

from freezetui import numbers
from freezetui.session.loading import Result, run_in_thread
from freezetui.session.session import Options, Session
from freezetui.text import printable_lines
from freezetui.tui.check_marks import marks_of
from freezetui.tui.screens.busy import BusyScreen
from freezetui.tui.widgets.check_panel import CheckPanel
from freezetui.tui.widgets.detail_line import DetailLine
from freezetui.tui.widgets.details import DetailsPane, one_line
from freezetui.tui.widgets.header import Header
from freezetui.tui.widgets.parameter_tree import ParameterTree
from freezetui.tui.widgets.totals_bar import TotalsBar
from freezetui.tui.widgets.visible_rows import Span, VisibleRows

#: Tensors; with fewer, the fewest rules are found before anybody notices.
_LARGE = 10_000


class FaceApp(App[int]):
    """The app without its keys.

    Attributes:
        session, rows: None until the checkpoint is open.
    """

    def __init__(self, options: Options) -> None:
        super().__init__()
        self.options = options
        self.session: Session | None = None
        self.rows: VisibleRows | None = None

    @property
    def tree_view(self) -> ParameterTree:
        """The tree."""
        return self.query_one("#tree", ParameterTree)

    def notify(self, message: str, *, title: str = "", **options: Any) -> None:
        """Say something in passing; names of files and tensors are in it, whatever they hold."""
        options.setdefault("markup", False)
        super().notify(printable_lines(message), title=printable_lines(title), **options)

    def push_screen(self, *arguments: Any, **options: Any) -> Any:
        """Show a screen; what was said in passing goes, since it would cover it."""
        self.clear_notifications()
        return super().push_screen(*arguments, **options)

    async def run_with_busy_screen(self, what: str, work: Callable[[], Result]) -> Result | None:
        """What `work` gives; with a large model it is shown that it runs, and None is that a person gave up.

        Only for a worker, and for work that changes nothing: whoever gives up leaves it to itself.
        """
        if self.session is None or len(self.session.tree.tensors) < _LARGE:
            return work()
        promise: Future[Result] = Future()
        run_in_thread(promise, work)
        waiting = BusyScreen(what)
        done, left = asyncio.wrap_future(promise), self.push_screen(waiting, wait_for_dismiss=True)
        await asyncio.wait((done, left), return_when=asyncio.FIRST_COMPLETED)
        if not done.done():
            return None
        if waiting.is_active:
            waiting.dismiss(None)
        return done.result()

    def edit(self, spans: Sequence[Span], trainable: bool | None, what: str = "") -> None:
        """Freeze, train or (None) toggle some tensors, then redraw and say what happened."""
        if self.session is None:
            return
        plan = self.session.plan
        if not spans:
            self.notify("nothing matches", timeout=3)
            return
        if plan.totals_over(spans).state == "untrainable":
            tensor = self.session.tree.tensors[spans[0][0]] if spans[0][0] < spans[0][1] else None
            self.notify(
                tensor.untrainable_reason if tensor else "there is nothing here that can train", markup=False
            )
            return
        changed = plan.toggle(spans) if trainable is None else plan.set(spans, trainable)
        self.edited(f"{what}: {numbers.plural(changed, 'tensor')} changed" if what else "")

    def edited(self, message: str = "") -> None:
        """Redraw after an edit, and say what happened."""
        if self.session is None:
            return
        self.tree_view.marks = marks_of(self.session)
        self.query_one(CheckPanel).outdated = self.session.report_is_stale
        self.tree_view.edited()
        self.query_one(Header).refresh()
        self.query_one(TotalsBar).refresh()
        if message:
            self.notify(message, timeout=3, markup=False)

    def redraw_status(self) -> None:
        """The lines above and below the tree, and the details."""
        self.query_one(Header).refresh()
        self.query_one(TotalsBar).refresh()
        details = self.query_one(DetailsPane)
        if self.session and self.rows:
            if details.display:
                details.show(self.session, self.rows, self.tree_view.node)
            self.query_one(DetailLine).text = one_line(self.session, self.rows, self.tree_view.node)
