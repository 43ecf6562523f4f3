"""Runs a whole check: the plan's run, the control run, the verdict."""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from time import perf_counter

import msgspec

from freezetui.checkpoint.open import open_checkpoint
from freezetui.checkpoint.sources.urls import is_url
from freezetui.checkpoint.types import Checkpoint
from freezetui.config.schema import ConfigData, fingerprint
from freezetui.engine.control import Control, control_run
from freezetui.engine.described_loop import described_loop
from freezetui.engine.device import choose_device
from freezetui.engine.environment import environment
from freezetui.engine.flags import (
    flags_set_back,
    frozen_by_constructor,
    random_in_frozen,
    replaced_or_gone,
    stray_flags,
    thawed,
)
from freezetui.engine.model_under_test import ModelUnderTest, load_model_under_test
from freezetui.engine.modes import described_modes, in_modes
from freezetui.engine.names import file_names, what_differs
from freezetui.engine.own_result import OwnRun
from freezetui.engine.own_training import Kept, own_run
from freezetui.engine.run import RunResult, following, looked_further, run
from freezetui.engine.ties import frozen_by_ties
from freezetui.engine.user_step import in_step
from freezetui.engine.verdict import unproven_findings, verdict, without_evidence
from freezetui.engine.why_drifted import why_drifted
from freezetui.engine.why_moved import why_moved
from freezetui.engine.why_unchanged import explain_unchanged, unchanged_tensors
from freezetui.errors import CheckpointError
from freezetui.sanity.codes import finding
from freezetui.sanity.protocol import CheckRequest, Progress
from freezetui.sanity.report import (
    BufferPart,
    Cost,
    Finding,
    FrozenPart,
    SanityReport,
    TrainablePart,
    Unchanged,
)
from freezetui.sanity.training import Training

_CHANGED = "{} has changed since it was opened."
Report = Callable[[Progress], None]

_STEPS = {"step": "step", "control": "all trainable: step", "own": "as your script: step"}
_LOADING = {
    "build": "building the model",
    "input": "finding an input",
    "load": "loading the weights",
}


def check(
    request: CheckRequest, progress: Report = lambda event: None, known: Control | None = None
) -> SanityReport:
    """Run the check of one stage that `request` asks for.

    Args:
        known: the control run of the same request; None if it has not been made.

    Raises:
        FreezeTuiError: the file, the model or the plan does not allow it.
    """
    started = perf_counter()
    under_test = _loaded(request, progress)
    report = check_model(
        under_test,
        request.config,
        request.steps,
        request.control,
        progress,
        started,
        request.stage,
        request.training,
        known,
    )
    around = environment(report.architecture, under_test.device)
    return msgspec.structs.replace(report, stage=request.stage, environment=around)


def control_of(request: CheckRequest, progress: Report = lambda event: None) -> Control:
    """Train everything for the request's steps, from the checkpoint's own weights: the same for every stage.

    Raises:
        FreezeTuiError: the file or the model does not allow it.
    """
    if not request.control or not request.model.architecture:
        return Control()
    under_test = in_modes(_loaded(request, progress), request.training)
    return control_run(under_test, request.steps, _steps(progress, "control", request.steps))


def _loaded(request: CheckRequest, progress: Report) -> ModelUnderTest:
    device, checkpoint = choose_device(request.device), _opened(request)
    return load_model_under_test(
        request, checkpoint, device, lambda phase: progress(Progress(phase, 0, 0, _LOADING[phase]))
    )


def _steps(progress: Report, phase: str, steps: int) -> Callable[[int], None]:
    """Return what reports a step of this phase as it begins."""
    return lambda i: progress(Progress(phase, i, steps, f"{_STEPS[phase]} {i + 1} of {steps}"))


def _opened(request: CheckRequest) -> Checkpoint:
    """Return the request's checkpoint, as its UI has opened it; found again wherever model code changes to.

    Raises:
        CheckpointError: it cannot be read, or its names or shapes are different now.
    """
    expected = request.config.model.fingerprint
    given = [request.checkpoint, *request.more]
    try:
        checkpoint = open_checkpoint(
            [each if is_url(each) else os.path.abspath(each) for each in given],  # noqa: PTH100 (keeps links)
            key=request.key,
        )
    except CheckpointError as error:
        if not expected:
            raise
        raise CheckpointError(f"{_CHANGED.format(', '.join(given))} {error.message}", error.hint) from None
    if expected and fingerprint(checkpoint.tensors) != expected:
        raise CheckpointError(_CHANGED.format(", ".join(given)), "Open it again to see its names and shapes.")
    return msgspec.structs.replace(checkpoint, source=", ".join(given))


