"""A tie that the model has and the file has not: frozen under one name, trained under another."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from torch import nn

from freezetui.engine.run import RunResult
from freezetui.sanity.report import Finding
from freezetui.training.names import storage_of


def check_model_ties(
    model: nn.Module, plan: RunResult, wanted: Mapping[str, bool]
) -> tuple[RunResult, list[Finding]]:
    """The run as the plan meant it, and a finding on the names that a tie makes train.

    Args:
        wanted: parameter of the file -> whether it was to train.
    """
    names: dict[object, list[str]] = {}
    for name, parameter in model.named_parameters(remove_duplicate=False):
        names.setdefault((storage_of(parameter), parameter.shape), []).append(name)
    trains = dict(plan.trains)
    against = []
    for tied in names.values():
        frozen = [name for name in tied if wanted.get(name) is False]
        training = [name for name in tied if wanted.get(name)]
        if frozen and training:
            against += [*frozen, *training]
            if plan.flags.get(frozen[0]):
                trains |= dict.fromkeys(frozen, False) | dict.fromkeys(training, True)
    if not against:
        return plan, []
    finding = Finding(
        "error",
        "M17",
        tuple(against),
        "one tensor in the model, copies in the file: frozen under one name, to train under another",
        "freeze all names of a tie, or train all of them",
    )
    return replace(plan, trains=trains), [finding]
