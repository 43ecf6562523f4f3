"""TotalsBar: frozen and trainable, what the plan costs in memory, and the last check."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from rich.cells import cell_len
from rich.text import Text

from freezetui import numbers
from freezetui.freeze.cost import full_training_memory, training_memory
from freezetui.sanity.report import SanityReport
from freezetui.session.session import Session
from freezetui.text import printable
from freezetui.tui.contrast import muted
from freezetui.tui.widgets.drawing import TextBar

#: On a narrower screen everything is said in few words.
_MIN_WIDTH = 78
#: By the verdict of a check.
_SIGNS = {"nothing to hold": "○", "held": "✓", "out of date": "?", "inconclusive": "?", "moved": "✗"}
#: Cells that the names of stages and how their checks ended may take.
_MAX_TOLD = 44
#: How the check of a stage can have ended, the worst last.
_WORST = ("nothing to hold", "held", "out of date", "inconclusive", "moved", "not checked")


class TotalsBar(TextBar):
    """Shows frozen and trainable, what the plan costs in memory, and the last check.

    Attributes:
        is_checking: whether a check runs now; its panel may be closed.
    """

    DEFAULT_CSS = """
    TotalsBar {
        height: 2;
        background: $panel;
    }
    """

    def __init__(self, session: Session, id: str | None = None) -> None:
        super().__init__(id=id)
        self.session = session
        self.is_checking: Callable[[], bool] = lambda: False

    def render(self) -> Text:
        """Draw one or two lines; parts that do not fit are omitted, but never the last check."""
        width, height = self.size
        frozen, trainable, memory, check, made_of = self._parts(roomy=True)
        *shares, less, _, _ = self._parts(roomy=False)
        brief, said = self._brief_counts(), self._check(brief=True)
        choices = [
            ([frozen, trainable, memory, check, made_of], (memory, check)),
            ([*shares, less, check], (less, check)),
            ([*shares, check, less], (check,)),
            ([*brief, said, less], (said,)),
            ([said, *brief], (said,)),
        ]
        for parts, needed in choices[3:] if width < _MIN_WIDTH else choices:
            lines, placed = _placed(parts, width, max(1, height))
            if all(any(part is each for part in placed) for each in needed):
                break
        return Text("\n", style=self.base).join(lines)

    def _parts(self, roomy: bool) -> list[Text]:
        totals, dim = self.session.totals, muted(self)
        memory, full = training_memory(totals), full_training_memory(totals)
        frozen, trainable, everything = totals.frozen, totals.trainable, totals.parameters
        share = totals.share
        frozen_share = numbers.percent(1 - share if everything.elements else 0)
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
                "memory with AdamW ",
                (numbers.size(memory.total), "bold"),
                f" of {numbers.size(full.total)}",
                f" + base model{' (not counted)' if roomy else ''}" if self.session.is_adapter else "",
            ),
            self._check(),
            Text(
                f"weights {numbers.size(memory.weights)} + gradients {numbers.size(memory.gradients)}"
                f" + AdamW state {numbers.size(memory.optimizer)}",
                dim,
            ),
        ]

    def _brief_counts(self) -> list[Text]:
        totals = self.session.totals
        share = numbers.percent(totals.share)
        return [
            Text.assemble(("■ frozen ", "bold"), numbers.count(totals.frozen.elements)),
            Text.assemble(("○ train ", "bold"), f"{numbers.count(totals.trainable.elements)} ({share})"),
        ]

    def _check(self, brief: bool = False) -> Text:
        """Return how the last check of the shown stage ended; in two words if `brief`."""
        session, dim = self.session, muted(self)
        report, before = session.report, "" if brief else "last check: "
        if self.is_checking():
            return Text("checking…", "bold")
        if session.checks.failure:
            return Text.assemble(before, ("! check failed" if brief else "failed (R: why)", "bold"))
        if session.stages.shown is None and session.stages.names:
            return self._of_stages(brief)
        if report is None:
            return Text("not checked" if brief else "not checked (press r)", dim)
        if session.report_is_stale:
            return Text.assemble(before, ("? out of date" if brief else "out of date", dim))
        when = session.checks.when(session.stages.shown)
        day = f" as of {printable(when[:10])}" if when and not brief else ""
        said = f"{sign_of(report)} {_verdict(report).partition(',')[0]}" if brief else _verdict(report)
        return Text.assemble(before, (said, "bold"), (day, dim))

    def _of_stages(self, brief: bool) -> Text:
        """Return how the last check of each stage ended: the common rules are checked as part of these."""
        found = list(stage_verdicts(self.session))
        words = [word for _, word in found]
        if brief:
            worst = max((word.partition(",")[0] for word in words), key=_WORST.index)
            return Text(f"{_SIGNS[worst]} {worst}" if worst in _SIGNS else worst, "bold")
        told = ", ".join(f"{printable(name)}: {word}" for name, word in found)
        if cell_len(told) <= _MAX_TOLD:
            return Text(told)
        signs = (_SIGNS.get(word.partition(",")[0], "–") for word in words)
        return Text(", ".join(f"stage {number} {sign}" for number, sign in enumerate(signs, 1)))


def sign_of(report: SanityReport) -> str:
    """Return the sign of a check's outcome; with "!" if buffers of frozen modules changed."""
    sign = _SIGNS["nothing to hold" if report.nothing_to_hold else report.verdict]
    return f"{sign}!" if report.changed_of_frozen else sign


def stage_verdicts(session: Session) -> Iterator[tuple[str, str]]:
    """Yield every stage with how its last check ended."""
    for name in session.stages.names:
        report = session.checks.report(name)
        stale = report is not None and session.checks.is_stale(name)
        yield name, "not checked" if report is None else "out of date" if stale else _verdict(report)


def _verdict(report: SanityReport) -> str:
    """Return the verdict, and in the same breath how many buffers of frozen modules changed."""
    if report.nothing_to_hold:
        return "nothing to hold"
    changed = len(report.changed_of_frozen)
    return f"{report.verdict}, {numbers.plural(changed, 'buffer')} changed" if changed else report.verdict


def _placed(parts: Sequence[Text], width: int, height: int) -> tuple[list[Text], list[Text]]:
    """Return lines of the first parts, and which parts are in them."""
    lines, placed, row = [Text() for _ in range(height)], [], 0
    for part in parts:
        gap = 3 if width >= _MIN_WIDTH else 2
        while row < len(lines) and cell_len(lines[row].plain) + cell_len(part.plain) + gap > width:
            row += 1
        if row == len(lines):
            break
        lines[row].append_text(Text(" " * gap if lines[row].plain else " ")).append_text(part)
        placed.append(part)
    return lines, placed
