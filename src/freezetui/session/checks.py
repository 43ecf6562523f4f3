"""Checks: the last check of every stage, and what it says about each tensor."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

from freezetui.freeze.plan import FreezePlan
from freezetui.freeze.tree import ParamTree
from freezetui.sanity.report import SanityReport

if TYPE_CHECKING:
    from freezetui.session.outcome import Outcomes


class _Last(NamedTuple):
    """The last check of one stage.

    Attributes:
        live: the report as the engine sent it; named: with the checkpoint's names.
        mask, norms: what was checked; see `Checks.store`.
        when: the time of the check, if it was not in this session.
    """

    live: SanityReport
    named: SanityReport
    mask: bytes
    norms: str
    when: str


class Checks:
    """The last check of every stage; None stands for the common rules.

    Attributes:
        failure: why the last check ended without a report; "" if it did not.
    """

    def __init__(self) -> None:
        self.failure = ""
        self._last: dict[str | None, _Last] = {}
        self._outcomes: dict[str | None, Outcomes] = {}

    def store(self, report: SanityReport, mask: bytes, norms: str, when: str = "") -> None:
        """Store the report of a check of the plan `mask`, as the engine sent it.

        Args:
            norms: the setting `norm_statistics` that was checked.
            when: the time of the check, if it was not in this session.
        """
        self.failure = ""
        self._last[report.stage] = _Last(report, report.in_file_names(), mask, norms, when)
        self._outcomes.pop(report.stage, None)

    def clear(self) -> None:
        """Forget all, as after another architecture was named."""
        self._last, self._outcomes, self.failure = {}, {}, ""

    def report(self, stage: str | None) -> SanityReport | None:
        """Return the report of the last check of a stage, with the checkpoint's names; None before it."""
        last = self._last.get(stage)
        return None if last is None else last.named

    def live_report(self, stage: str | None) -> SanityReport | None:
        """Return the same report with the names of the live model."""
        last = self._last.get(stage)
        return None if last is None else last.live

    def when(self, stage: str | None) -> str:
        """Return the time of the last check of a stage, if it was not in this session; "" else."""
        last = self._last.get(stage)
        return "" if last is None else last.when

    def is_stale(self, stage: str | None, mask: bytes, norms: str) -> bool:
        """Whether the last check of a stage was of another plan than `mask`, or with other `norms`."""
        last = self._last.get(stage)
        return last is not None and (last.mask, last.norms) != (mask, norms)

    def outcomes(self, stage: str | None, tree: ParamTree) -> Outcomes | None:
        """Return what the last check of a stage says about each tensor; None before the first."""
        if stage not in self._last:
            return None
        if stage not in self._outcomes:
            from freezetui.session.outcome import Outcomes  # not needed before a check

            last = self._last[stage]
            self._outcomes[stage] = Outcomes(last.named, tree, FreezePlan(tree, last.mask))
        return self._outcomes[stage]

    def rename(self, old: str, new: str) -> None:
        """Keep what is known of a stage under its new name."""
        if old in self._last:
            self._last[new] = self._last.pop(old)
            self._outcomes = {}  # a stage of the new name may have been checked and deleted

    def move(self, moved: Callable[[bytes], bytes]) -> None:
        """Put the masks into the order of another tree."""
        self._last = {stage: last._replace(mask=moved(last.mask)) for stage, last in self._last.items()}
        self._outcomes = {}
