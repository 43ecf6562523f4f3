"""What a check has proven, line by line: for the panel below the tree."""

from __future__ import annotations

import textwrap
from collections import Counter
from collections.abc import Iterator
from itertools import zip_longest
from typing import NamedTuple

from rich.cells import cell_len
from rich.text import Text

from freezetui import numbers
from freezetui.formatting.fixes import fix_code
from freezetui.formatting.report import cost, deciding, finding_text, headline
from freezetui.formatting.sentences import InFile, sentences
from freezetui.freeze.plan import FROZEN, TRAINABLE, UNTRAINABLE
from freezetui.sanity.report import SanityReport, Verdict
from freezetui.session.outcome import Outcome
from freezetui.session.session import Session
from freezetui.text import printable
from freezetui.tui.check_marks import qualifiers
from freezetui.tui.widgets.totals_bar import stage_verdicts
from freezetui.tui.widgets.tree_line import MARKS

#: The verdict -> a component class of the panel, whose color can be read in every theme.
_COLORS: dict[Verdict, str] = {"held": "check--held", "moved": "check--moved", "inconclusive": "check--open"}
_INDENT = "      "
#: Of the headline.
_MAX_LINES = 2
_HINT = "(Tab: this list, R: close)"
_WORDS = {
    Outcome.BY_FLAG: "unchanged, but no gradient reaches {} when trainable either: proves the flag alone",
    Outcome.UNPROVEN: "not proven: this check could not have seen {} change",
}


class ProofLine(NamedTuple):
    """One entry of the list.

    Attributes:
        tensor: the checkpoint's name of the tensor that Enter goes to; "" for none.
        code: what `y` copies; "" for nothing.
        is_finding: whether it is something that was found, and not what the check has shown.
        decides: whether the verdict rests on it.
        receipt: whether Enter saves the receipt.
    """

    text: Text
    tensor: str = ""
    code: str = ""
    is_finding: bool = False
    decides: bool = False
    receipt: bool = False


class Proof(NamedTuple):
    """The last check of the shown stage."""

    headline: Text
    lines: tuple[ProofLine, ...]

    @property
    def first(self) -> int:
        """The line to be highlighted first: that on which the verdict rests."""
        return next((i for i, line in enumerate(self.lines) if line.decides), 0)


def proof_of(session: Session, width: int, brief: bool = False) -> Proof:
    """Return what the last check of the shown stage has proven.

    Args:
        width: of the headline, in cells; it gets two lines.
        brief: whether there is room for a few lines only: the findings then come first.
    """
    report, stage = session.report, session.stages.shown
    which = "" if stage is None else f"{printable(stage)}: "
    if stage is None and session.stages.names:
        told = ", ".join(f"{printable(name)}: {word}" for name, word in stage_verdicts(session))
        return Proof(Text(f"what is common is checked as part of each stage ({told})"), ())
    if report is None:
        return Proof(Text.assemble(which, "not checked yet (press r)"), ())
    found = list(_lines(session))
    lines = tuple(sorted(found, key=lambda line: (not line.decides, not line.is_finding)) if brief else found)
    hint = (f"  {_HINT}", "dim")
    verdict, costs = headline(report, _in_file(session)), "; ".join(cost(report))
    qualified = ", ".join(qualifiers(session))
    if brief:
        verdict = verdict.partition(";")[0]
    start = Text.assemble(which, (f"{qualified}: " if qualified else "", "bold"))
    whole = f" check: {start.plain}{verdict}  {costs}{hint[0]}"
    told = f"  {costs}"
    if brief or len(textwrap.wrap(whole, width)) > _MAX_LINES:
        told, lines = "", (*lines[:-1], ProofLine(Text(costs, "dim")), lines[-1])
    first = cell_len(f" check: {start.plain}{verdict}{told}")
    if first <= width < first + cell_len(hint[0]):
        hint = (f"\n {_HINT}", "dim")  # whole, on a line of its own
    if session.report_is_stale:
        return Proof(Text.assemble(start, (f"{verdict}{told}", "dim"), hint), lines)
    return Proof(Text.assemble(start, (verdict, _color(report)), told, hint), lines)


def _color(report: SanityReport) -> str:
    """Return the color of the verdict: green only where nothing has to be looked at."""
    if report.nothing_to_hold:
        return "bold"
    return _COLORS[
        "inconclusive" if report.verdict == "held" and report.changed_of_frozen else report.verdict
    ]


def _lines(session: Session) -> Iterator[ProofLine]:
    """Yield what was shown in sentences, the findings with their fixes, and what was not proven."""
    report, live = session.report, session.checks.live_report(session.stages.shown)
    assert report is not None and live is not None
    decided_by = deciding(report)
    targets = [_first(session, FROZEN), "", _first(session, TRAINABLE)]
    for sentence, tensor in zip_longest(sentences(report, _in_file(session)), targets, fillvalue=""):
        if sentence:
            yield ProofLine(Text(sentence), tensor)
    for finding, of_live in zip(report.findings, live.findings, strict=True):
        code = fix_code(of_live, live.own)
        text = Text(finding_text(finding))
        text.append("".join(f"\n{_INDENT}{printable(line)}" for line in code), "bold")
        target = finding.tensors[0] if finding.tensors else ""
        decides = finding is decided_by
        yield ProofLine(text, target, "\n".join(code) or finding.fix, is_finding=True, decides=decides)
    yield from _counts(session)
    yield ProofLine(Text("Save the receipt of this check…"), receipt=True)


def _in_file(session: Session) -> InFile:
    """Return how many of the tensors that were checked the checkpoint has."""
    outcomes, tree = session.outcomes, session.tree
    assert outcomes is not None
    states = bytearray(outcomes.states)
    for alias in tree.aliases(0, len(states)):
        states[alias] = UNTRAINABLE
    return InFile(states.count(FROZEN), states.count(TRAINABLE), session.is_adapter)


def _first(session: Session, state: int) -> str:
    """Return the first tensor that was checked in this state; "" if there is none."""
    outcomes = session.outcomes
    place = -1 if outcomes is None else outcomes.states.find(bytes([state]))
    return session.tree.tensors[place].name if place >= 0 else ""


def _counts(session: Session) -> Iterator[ProofLine]:
    """Yield how many frozen parameters were not proven, and why; Enter goes to the first."""
    outcomes = session.outcomes
    assert outcomes is not None
    frozen = [i for i, state in enumerate(outcomes.states) if state == FROZEN]
    found = Counter(outcomes.all[i] for i in frozen)
    for outcome, words in _WORDS.items():
        if found[outcome]:
            first = next(i for i in frozen if outcomes.all[i] == outcome)
            count = numbers.plural(found[outcome], "frozen tensor")
            text = f"{MARKS[outcome]} {count} {words.format('it' if found[outcome] == 1 else 'them')}"
            yield ProofLine(Text(text), session.tree.tensors[first].name)
