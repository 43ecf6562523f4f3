"""Training: how the user's own script trains. Does not import torch."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

#: How a script that freezes late goes about it; see `Training.warm`.
Warm = Literal["", "none", "zeros", "before-step"]
Dtype = Literal["", "float32", "bfloat16", "float16"]


class Training(msgspec.Struct, frozen=True, kw_only=True):
    """How the user's script trains, as options of the command line say; a config never does.

    Attributes:
        optimizer: "adamw", "sgd" or another class of torch.optim, `package.module:Class` or
            `path/to/file.py:Class`; "" for AdamW.
        lr, weight_decay: None for the optimizer's own default.
        optimizer_arguments: further keyword arguments of the optimizer, such as momentum.
        warm: freeze only after a first step with everything trainable, by the flags alone. "none": the
            script calls zero_grad(); "zeros": zero_grad(set_to_none=False); "before-step": it freezes between
            backward and the first step; "" freezes before training.
        step: the script's own training step, `package.module:function` or `path/to/file.py:function`, called
            with model, optimizer and device.
        batch: a function that returns a batch, named like the step, or a file that torch.save wrote.
        dtype: of the weights; with `amp` the dtype of autocast, and the weights stay as they are.
        amp: forward passes under autocast, to bfloat16 unless `dtype` says otherwise.
        compile: forward passes through torch.compile.
    """

    optimizer: str = ""
    lr: float | None = None
    weight_decay: float | None = None
    optimizer_arguments: dict[str, Any] = {}
    warm: Warm = ""
    step: str = ""
    batch: str = ""
    dtype: Dtype = ""
    amp: bool = False
    compile: bool = False

    @property
    def own(self) -> bool:
        """Whether the check also takes steps as the user's script does."""
        rates = (self.lr, self.weight_decay) != (None, None)
        return rates or bool(self.optimizer or self.optimizer_arguments or self.warm or self.step)
