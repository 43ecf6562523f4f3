"""The sanity step as a whole: the plan's run, the control run, the verdict."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from time import perf_counter

from freezetui.checkpoint.open import open_checkpoint
from freezetui.checkpoint.types import Checkpoint
from freezetui.config.schema import ConfigData
from freezetui.engine.device import choose_device, is_out_of_memory
from freezetui.engine.flags import flags_set_back, frozen_by_constructor, stray_flags
from freezetui.engine.model_under_test import ModelUnderTest, load_model_under_test
from freezetui.engine.run import RunResult, run
from freezetui.engine.ties import check_model_ties
from freezetui.engine.why_moved import why_drifted, why_moved
from freezetui.engine.why_unchanged import stills, why_still
from freezetui.errors import ModelError
from freezetui.freeze.rules import resolve
from freezetui.freeze.tree import ParamTree
from freezetui.sanity.protocol import CheckRequest, Progress
from freezetui.sanity.report import (
    BufferPart,
    Cost,
    Finding,
    FrozenPart,
    SanityReport,
    TrainablePart,
    Unchanged,
    Verdict,
)

Report = Callable[[Progress], None]

_LOADING = {
    "build": "building the model",
    "input": "finding an input",
    "load": "loading the weights",
}


def check(request: CheckRequest, progress: Report = lambda event: None) -> SanityReport:
    """Run the sanity step that `request` asks for.

    Raises:
        FreezeTuiError: the file, the model or the choice does not allow it.
    """
    started = perf_counter()
    device = choose_device(request.device)
    checkpoint = open_checkpoint([request.checkpoint, *request.more], key=request.key)
    under_test = load_model_under_test(
        request, checkpoint, device, lambda phase: progress(Progress(phase, 0, 0, _LOADING[phase]))
    )
    wanted = _wanted(request, checkpoint)
    return check_model(under_test, request.config, request.steps, request.control, progress, started, wanted)


def check_model(
    under_test: ModelUnderTest,
    config: ConfigData,
    steps: int = 3,
    control: bool = True,
    progress: Report = lambda event: None,
    started: float | None = None,
    wanted: Mapping[str, bool] = {},
) -> SanityReport:
    """Train a loaded model a few steps under `config` and say what held; the model is changed.

    The plan's run comes first, on the checkpoint's own weights. What it leaves frozen is then still as in
    the file, so the control run needs no second loading to tell whether it would have moved.

    Args:
        wanted: parameter of the file -> whether the plan trains it; the model may tie what the file does not.

    Raises:
        ConfigError, PatternError: the config does not fit the model.
        ModelError: the model's own code raised.
    """
    started = perf_counter() if started is None else started
    findings = frozen_by_constructor(under_test.model) + stray_flags(under_test.model)

    def tell(phase: str, text: str) -> Callable[[int], None]:
        return lambda i: progress(Progress(phase, i, steps, f"{text} {i + 1} of {steps}"))

    plan = run(under_test, config, steps, tell("step", "step"))
    findings += why_moved(under_test, plan) + why_drifted(under_test.model, plan) + flags_set_back(plan)
    plan, against = check_model_ties(under_test.model, plan, wanted)
    findings += against
    full: RunResult | None = None
    if control and plan.frozen and plan.finite and under_test.batch is not None:
        full, told = _control(under_test, steps, tell("control", "control run: step"))
        findings += told
    progress(Progress("compare", steps, steps, "comparing"))
    still = stills(plan)
    if plan.trainable:
        findings += why_still(under_test.model, plan, full, still)
    unproven = tuple(n for n in plan.frozen if full and n not in full.moved and n not in plan.moved)
    findings += _limits(under_test, plan, unproven)
    return _report(under_test, plan, full, findings, still, unproven, steps, perf_counter() - started)


def _wanted(request: CheckRequest, checkpoint: Checkpoint) -> dict[str, bool]:
    """What the rules say of the file's own parameters."""
    tree = ParamTree(checkpoint.tensors)
    trains = resolve(request.rules, tree, request.default)
    pairs = zip(tree.tensors, trains, strict=True)
    return {tensor.name: bool(train) for tensor, train in pairs if not tensor.untrainable_reason}


