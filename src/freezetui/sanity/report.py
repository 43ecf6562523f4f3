"""SanityReport: what the sanity step found. Knows no torch."""

from __future__ import annotations

from typing import Literal

import msgspec

Verdict = Literal["held", "moved", "inconclusive"]
Severity = Literal["error", "warning", "note"]

EXIT_CODES: dict[Verdict, int] = {"held": 0, "moved": 1, "inconclusive": 3}


class Finding(msgspec.Struct, frozen=True):
    """One thing worth telling, with its cause and its fix.

    Attributes:
        severity: "error" speaks against the freeze, "warning" is probably not meant, "note" explains.
        code: the row in the table of causes, e.g. "M1"; see the README.
        tensors: full names concerned.
        message: what happened, in one line.
        fix: what to do, in one line.
    """

    severity: Severity
    code: str
    tensors: tuple[str, ...]
    message: str
    fix: str


class Unchanged(msgspec.Struct, frozen=True):
    """A trainable tensor whose bits did not change.

    Attributes:
        reason: "no gradient", "zero gradient", "gradient near zero" or "update below the precision".
    """

    name: str
    reason: str


class FrozenPart(msgspec.Struct, frozen=True):
    """The frozen parameters: how many, how many held, which moved, and for which holding proves nothing.

    Attributes:
        unproven: names that held, but did not move either when everything was trainable.
    """

    tensors: int
    held: int
    moved: tuple[str, ...] = ()
    unproven: tuple[str, ...] = ()


class TrainablePart(msgspec.Struct, frozen=True):
    """The trainable parameters: how many, how many moved, which stood still and why."""

    tensors: int
    moved: int
    still: tuple[Unchanged, ...] = ()


class BufferPart(msgspec.Struct, frozen=True):
    """The buffers of modules whose parameters are all frozen: how many held, which drifted."""

    tensors: int
    held: int
    drifted: tuple[str, ...] = ()


class Cost(msgspec.Struct, frozen=True):
    """This plan against the control run, which trains everything.

    Attributes:
        step_seconds: seconds of the fastest step under this plan.
        control_step_seconds: the same with everything trainable.
        memory_bytes: gradients, optimizer state and activations kept for backward, in bytes, under this
            plan (on CUDA the allocator's peak); control_memory_bytes: with everything trainable.
        overhead_seconds: seconds spent on digests and their comparison in this plan's run.
    """

    step_seconds: float
    control_step_seconds: float
    memory_bytes: int
    control_memory_bytes: int
    overhead_seconds: float = 0.0


class SanityReport(msgspec.Struct, frozen=True):
    """The whole outcome; `check --json` prints exactly this.

    Attributes:
        verdict: "moved" when a frozen tensor's bits changed; "inconclusive" when nothing could be proved.
        architecture: what built the model, e.g. "torchvision:vgg16"; "" when there was no model.
        forward: False when only the bare tensors and an optimizer step were checked.
        losses: one per step; gradients: name -> largest absolute gradient seen, for trainable tensors;
            None where it is not finite, which JSON cannot say.
        seconds: of the whole check, the import of torch left out.
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
    cost: Cost | None = None
    input: tuple[int, ...] = ()

    @property
    def exit_code(self) -> int:
        """0 held, 1 moved, 3 inconclusive."""
        return EXIT_CODES[self.verdict]
