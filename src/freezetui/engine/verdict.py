"""The verdict: what proves that a freeze holds, and what is missing for that."""

from __future__ import annotations

from freezetui.engine.model_under_test import ModelUnderTest
from freezetui.engine.not_finite import Source
from freezetui.engine.own_result import OwnRun
from freezetui.engine.run import RunResult
from freezetui.sanity.codes import finding
from freezetui.sanity.report import Finding, Verdict


def without_evidence(
    result: RunResult, control: RunResult | None
) -> tuple[tuple[str, ...], dict[str, tuple[str, ...]]]:
    """Return the frozen parameters that do not change when trainable either, and why where it is known.

    Without a gradient, behind no_grad or detach, or where the model's own code freezes it, too, only the flag
    can be proved: it is False after the steps, and the optimizer, which has the parameter, left it alone.
    """
    if control is None:
        return (), {}
    different = control.moved | result.moved | result.unfrozen | result.empty
    same = [n for n in result.frozen if n not in different]
    flagged = [n for n in same if n not in control.gradients and result.final_flags.get(n) is False]
    unproven = set(same) - set(flagged)
    return tuple(n for n in same if n in unproven), {
        "frozen_anyway": tuple(n for n in flagged if control.final_flags.get(n) is False),
        "cut_off": tuple(n for n in flagged if control.final_flags.get(n) is not False),
    }


def unproven_findings(
    under_test: ModelUnderTest, result: RunResult, unproven: tuple[str, ...], stage: str | None = None
) -> list[Finding]:
    """Return what this check could not prove, and how it could.

    Args:
        stage: which one was checked: one that trains everything is meant to; None for the common rules.
    """
    findings = []
    if under_test.batch is None:
        key = "no_input" if under_test.spec.architecture else "no_model"
        findings.append(finding(key, reason=under_test.reason, suggestion=under_test.suggestion))
    if not result.planned:
        findings.append(finding("untrainable"))
    elif not result.trainable:
        findings.append(finding("all_frozen"))
    elif not result.frozen:
        findings.append(finding("none_frozen" if stage is None else "nothing_to_hold"))
    if result.trainable and not result.trained:
        findings.append(finding("none_changed"))
    if not result.finite:
        findings.append((result.not_finite or Source()).finding())
    if unproven:
        findings.append(finding("unproven", unproven))
    return findings


def verdict(
    under_test: ModelUnderTest, result: RunResult, findings: list[Finding], proven: bool, own: OwnRun | None
) -> Verdict:
    """Return "held" only with a forward pass, proof for a frozen tensor, and one that a gradient changed."""
    frozen_moved = bool(result.changed_frozen) or (own is not None and not own.moved.isdisjoint(own.frozen))
    if frozen_moved or any(f.severity == "error" and f.code == "M2" for f in findings):
        return "moved"
    clean = not any(finding.severity == "error" for finding in findings)
    if under_test.batch is not None and proven and result.trained and result.finite and clean:
        return "held"
    return "inconclusive"
