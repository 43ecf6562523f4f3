"""What the tree's last column can show: share, bytes, gradients, updates, changes; each with a bar."""

from __future__ import annotations

import math
from array import array
from bisect import bisect_left
from collections.abc import Callable, Iterable, Mapping, Sequence
from operator import sub
from typing import Literal, NamedTuple

from freezetui import numbers
from freezetui.freeze.shares import parameters_in
from freezetui.freeze.tree import ParamTree
from freezetui.session.session import Session
from freezetui.tui.widgets.block_groups import Span

Name = Literal["share", "bytes", "gradient", "update", "change"]

#: Stands for a value that is not known.
UNKNOWN = -1.0
#: The values of this many powers of ten have bars of different lengths.
_DECADES = 4


class Measure(NamedTuple):
    """One measure of the last column.

    Attributes:
        heading: the column's name, short and long.
        values: per tensor, -1 where unknown; empty for what is added up from sizes.
        top: the largest finite value, which has a full bar.
        wrong: tensors whose value is against the plan, ascending.
        words: tensor -> what to say in place of its value, which has no size and counts as infinite.
        worded: these tensors, ascending; sized: `values` without theirs.
        squares: per tensor those of |delta| and |weight|, by whose sums several tensors have one value; then
            those of other tensors, which count where none of the former has any.
    """

    name: Name
    heading: tuple[str, str]
    values: Sequence[float] = ()
    top: float = 0.0
    wrong: Sequence[int] = ()
    words: Mapping[int, str] = {}
    worded: Sequence[int] = ()
    sized: Sequence[float] = ()
    squares: tuple[Sequence[float], ...] = ()

    @property
    def is_share(self) -> bool:
        """Whether the values of parts add up to that of the whole."""
        return not self.values

    def value(self, tree: ParamTree, spans: Iterable[Span]) -> float | None:
        """Return the value of some tensors together: by their sums, else the largest; None if unknown.

        Args:
            spans: ascending, disjoint ranges of tensors.
        """
        if self.values:
            known, found = self.sized or self.values, tuple(spans)
            largest = max((max(known[a:b], default=UNKNOWN) for a, b in found), default=UNKNOWN)
            if largest <= 0 and _any_in(self.worded, found):
                return math.inf
            if largest > 0:
                for pair in zip(self.squares[::2], self.squares[1::2], strict=True):
                    delta, weight = (sum(sum(squares[a:b]) for a, b in found) for squares in pair)
                    if delta or weight:
                        return math.sqrt(delta / weight) if weight else largest
            return None if largest < 0 else largest
        if self.name == "share":
            return parameters_in(tree, spans)
        return sum(tree.bytes_before[b] - tree.bytes_before[a] for a, b in spans)

    def each(self, tree: ParamTree, starts: Sequence[int], stops: Sequence[int]) -> list[float]:
        """Return the values of many ranges of tensors; -1 where unknown.

        Of sizes it is what a range has of its own: a tied tensor counts where it is first.
        """
        if self.is_share:
            before = list(tree.bytes_before if self.name == "bytes" else tree.parameters_before)
            return list(map(sub, map(before.__getitem__, stops), map(before.__getitem__, starts)))
        single = self._of_each_tensor()
        found = []
        for start, stop in zip(starts, stops, strict=True):
            value = single[start] if stop == start + 1 else self.value(tree, ((start, stop),))
            found.append(UNKNOWN if value is None else value)
        return found

    def _of_each_tensor(self) -> list[float]:
        """Return what `value` returns of every tensor by itself; -1 where unknown."""
        values = list(self.values)
        if self.squares:
            known = zip(self.sized or values, *self.squares[:2], strict=True)
            values = [math.sqrt(d / w) if value > 0 and w else value for value, d, w in known]
        for index in self.worded:
            values[index] = math.inf
        return values

    def bar(self, tree: ParamTree, value: float) -> float:
        """Return how much of a full bar a value gets, 0 to 1: linear in sizes, else by powers of ten."""
        if self.is_share:
            before = tree.bytes_before if self.name == "bytes" else tree.parameters_before
            return value / before[-1] if before[-1] else 0.0
        if value <= 0 or not self.top:
            return 0.0
        return 1.0 if math.isinf(value) else max(0.0, 1 + math.log10(value / self.top) / _DECADES)

    def text(self, tree: ParamTree, value: float, spans: Iterable[Span] = ()) -> str:
        """Return a value in at most seven characters.

        Args:
            spans: the tensors that it is of.
        """
        if self.name == "bytes":
            return numbers.size(int(value))
        if self.name == "share":
            return numbers.percent(self.bar(tree, value))
        if math.isinf(value):
            said = {self.words[i] for a, b in spans for i in self._worded_in(a, b)}
            if said:
                return said.pop() if len(said) == 1 else "differs"
            return "from 0" if self.name == "change" else "inf/nan"
        return f"{value:.2g}" if self.name in ("gradient", "update") else _relative(value)

    def is_wrong(self, spans: Iterable[Span]) -> bool:
        """Whether the value of one of these tensors is against the plan."""
        return _any_in(self.wrong, spans)

    def _worded_in(self, start: int, stop: int) -> Sequence[int]:
        return self.worded[bisect_left(self.worded, start) : bisect_left(self.worded, stop)]


