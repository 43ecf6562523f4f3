"""Code that mends what a finding reports, to paste into a script."""

from __future__ import annotations

from freezetui.sanity.report import Finding, OwnTraining

_GROUPS = "optimizer = {optimizer}(config.parameter_groups(model, lr={lr}){rest})"
_APPLY = ("config.apply(model)  # after the last backward, before the next forward; clears .grad",)
_AUTOCAST = (
    "model.float()",
    'with torch.autocast("cuda", dtype=torch.bfloat16):',
    "    loss = ...  # forward and loss; backward() and step() outside",
)

#: Code -> lines, where {module} and {name} are of the first tensor.
_SNIPPETS = {
    "M5": ("model.get_submodule({module!r}).max_norm = None",),
    "M7": ("model.get_submodule({module!r}).apply(torch.ao.quantization.disable_observer)",),
    "M10": (*_APPLY, _GROUPS),
    "M11": _APPLY,
    "M12": (_GROUPS,),
    "M14": (_GROUPS,),
    "F2": ("model.get_submodule({name!r}).requires_grad_(False)",),
    "S4": _AUTOCAST,
    "S6": ("torch.utils.checkpoint.checkpoint(block, x, use_reentrant=False)",),
}


def fix_code(finding: Finding, own: OwnTraining | None = None) -> tuple[str, ...]:
    """Return the lines that mend a finding; () where no code does, or where nothing has to be mended.

    Args:
        own: the steps with the user's optimizer, whose name the code then has.
    """
    lines = _SNIPPETS.get(finding.code, ())
    if not lines or not finding.fix or not finding.tensors:
        return ()
    name = finding.tensors[0]
    values = {"name": name, "module": name.rpartition(".")[0], **_optimizer(own)}
    return tuple(line.format_map(values) for line in lines)


def _optimizer(own: OwnTraining | None) -> dict[str, str]:
    """Return the parts of the optimizer's text, e.g. "AdamW(lr=1e-05, weight_decay=0.01)"."""
    if own is None:
        return {"optimizer": "torch.optim.AdamW", "lr": "1e-4", "rest": ""}
    called, _, inside = own.optimizer.removesuffix(")").partition("(")
    arguments = inside.split(", ")
    lr = next((each.removeprefix("lr=") for each in arguments if each.startswith("lr=")), "...")
    rest = "".join(f", {each}" for each in arguments if each and not each.startswith("lr="))
    return {"optimizer": called, "lr": lr, "rest": rest}