def _control(
    under_test: ModelUnderTest, steps: int, progress: Callable[[int], None]
) -> tuple[RunResult | None, list[Finding]]:
    """The run with everything trainable; None and a note where it cannot be done."""
    try:
        return run(under_test, ConfigData(norm_statistics="update"), steps, progress), []
    except (ModelError, RuntimeError, MemoryError) as error:
        if isinstance(error, ModelError):
            reason = f"fails with everything trainable ({error.message})"
        elif is_out_of_memory(error):
            reason = "runs out of memory with everything trainable"
        else:
            raise
    under_test.model.zero_grad()
    message = f"no control run: the model {reason}, so it is not known what would have moved"
    return None, [
        Finding("note", "N3", (), message, "nothing: the frozen tensors were compared all the same")
    ]


def _limits(under_test: ModelUnderTest, plan: RunResult, unproven: tuple[str, ...]) -> list[Finding]:
    """What this check could not prove, and how it could."""
    findings = []
    if under_test.batch is None:
        findings.append(
            Finding(
                "warning",
                "N1",
                (),
                f"no forward pass: {under_test.reason}; only an optimizer step on the tensors was checked",
                "name the shape of one example: --input 3,224,224 (key o in the terminal)"
                if under_test.architecture
                else "name what builds the model: --architecture SPEC (key o in the terminal)",
            )
        )
    if not plan.trainable:
        findings.append(
            Finding("warning", "S8", (), "everything is frozen: there is nothing to train", "train something")
        )
    if not plan.frozen:
        findings.append(
            Finding("note", "N5", (), "nothing is frozen: there is nothing to prove", "freeze something")
        )
    if not plan.finite:
        findings.append(
            Finding(
                "warning",
                "N4",
                (),
                "the loss is not a finite number",
                "look for NaN or infinite weights in the checkpoint, or try --device cpu",
            )
        )
    if unproven:
        findings.append(
            Finding(
                "note",
                "N6",
                unproven,
                "frozen, and held, but did not move either with everything trainable: that proves nothing",
                "nothing, where this part is not used in a forward pass",
            )
        )
    return findings


def _verdict(under_test: ModelUnderTest, plan: RunResult, findings: list[Finding], proven: bool) -> Verdict:
    """ "held" needs a forward, something frozen that would have moved, and something that did move."""
    frozen_moved = any(name in plan.moved for name in plan.frozen)
    if frozen_moved or any(f.severity == "error" and f.code == "M2" for f in findings):
        return "moved"
    moved = any(name in plan.moved for name in plan.trainable)
    clean = not any(finding.severity == "error" for finding in findings)
    if under_test.batch is not None and proven and moved and plan.finite and clean:
        return "held"
    return "inconclusive"


def _report(
    under_test: ModelUnderTest,
    plan: RunResult,
    control: RunResult | None,
    findings: list[Finding],
    still: tuple[Unchanged, ...],
    unproven: tuple[str, ...],
    steps: int,
    seconds: float,
) -> SanityReport:
    frozen, trainable, buffers = plan.frozen, plan.trainable, plan.frozen_buffers
    moved = tuple(name for name in frozen if name in plan.moved)
    drifted = tuple(name for name in buffers if name in plan.moved)
    order = {"error": 0, "warning": 1, "note": 2}
    return SanityReport(
        verdict=_verdict(under_test, plan, findings, len(unproven) < len(frozen)),
        architecture=under_test.architecture,
        device=str(under_test.device),
        steps=steps,
        forward=under_test.batch is not None,
        losses=tuple(map(_finite, plan.losses)),
        seconds=seconds,
        frozen=FrozenPart(len(frozen), len(frozen) - len(moved), moved, unproven),
        trainable=TrainablePart(len(trainable), len(trainable) - len(still), still),
        buffers=BufferPart(len(buffers), len(buffers) - len(drifted), drifted),
        findings=tuple(sorted(findings, key=lambda finding: order[finding.severity])),
        gradients={name: _finite(plan.gradients[name]) for name in trainable if name in plan.gradients},
        cost=_cost(plan, control),
        input=under_test.input,
    )


def _finite(number: float) -> float | None:
    return number if math.isfinite(number) else None


def _cost(plan: RunResult, control: RunResult | None) -> Cost | None:
    if control is None:
        return None
    return Cost(
        step_seconds=plan.step_seconds,
        control_step_seconds=control.step_seconds,
        memory_bytes=plan.memory_bytes,
        control_memory_bytes=control.memory_bytes,
        overhead_seconds=plan.overhead_seconds,
    )