SHARE = Measure("share", ("share", "share of model"))
#: What is known of every checkpoint.
SIZES = (SHARE, Measure("bytes", ("bytes", "bytes")))


class Measures:
    """The measures that a session has values for; kept until its report or its comparison is another.

    Args:
        session: the open session.
    """

    def __init__(self, session: Session) -> None:
        self._session = session
        self._known: dict[Name, tuple[object, ParamTree, Measure | None]] = {}

    def now(self) -> list[Measure]:
        """Return what the column can show now; the share comes first."""
        found = [self._made("gradient", self._session.report, self._gradients)]
        found.append(self._made("update", self._session.report, self._updates))
        found.append(self._made("change", self._session.comparison, self._changes))
        found[-1] = self._with_wrong(found[-1])
        return [*SIZES, *(measure for measure in found if measure is not None)]

    def _made(self, name: Name, source: object, make: Callable[[], Measure | None]) -> Measure | None:
        known = self._known.get(name)
        if known is None or known[0] is not source or known[1] is not self._session.tree:
            known = source, self._session.tree, make() if source is not None else None
            self._known[name] = known
        return known[2]

    def _gradients(self) -> Measure | None:
        report = self._session.report
        if report is None or not report.forward:  # the check's own random numbers
            return None
        return self._of_report("gradient", ("gradient", "max |gradient|"), report.gradients)

    def _updates(self) -> Measure | None:
        report = self._session.report
        if report is None or not report.forward:
            return None
        whose = "check's step" if report.own is None else report.own.optimizer.partition("(")[0]
        return self._of_report("update", ("update", f"update, {whose}"), report.updates)

    def _of_report(
        self, name: Name, heading: tuple[str, str], found: dict[str, float | None]
    ) -> Measure | None:
        """Return the values of a report by name, where None is not finite; None if there are none."""
        if not found:
            return None
        known = {key: math.inf if value is None else value for key, value in found.items()}
        return _measure(name, heading, [known.get(tensor.name) for tensor in self._session.tree.tensors])

    def _changes(self) -> Measure | None:
        comparison = self._session.comparison
        assert comparison is not None
        measure = _measure("change", ("change", "change / weight"), comparison.relative_change)
        if measure is not None:
            measure = measure._replace(squares=comparison.squares)
        return _with_words(measure, comparison.words)

    def _with_wrong(self, change: Measure | None) -> Measure | None:
        """Return the changes with the frozen tensors that changed, which depend on the plan."""
        comparison = self._session.comparison
        if change is None or comparison is None:
            return change
        wrong = comparison.changed_frozen
        if wrong != change.wrong:
            change = change._replace(wrong=wrong)
            self._known["change"] = comparison, self._session.tree, change
        return change


def _measure(name: Name, heading: tuple[str, str], values: Sequence[float | None]) -> Measure | None:
    """Return a measure of these values; None if none is known. What is not a number counts as infinite."""
    known = array("d", (UNKNOWN if v is None else math.inf if math.isnan(v) else abs(v) for v in values))
    if max(known, default=UNKNOWN) < 0:
        return None
    return Measure(name, heading, known, max((v for v in known if not math.isinf(v)), default=0.0))


def _with_words(measure: Measure | None, words: Mapping[int, str]) -> Measure | None:
    """Return a measure that says these words of tensors whose value has no size."""
    if measure is None or not words:
        return measure
    values, sized = array("d", measure.values), array("d", measure.values)
    for index in words:
        values[index], sized[index] = math.inf, UNKNOWN
    return measure._replace(values=values, words=words, worded=sorted(words), sized=sized)


def _any_in(indices: Sequence[int], spans: Iterable[Span]) -> bool:
    """Whether one of these indices, which are ascending, is in a span."""
    return bool(indices) and any(bisect_left(indices, a) < bisect_left(indices, b) for a, b in spans)


def _relative(value: float) -> str:
    """Return a relative change: "0%", "<0.01%", "1.3%", "240%", "9e+03%"."""
    percent = 100 * value
    if 0 < percent < 0.01:
        return "<0.01%"
    return f"{percent:.2g}%" if percent < 99.5 else f"{percent:.0f}%" if percent < 1e5 else f"{percent:.0e}%"
