"""Checks: the last check of every stage, and what it says about each tensor."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from freezetui.freeze.plan import FreezePlan
from freezetui.freeze.tree import ParamTree
from freezetui.sanity.report import SanityReport
from freezetui.session.stage_history import Settings

if TYPE_CHECKING:
    from freezetui.session.outcome import Outcomes


class _Last(NamedTuple):
    """The last check of one stage.

    Attributes:
        live: the report as the engine sent it; named: with the checkpoint's names.
        mask, settings: what was checked; see `Checks.store`.
        when: the time of the check, if it was not in this session.
        kept: whether a receipt of it has been saved.
    """

    live: SanityReport
    named: SanityReport
    mask: bytes
    settings: Settings
    when: str
    kept: bool


#: What a check of a stage is about: its mask, and the settings of the config.
Checked = tuple[bytes, Settings]


class Checks:
    """The last check of every stage; None stands for the common rules.

    A check is of a mask and of settings, not of a name: that of another stage counts where both are the same.

    Args:
        now: returns what a check of a stage would be about now.

    Attributes:
        failure: why the newest check ended without a report; "" if it did not.
    """

    def __init__(self, now: Callable[[str | None], Checked]) -> None:
        self._now = now
        self.failure = ""
        self._last: dict[str | None, _Last] = {}
        self._outcomes: dict[str | None, tuple[_Last, Outcomes]] = {}

    def store(self, report: SanityReport, mask: bytes, settings: Settings, when: str = "") -> None:
        """Store the report of a check of the plan `mask`, as the engine sent it.

        Args:
            settings: which were checked.
            when: the time of the check, if it was not in this session.
        """
        self.failure = ""
        self._last.pop(report.stage, None)  # the newest comes last
        self._last[report.stage] = _Last(report, report.in_file_names(), mask, settings, when, bool(when))

    def clear(self) -> None:
        """Forget all, as after another architecture was named."""
        self._last, self._outcomes, self.failure = {}, {}, ""

    def has(self, stage: str | None) -> bool:
        """Whether a stage was checked under its own name."""
        return stage in self._last

    def report(self, stage: str | None) -> SanityReport | None:
        """Return the report of the last check of a stage, with the checkpoint's names; None before it."""
        last = self._of(stage)
        return None if last is None else _named(last.named, stage)

    def live_report(self, stage: str | None) -> SanityReport | None:
        """Return the same report with the names of the live model."""
        last = self._of(stage)
        return None if last is None else _named(last.live, stage)

    def when(self, stage: str | None) -> str:
        """Return the time of the last check of a stage, if it was not in this session; "" else."""
        last = self._of(stage)
        return "" if last is None else last.when

    def is_stale(self, stage: str | None) -> bool:
        """Whether the last check of a stage was of another plan than now, or with other settings."""
        last = self._of(stage)
        return last is not None and (last.mask, last.settings) != self._now(stage)

    def is_to_keep(self, stage: str | None) -> bool:
        """Whether the stage's last check held, is of what the stage is now, and is in no receipt yet."""
        last = self._of(stage)
        return last is not None and last.live.verdict == "held" and not last.kept and not self.is_stale(stage)

    def keep(self, stage: str | None) -> None:
        """Remember that the stage's last check is in a receipt."""
        last = self._of(stage)
        if last is not None:
            kept = last._replace(kept=True)
            self._last = {name: kept if each is last else each for name, each in self._last.items()}

    def outcomes(self, stage: str | None, tree: ParamTree) -> Outcomes | None:
        """Return what the last check of a stage says about each tensor; None before the first."""
        last = self._of(stage)
        if last is None:
            return None
        if stage not in self._outcomes or self._outcomes[stage][0].named is not last.named:
            from freezetui.session.outcome import Outcomes  # not needed before a check

            self._outcomes[stage] = last, Outcomes(last.named, tree, FreezePlan(tree, last.mask))
        return self._outcomes[stage][1]

    def rename(self, old: str, new: str) -> None:
        """Keep what is known of a stage under its new name; what was known under that has the old one."""
        names = {old: new, new: old}
        self._last = {names.get(stage or "", stage): last for stage, last in self._last.items()}

    def move(self, moved: Callable[[bytes], bytes]) -> None:
        """Put the masks into the order of another tree."""
        self._last = {stage: last._replace(mask=moved(last.mask)) for stage, last in self._last.items()}
        self._outcomes = {}

    def _of(self, stage: str | None) -> _Last | None:
        """Return the last check of what the stage is now, else the stage's own last one."""
        own = self._last.get(stage)
        if not self._last:
            return None
        now = self._now(stage)
        if own is not None and (own.mask, own.settings) == now:
            return own
        same = (last for last in reversed(self._last.values()) if (last.mask, last.settings) == now)
        return next(same, own)


def _named(report: SanityReport, stage: str | None) -> SanityReport:
    """Return the report of a check of these very flags as one of this stage."""
    return report if report.stage == stage else msgspec.structs.replace(report, stage=stage)
