"""Finds ties of the model that the file lacks: frozen under one name, trainable under another."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from torch import nn

from freezetui.engine.run import RunResult
from freezetui.sanity.codes import finding
from freezetui.sanity.report import Finding
from freezetui.training.names import storage_of


def check_model_ties(
    model: nn.Module, result: RunResult, file_plan: Mapping[str, bool]
) -> tuple[RunResult, list[Finding]]:
    """Return the run as the plan intended it, and a finding on the names that a tie makes trainable.

    Args:
        file_plan: parameter of the file -> whether the plan trains it.
    """
    names: dict[object, list[str]] = {}
    for name, parameter in model.named_parameters(remove_duplicate=False):
        names.setdefault((storage_of(parameter), parameter.shape), []).append(name)
    planned = dict(result.planned)
    against = []
    for tied in names.values():
        frozen = [name for name in tied if file_plan.get(name) is False]
        trainable = [name for name in tied if file_plan.get(name)]
        if frozen and trainable:
            against += [*frozen, *trainable]
            if result.final_flags.get(frozen[0]):
                planned |= dict.fromkeys(frozen, False) | dict.fromkeys(trainable, True)
    if not against:
        return result, []
    return replace(result, planned=planned), [finding("tie", against)]
