"""The lines of a training script that load a config and apply it."""

from __future__ import annotations

from collections.abc import Sequence

_OPTIMIZER = "torch.optim.AdamW(config.parameter_groups(model, lr=1e-4{}), weight_decay=0.01)"


def script_lines(config: str, stages: Sequence[str] = ()) -> str:
    """Return the lines to paste into a training script.

    Args:
        config: the path of the config, as the script sees it.
        stages: its stages, in their order.
    """
    lines = ["from freezetui import FreezeConfig", "", f"config = FreezeConfig.load({config!r})"]
    if not stages:
        lines += ["config.apply(model)", f"optimizer = {_OPTIMIZER.format('')}"]
    else:
        lines += [f"for stage in {list(stages)!r}:", "    config.apply(model, stage=stage)"]
        lines += [f"    optimizer = {_OPTIMIZER.format(', stage=stage')}", "    ...  # train"]
    return "\n".join(lines) + "\n"
