"""Checks: the last check of every stage, and what it says about each tensor."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from freezetui.freeze.plan import FreezePlan
from freezetui.freeze.tree import ParamTree
from freezetui.sanity.report import SanityReport

if TYPE_CHECKING:
    from freezetui.session.outcome import Outcomes


class Checks:
    """The last check of every stage; None stands for the common rules."""

    def __init__(self) -> None:
        self._last: dict[str | None, tuple[SanityReport, bytes]] = {}
        self._live: dict[str | None, SanityReport] = {}
        self._norms: dict[str | None, str] = {}
        self._outcomes: dict[str | None, Outcomes] = {}
        self._when: dict[str | None, str] = {}

    def store(self, report: SanityReport, mask: bytes, norms: str, when: str = "") -> None:
        """Store the report of a check of the plan `mask`, as the engine sent it.

        Args:
            norms: the setting `norm_statistics` that was checked.
            when: the time of the check, if it was not in this session.
        """
        self._when[report.stage] = when
        self._norms[report.stage] = norms
        self._live[report.stage] = report
        self._last[report.stage] = report.in_file_names(), mask
        self._outcomes.pop(report.stage, None)

    def clear(self) -> None:
        """Forget all, as after another architecture was named."""
        self._last, self._live, self._outcomes = {}, {}, {}

    def report(self, stage: str | None) -> SanityReport | None:
        """Return the report of the last check of a stage, with the checkpoint's names; None before it."""
        found = self._last.get(stage)
        return None if found is None else found[0]

    def live_report(self, stage: str | None) -> SanityReport | None:
        """Return the same report with the names of the live model."""
        return self._live.get(stage)

    def when(self, stage: str | None) -> str:
        """Return the time of the last check of a stage, if it was not in this session; "" else."""
        return self._when.get(stage, "")

    def is_stale(self, stage: str | None, mask: bytes, norms: str) -> bool:
        """Whether the last check of a stage was of another plan than `mask`, or with other `norms`."""
        return stage in self._last and (self._last[stage][1], self._norms[stage]) != (mask, norms)

    def outcomes(self, stage: str | None, tree: ParamTree) -> Outcomes | None:
        """Return what the last check of a stage says about each tensor; None before the first."""
        if stage not in self._last:
            return None
        if stage not in self._outcomes:
            from freezetui.session.outcome import Outcomes  # not needed before a check

            report, mask = self._last[stage]
            self._outcomes[stage] = Outcomes(report, tree, FreezePlan(tree, mask))
        return self._outcomes[stage]

    def rename(self, old: str, new: str) -> None:
        """Keep what is known of a stage under its new name."""
        if old in self._last:
            self._last[new], self._live[new] = self._last.pop(old), self._live.pop(old)
            self._norms[new], self._when[new] = self._norms.pop(old), self._when.pop(old)
            self._outcomes.pop(old, None)

    def move(self, moved: Callable[[bytes], bytes]) -> None:
        """Put the masks into the order of another tree."""
        self._last = {stage: (report, moved(mask)) for stage, (report, mask) in self._last.items()}
        self._outcomes = {}
