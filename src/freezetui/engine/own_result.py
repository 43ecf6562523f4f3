"""What steps as the user's script takes them have shown: the report's part, and its findings."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

from freezetui.engine.phases import ONCE
from freezetui.engine.precision import Lost
from freezetui.engine.why_unchanged import NO_GRADIENT, NO_UPDATE, NOISE, PRECISION, ZERO
from freezetui.sanity.codes import finding
from freezetui.sanity.report import Finding, FrozenPart, OwnTraining, TrainablePart, Unchanged

#: From this share of lost elements on a tensor is named that changes in part.
_MIN_SHARE = 0.5


@dataclass(frozen=True)
class OwnRun:
    """What the steps did.

    Attributes:
        optimizer: as a script writes it.
        steps: how many it has taken since the freeze.
        losses: one per step; empty without a forward pass.
        gradients: trainable parameter -> largest absolute gradient; absent if it never received one.
        updates: trainable parameter -> largest |update| / |weight| of a step; absent without a gradient.
        moved: the parameters whose bits changed after the freeze.
        step: the user's own training step; "" without.
        thawed: the frozen parameters that are trainable afterwards.
        causes: frozen parameter that the optimizer moved -> the finding's key.
        lost: trainable parameter -> how far its updates were lost.
    """

    optimizer: str
    steps: int
    losses: tuple[float, ...]
    frozen: tuple[str, ...]
    trainable: tuple[str, ...]
    gradients: dict[str, float]
    updates: dict[str, float]
    moved: frozenset[str]
    step: str
    thawed: frozenset[str]
    causes: dict[str, str]
    lost: dict[str, Lost]

    @property
    def finite(self) -> bool:
        """Whether every loss was a finite number."""
        return all(map(math.isfinite, self.losses))

    @property
    def part(self) -> OwnTraining:
        """The report's part."""
        moved = tuple(name for name in self.frozen if name in self.moved)
        still = tuple(
            Unchanged(name, self._reason(name)) for name in self.trainable if not self._trains(name)
        )
        return OwnTraining(
            self.optimizer,
            self.steps,
            tuple(loss if math.isfinite(loss) else None for loss in self.losses),
            FrozenPart(len(self.frozen), len(self.frozen) - len(moved), moved),
            TrainablePart(len(self.trainable), len(self.trainable) - len(still), still),
            self.step,
        )

    def findings(self, known: Iterable[str]) -> list[Finding]:
        """Return one finding per cause.

        Args:
            known: frozen parameters whose movement is explained already, by the model's own code.
        """
        found = [] if self.finite else [finding("own_not_finite", optimizer=self.optimizer)]
        by_cause: dict[str, list[str]] = defaultdict(list)
        for name, key in self.causes.items():
            if name not in known:
                by_cause[key].append(name)
        rest = [n for n in self.frozen if n in self.moved and n not in self.causes and n not in known]
        if thawed := [name for name in rest if name in self.thawed]:
            found.append(finding("unfrozen_by_model", thawed))
        if once := [name for name in rest if name not in self.thawed]:
            found.append(finding("writes_weight", once, phase=ONCE))
        found += [
            finding(key, names, optimizer=self.optimizer, phase="optimizer's hook")
            for key, names in by_cause.items()
        ]
        return found + [self._loss_of_updates(key, names) for key, names in self._losses().items()]

    @property
    def losing(self) -> frozenset[str]:
        """The trainable parameters that a finding names whose updates are too small for their dtype."""
        losses = self._losses()
        return frozenset((*losses["lost_update"], *losses["lost_in_part"]))

    def _trains(self, name: str) -> bool:
        return name in self.moved and bool(self.gradients.get(name))

    def _reason(self, name: str) -> str:
        gradient, lost = self.gradients.get(name), self.lost.get(name)
        if not gradient:
            return NO_GRADIENT if gradient is None else ZERO
        return PRECISION if lost is not None and lost.too_small else NO_UPDATE

    def _losses(self) -> dict[str, list[str]]:
        """Return the trainable parameters that are not or only partly updated, by their finding's key."""
        by_key: dict[str, list[str]] = defaultdict(list)
        if not self.finite:
            return by_key
        noise = NOISE * max(self.gradients.values(), default=0.0)
        for name in self.trainable:
            lost = self.lost.get(name)
            if self.gradients.get(name, 0.0) <= noise:
                continue
            if name not in self.moved:
                too_small = lost is not None and lost.too_small
                by_key["lost_update" if too_small else "no_update"].append(name)
            elif lost is not None and lost.share >= _MIN_SHARE and lost.update < lost.spacing:
                by_key["lost_in_part"].append(name)
        return by_key

    def _loss_of_updates(self, key: str, names: list[str]) -> Finding:
        lost = [self.lost[name] for name in names if name in self.lost]
        if not lost:
            return finding(key, names, optimizer=self.optimizer)
        worst = max(lost, key=lambda each: each.update)
        return finding(
            key,
            names,
            optimizer=self.optimizer,
            update=f"{worst.update:.2g}",
            spacing=f"{worst.spacing:.2g}",
            dtype=worst.dtype,
            share=f"up to {max(each.share for each in lost):.0%}",
        )
