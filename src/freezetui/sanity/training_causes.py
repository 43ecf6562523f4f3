"""The causes that only training as the user's script does shows: its optimizer, its rate, a late freeze."""

from __future__ import annotations

from freezetui.sanity.causes import Code

_TRAINABLE_ONLY = (
    "give the optimizer trainable parameters only: Optimizer(config.parameter_groups(model, lr=...))"
)
_FLOAT32 = (
    "keep the weights in float32: model.float(), with torch.autocast(device, dtype=torch.bfloat16) for speed"
)
_CLEAR = "call config.apply(model), which sets p.grad = None where it freezes"

TABLE = (
    Code(
        "momentum",
        "M10",
        "error",
        "frozen after training began, but changed: zero_grad(set_to_none=False) leaves zeros in .grad, and "
        "the optimizer still applies its momentum",
        f"{_CLEAR}; call optimizer.zero_grad() without set_to_none=False; build a new optimizer",
    ),
    Code(
        "late_freeze",
        "M11",
        "error",
        "frozen after backward, as between backward and step, but changed: that gradient is still in .grad",
        f"freeze before the forward pass; {_CLEAR}",
    ),
    Code(
        "decayed",
        "M12",
        "error",
        "frozen but changed: zeros in .grad, and the optimizer applies its weight decay to them",
        f"{_CLEAR}; {_TRAINABLE_ONLY}",
    ),
    Code(
        "zeros_for_none",
        "M14",
        "error",
        "frozen but changed: .grad is None, and {optimizer} changes it all the same, by decay or momentum",
        _TRAINABLE_ONLY,
    ),
    Code(
        "lost_update",
        "S4",
        "warning",
        "trainable, but {optimizer} does not change a single bit: its update is at most {update}, and "
        "{dtype} values there are {spacing} apart",
        _FLOAT32,
    ),
    Code(
        "lost_in_part",
        "S4",
        "warning",
        "trainable, but {optimizer} leaves {share} of the elements with a gradient unchanged: its update is "
        "at most {update}, and {dtype} values there are {spacing} apart",
        _FLOAT32,
    ),
    Code(
        "no_update",
        "S5",
        "warning",
        "trainable and with a gradient, but {optimizer} makes no update",
        "pass a learning rate above 0; in a warm-up, begin above 0",
    ),
    Code(
        "own_not_finite",
        "N4",
        "warning",
        "the loss is not a finite number with {optimizer}",
        "use a smaller --lr; keep weights out of float16, where Adam's eps is 0: use --amp",
    ),
)
