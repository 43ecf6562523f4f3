"""The flag itself is not what was set."""

from __future__ import annotations

from difflib import get_close_matches

from torch import nn

from freezetui.engine.run import RunResult
from freezetui.sanity.report import Finding


def frozen_by_constructor(model: nn.Module) -> list[Finding]:
    """A note on the parameters that the model's constructor froze; to be called before `apply`."""
    names = tuple(
        name
        for name, parameter in model.named_parameters()
        if not parameter.requires_grad and (parameter.is_floating_point() or parameter.is_complex())
    )
    if not names:
        return []
    message = f"the model's constructor freezes {len(names):,} of its parameters; the plan decides instead"
    return [Finding("note", "N2", names, message, "nothing, where the plan says what you mean")]


def stray_flags(model: nn.Module) -> list[Finding]:
    """Attributes that someone took for requires_grad: misspelt, or set on a module."""
    found = [
        (name, "F1", stray)
        for name, parameter in model.named_parameters()
        for stray in get_close_matches("requires_grad", vars(parameter), cutoff=0.8)
    ]
    for path, module in model.named_modules():
        found += [
            (path or "the model", "F2", key)
            for key in vars(module)
            if key == "trainable" or get_close_matches(key, ["requires_grad"], cutoff=0.8)
        ]
    messages = {
        "F1": "the attribute {} is no flag of torch: a misspelling of requires_grad does nothing",
        "F2": "the attribute {} was set on a module, where it does nothing",
    }
    return [
        Finding(
            "warning",
            code,
            tuple(name for name, *kind in found if kind == [code, stray]),
            messages[code].format(stray),
            "set requires_grad on the parameters, or leave it to the config",
        )
        for code, stray in dict.fromkeys((code, stray) for _, code, stray in found)
    ]


def flags_set_back(plan: RunResult) -> list[Finding]:
    """Parameters whose requires_grad is not what the config set, after the steps."""
    findings = []
    for train, was, now in ((False, "frozen", "trainable"), (True, "trainable", "frozen")):
        names = tuple(n for n, want in plan.trains.items() if want is train and plan.flags.get(n) is not want)
        if names:
            findings.append(
                Finding(
                    "error",
                    "F6",
                    names,
                    f"set to {was}, and {now} after the steps: the model's own code sets requires_grad",
                    "take requires_grad out of the model's own train() and forward()",
                )
            )
    return findings