def check_model(
    under_test: ModelUnderTest,
    config: ConfigData,
    steps: int = 3,
    control: bool = True,
    progress: Report = lambda event: None,
    started: float | None = None,
    stage: str | None = None,
    training: Training = Training(),
    known: Control | None = None,
) -> SanityReport:
    """Train a loaded model for a few steps under `config` and report what changed; modifies the model.

    The plan's run comes first, on the checkpoint's own weights. What it leaves frozen is then still as in
    the file, so the control run needs no second loading to tell whether it would have changed.

    Args:
        control: whether to run with everything trainable, too; known: what that run did, if it was made.

    Raises:
        ConfigError, PatternError: the config does not fit the model; `apply` refuses it with the same words.
        ModelError: the model's own code raised.
    """
    started = perf_counter() if started is None else started
    under_test = in_modes(under_test, training)
    constructed = frozen_by_constructor(under_test.model)
    findings = stray_flags(under_test.model)

    kept = Kept(under_test.model) if training.own else None
    result = run(under_test, following(config, stage), steps, _steps(progress, "step", steps))
    result = looked_further(under_test, result)
    findings += why_moved(under_test, result) + why_drifted(under_test.model, result) + flags_set_back(result)
    findings += thawed(constructed, result, under_test.names) + replaced_or_gone(result)
    findings += what_differs(under_test.names, result.trainable)
    if result.further.failed:
        findings.append(finding("not_looked_further", mode=" and ".join(result.further.failed)))
    findings += random_in_frozen(under_test.model, result)
    findings += frozen_by_ties(under_test, config, stage, result.frozen)
    full: RunResult | None = None
    if control and result.frozen and result.finite and under_test.batch is not None:
        known = known or control_run(under_test, steps, _steps(progress, "control", steps))
        full = known.result
        findings += known.findings
    own: OwnRun | None = None
    if kept is not None and not result.vanished:
        kept.give_back()  # the user's steps begin with the checkpoint's own weights, too
        own = own_run(under_test, following(config, stage), training, steps, _steps(progress, "own", steps))
        findings += own.findings(known=result.moved | result.unfrozen)
    progress(Progress("compare", steps, steps, "comparing"))
    unchanged = unchanged_tensors(result)
    losing = own.losing if own is not None else frozenset()
    findings += explain_unchanged(under_test, result, full, unchanged, losing)
    unproven, by_flag = without_evidence(result, full)
    findings += unproven_findings(under_test, result, unproven, stage)
    findings += [finding(key, names) for key, names in by_flag.items() if names]
    if training.step:
        findings = list(map(in_step, findings))
    seconds = perf_counter() - started
    report = _report(under_test, result, full, findings, unchanged, unproven, steps, seconds, own)
    return msgspec.structs.replace(report, modes=described_modes(training), loop=described_loop(under_test))


def _report(
    under_test: ModelUnderTest,
    result: RunResult,
    control: RunResult | None,
    findings: list[Finding],
    unchanged: tuple[Unchanged, ...],
    unproven: tuple[str, ...],
    steps: int,
    seconds: float,
    own: OwnRun | None,
) -> SanityReport:
    frozen, trainable, buffers = result.frozen, result.trainable, result.frozen_buffers
    everywhere = {*result.changed_frozen, *(own.moved if own is not None else ())}
    moved = tuple(name for name in frozen if name in everywhere)
    drifted = tuple(result.drifted)
    order = {"error": 0, "warning": 1, "note": 2}
    updates = result.updates if own is None else own.updates
    return SanityReport(
        verdict=verdict(under_test, result, findings, len(unproven) < len(frozen), own),
        architecture=under_test.spec.architecture,
        device=str(under_test.device),
        steps=steps,
        forward=under_test.batch is not None,
        losses=tuple(map(_finite, result.losses)),
        seconds=seconds,
        frozen=FrozenPart(len(frozen), len(frozen) - len(moved), moved, unproven),
        trainable=TrainablePart(len(trainable), len(trainable) - len(unchanged), unchanged),
        buffers=BufferPart(len(buffers), len(buffers) - len(drifted), drifted),
        findings=tuple(sorted(findings, key=lambda finding: order[finding.severity])),
        gradients={name: _finite(result.gradients[name]) for name in trainable if name in result.gradients},
        updates={name: _finite(updates[name]) for name in trainable if name in updates},
        cost=_cost(result, control),
        own=own.part if own is not None else None,
        input=under_test.spec.input,
        files=file_names(under_test.names),
    )


def _finite(number: float) -> float | None:
    return number if math.isfinite(number) else None


def _cost(result: RunResult, control: RunResult | None) -> Cost | None:
    if control is None:
        return None
    return Cost(
        step_seconds=result.step_seconds,
        control_step_seconds=control.step_seconds,
        memory_bytes=result.memory_bytes,
        control_memory_bytes=control.memory_bytes,
        overhead_seconds=result.overhead_seconds,
        step_spread=result.step_spread,
        control_step_spread=control.step_spread,
    )
