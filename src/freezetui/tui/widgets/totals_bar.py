"""TotalsBar: frozen and trainable, what the plan costs in memory, and the last check."""

from __future__ import annotations

from rich.cells import cell_len
from rich.style import Style
from rich.text import Text
from textual.widget import Widget

from freezetui import numbers
from freezetui.freeze.cost import full_training_memory, training_memory
from freezetui.sanity.report import SanityReport
from freezetui.session.session import Session
from freezetui.text import printable
from freezetui.tui.contrast import legible, muted
from freezetui.tui.guarded import Guarded


class TotalsBar(Guarded, Widget):
    """Shows frozen and trainable, what the plan costs in memory, and the last check."""

    DEFAULT_CSS = """
    TotalsBar {
        height: 2;
        background: $panel;
    }
    """

    def __init__(self, session: Session, id: str | None = None) -> None:
        super().__init__(id=id)
        self.session = session

    def render(self) -> Text:
        """Draw one or two lines; parts that do not fit are omitted, the last ones first."""
        width, height = self.size
        lines = [Text() for _ in range(max(1, height))]
        row = 0
        for part in self._parts():
            while row < len(lines) and cell_len(lines[row].plain) + cell_len(part.plain) + 3 > width:
                row += 1
            if row == len(lines):
                break
            lines[row].append_text(Text("   " if lines[row].plain else " ")).append_text(part)
        return Text("\n", style=legible(self.rich_style)).join(lines)

    def _parts(self) -> list[Text]:
        totals, dim = self.session.totals, muted(self)
        memory, full = training_memory(totals), full_training_memory(totals)
        frozen, trainable, everything = totals.frozen, totals.trainable, totals.parameters
        share = totals.share
        frozen_share = numbers.percent(1 - share if everything.elements else 0)
        roomy = self.size.width >= 80
        return [
            Text.assemble(
                ("■ frozen ", "bold"),
                f"{numbers.count(frozen.elements)} ({frozen_share})",
                (f" {numbers.plural(frozen.tensors, 'tensor')}" if roomy else "", dim),
            ),
            Text.assemble(
                ("○ trainable ", "bold"),
                f"{numbers.count(trainable.elements)} ({numbers.percent(share)})",
                (f" {numbers.plural(trainable.tensors, 'tensor')}" if roomy else "", dim),
            ),
            Text.assemble(
                "counted with AdamW ",
                (numbers.size(memory.total), "bold"),
                f" of {numbers.size(full.total)}",
            ),
            self._check(dim),
            Text(
                f"weights {numbers.size(memory.weights)} + gradients {numbers.size(memory.gradients)}"
                f" + moments {numbers.size(memory.optimizer)}",
                dim,
            ),
        ]

    def _check(self, dim: Style) -> Text:
        report = self.session.report
        if report is None:
            return Text("not checked (press r)", dim)
        when = self.session.checks.when(self.session.stages.shown)
        if self.session.report_is_stale:
            return Text.assemble("last check: ", ("out of date", dim))
        return Text.assemble(
            "last check: ",
            (_verdict(report), "bold"),
            (f" as of {printable(when[:10])}" if when else "", dim),
        )


def _verdict(report: SanityReport) -> str:
    """Return the verdict, and in the same breath how many buffers of frozen modules changed."""
    if report.nothing_to_hold:
        return "nothing to hold"
    changed = len(report.changed_of_frozen)
    return f"{report.verdict}, {numbers.plural(changed, 'buffer')} changed" if changed else report.verdict
