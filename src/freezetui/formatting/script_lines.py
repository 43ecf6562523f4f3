"""The lines of a training script that load a config and apply it."""

from __future__ import annotations

from collections.abc import Sequence

_GROUPS = "groups = config.parameter_groups(model, lr=1e-4{})"
_OPTIMIZER = "optimizer = torch.optim.AdamW(groups, weight_decay=0.01)"


def script_lines(config: str, stages: Sequence[str] = ()) -> str:
    """Return the lines to paste into a training script.

    Args:
        config: the path of the config, as the script sees it.
        stages: its stages, in their order.
    """
    lines = [
        "import torch",
        "from freezetui import FreezeConfig",
        "",
        f"config = FreezeConfig.load({config!r})",
    ]
    if not stages:
        lines += ["config.apply(model)", _GROUPS.format(""), _OPTIMIZER]
    else:
        lines += [f"for stage in {list(stages)!r}:", "    config.apply(model, stage=stage)"]
        lines += [f"    {_GROUPS.format(', stage=stage')}", f"    {_OPTIMIZER}", "    ...  # train"]
    return "\n".join(lines) + "\n"
