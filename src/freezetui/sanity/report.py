"""SanityReport: what a check found. Does not import torch."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import chain
from typing import Literal

import msgspec

Verdict = Literal["held", "moved", "inconclusive"]
Severity = Literal["error", "warning", "note"]

EXIT_CODES: dict[Verdict, int] = {"held": 0, "moved": 1, "inconclusive": 3}
#: The worst first; 2 is bad usage or input.
_WORST = (1, 2, 3)
#: A share of the step time is reported if at least this much is saved, and if it is known this well.
_MIN_SAVING, _MAX_RANGE = 0.1, 0.2
#: The key of the finding that a stage freezes nothing; after these other keys, more than that is amiss.
_NOTHING_TO_HOLD, _AMISS = "nothing_to_hold", frozenset({"none_changed", "untrainable"})
#: Keys of findings on buffers that are not of frozen modules alone, or that no state dict contains.
_NOT_OF_FROZEN = ("mixed_", "cache")


def worst(codes: Iterable[int]) -> int:
    """Return the worst of several exit codes, of `check` or `diff`; 0 if none is above it."""
    found = set(codes)
    return next((code for code in _WORST if code in found), 0)


class Finding(msgspec.Struct, frozen=True):
    """One result worth reporting, with its cause and its fix.

    Attributes:
        severity: "error" counts against the freeze, "warning" is probably not intended, "note" explains.
        code: the row in the table of causes, e.g. "M1"; see docs/findings.md.
        tensors: full names.
        message: what happened, in one line.
        fix: what to do, in one line; "" if no action is needed.
        key: which of the causes that share the code, e.g. "norm_in_eval"; see `codes`.
    """

    severity: Severity
    code: str
    tensors: tuple[str, ...]
    message: str
    fix: str
    key: str = ""


class Unchanged(msgspec.Struct, frozen=True):
    """A trainable tensor whose bits did not change.

    Attributes:
        reason: "no gradient", "zero gradient", "gradient near zero", "update below the precision" or
            "no update".
    """

    name: str
    reason: str


class FrozenPart(msgspec.Struct, frozen=True):
    """The frozen parameters: how many there are, how many are unchanged, and which changed.

    Attributes:
        held: how many are unchanged.
        moved: names of those that changed.
        unproven: names that are unchanged, but also unchanged when everything was trainable.
    """

    tensors: int
    held: int
    moved: tuple[str, ...] = ()
    unproven: tuple[str, ...] = ()


class TrainablePart(msgspec.Struct, frozen=True):
    """The trainable parameters: how many there are, how many changed, and which did not and why."""

    tensors: int
    moved: int
    still: tuple[Unchanged, ...] = ()


class BufferPart(msgspec.Struct, frozen=True):
    """The buffers with frozen parameters around them: how many are unchanged, which changed."""

    tensors: int
    held: int
    drifted: tuple[str, ...] = ()


class OwnTraining(msgspec.Struct, frozen=True):
    """What steps as in the user's script did, with its own optimizer, learning rate and weight decay.

    Attributes:
        optimizer: e.g. "AdamW(lr=1e-05, weight_decay=0.01)".
        steps: how many it took after the freeze.
        losses: one per step; None if it is not finite.
        frozen: the parameters that must stay unchanged; trainable: those that should change.
        step: the user's own training step, as named on the command line; "" if the steps were the check's.
    """

    optimizer: str
    steps: int
    losses: tuple[float | None, ...]
    frozen: FrozenPart
    trainable: TrainablePart
    step: str = ""

    @property
    def whose(self) -> str:
        """Whose steps these are, in a few words: e.g. "AdamW(lr=1e-05) on the check's own loss"."""
        where = f"in {self.step}" if self.step else "on the check's own loss"
        return f"{self.optimizer} {where}"


class Cost(msgspec.Struct, frozen=True):
    """The cost of this plan, compared with the control run, which trains everything.

    Attributes:
        step_seconds: seconds of the fastest step under this plan.
        control_step_seconds: the same with everything trainable.
        step_spread, control_step_spread: seconds from the fastest step to the second fastest of each run;
            None if that is not known, as after a single step.
        memory_bytes: gradients, optimizer state and activations saved for backward, in bytes, under this
            plan (on CUDA the allocator's peak); control_memory_bytes: with everything trainable.
        overhead_seconds: seconds spent on digests and their comparison in the run of this plan.
    """

    step_seconds: float
    control_step_seconds: float
    memory_bytes: int
    control_memory_bytes: int
    overhead_seconds: float = 0.0
    step_spread: float | None = None
    control_step_spread: float | None = None

    @property
    def step_share(self) -> float | None:
        """The share of the step time of full training, in tenths; None if it is within what noise makes."""
        if self.step_spread is None or self.control_step_spread is None or self.control_step_seconds <= 0:
            return None
        slowest = (self.step_seconds + self.step_spread) / self.control_step_seconds
        fastest = self.step_seconds / (self.control_step_seconds + self.control_step_spread)
        if slowest > 1 - _MIN_SAVING or slowest - fastest > _MAX_RANGE:
            return None
        return max(0.1, round(self.step_seconds / self.control_step_seconds, 1))


class SanityReport(msgspec.Struct, frozen=True):
    """The whole outcome; `check --json` prints exactly this.

    Attributes:
        verdict: "moved" if a frozen tensor's bits changed; "inconclusive" if nothing could be verified.
        architecture: what built the model, e.g. "torchvision:vgg16"; "" when there was no model.
        forward: False if only the bare tensors and an optimizer step were checked.
        losses: one per step, not a training curve: the check's own loss is a random projection of the
            outputs, whose sign alternates; with the user's step its loss, by the check's optimizer. None if
            it is not finite, since JSON has no such numbers.
        gradients: name -> largest absolute gradient, for trainable tensors; None if it is not finite.
        updates: name -> largest |update| / |weight| of one step, for trainable tensors, over up to 8,192 of
            their elements: of the steps in `own` where there are any, else of the check's own, which are far
            larger than a script's. None if it is not finite, as where the weights were zeros.
        seconds: duration of the whole check, without the import of torch, and without the run with everything
            trainable where several stages share it.
        stage: the stage of the config that was checked; None for the common rules alone.
        modes: how it was trained, e.g. "autocast to bfloat16, compiled"; "" as the model is.
        loop: what the steps were taken with: optimizer, data and loss, in one line; "" in older receipts.
        environment: versions of Python, torch and the library that built the model, and the GPU's name.
        own: the steps as in the user's script; None if nothing is known of it.
        files: live name -> the checkpoint's names that it is made of, where they are not the same; all other
            fields have live names.
    """

    verdict: Verdict
    architecture: str
    device: str
    steps: int
    forward: bool
    losses: tuple[float | None, ...]
    seconds: float
    frozen: FrozenPart
    trainable: TrainablePart
    buffers: BufferPart
    findings: tuple[Finding, ...] = ()
    gradients: dict[str, float | None] = {}
    updates: dict[str, float | None] = {}
    cost: Cost | None = None
    own: OwnTraining | None = None
    modes: str = ""
    loop: str = ""
    environment: dict[str, str] = {}
    input: tuple[int, ...] = ()
    files: dict[str, tuple[str, ...]] = {}
    stage: str | None = None

    def tensors_of(self, key: str) -> list[str]:
        """Return the tensors that the findings of this key name."""
        return [name for found in self.findings if found.key == key for name in found.tensors]

    def in_file_names(self) -> SanityReport:
        """Return the report with the checkpoint's names in place of the live ones."""
        if not self.files:
            return self

        def keyed(values: dict[str, float | None]) -> dict[str, float | None]:
            return {file: value for name, value in values.items() for file in files([name])}

        def files(names: Iterable[str]) -> tuple[str, ...]:
            return tuple(dict.fromkeys(chain.from_iterable(self.files.get(n, (n,)) for n in names)))

        def still(part: TrainablePart) -> TrainablePart:
            return change(
                part, still=tuple(Unchanged(f, u.reason) for u in part.still for f in files([u.name]))
            )

        def frozen(part: FrozenPart) -> FrozenPart:
            return change(part, moved=files(part.moved), unproven=files(part.unproven))

        change = msgspec.structs.replace
        own = self.own and change(
            self.own, frozen=frozen(self.own.frozen), trainable=still(self.own.trainable)
        )
        return change(
            self,
            frozen=frozen(self.frozen),
            trainable=still(self.trainable),
            own=own,
            buffers=change(self.buffers, drifted=files(self.buffers.drifted)),
            findings=tuple(change(finding, tensors=files(finding.tensors)) for finding in self.findings),
            gradients=keyed(self.gradients),
            updates=keyed(self.updates),
            files={},
        )

    @property
    def updates_by(self) -> str:
        """Which steps `updates` is of, in a few words."""
        return "the check's own large step, not your script's" if self.own is None else self.own.whose

    @property
    def changed_of_frozen(self) -> tuple[str, ...]:
        """The buffers of frozen modules that changed; those between frozen and trainable ones may change."""
        others = {n for f in self.findings if f.key.startswith(_NOT_OF_FROZEN) for n in f.tensors}
        return tuple(name for name in self.buffers.drifted if name not in others)

    @property
    def nothing_to_hold(self) -> bool:
        """Whether it is of a stage that freezes nothing, and that trains as it should."""
        keys = {finding.key for finding in self.findings}
        is_fine = self.forward and self.trainable.moved > 0 and None not in self.losses
        clean = keys.isdisjoint(_AMISS) and all(finding.severity != "error" for finding in self.findings)
        return self.verdict == "inconclusive" and _NOTHING_TO_HOLD in keys and is_fine and clean

    @property
    def exit_code(self) -> int:
        """The exit code of `check`: 0 held, 1 moved, 3 inconclusive."""
        return EXIT_CODES[self.verdict]
