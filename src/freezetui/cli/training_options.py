"""The options of a check that say how the user's script trains. They never come from a config."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping
from typing import Any

import click

from freezetui.cli.options import read_pairs


def _finite(_: click.Context, __: click.Parameter, value: float | None) -> float | None:
    if value is not None and not math.isfinite(value):
        raise click.BadParameter(f"{value} is not a finite number.")
    return value


_NOT_NEGATIVE = click.FloatRange(min=0)
_options = (
    click.option(
        "--optimizer",
        metavar="NAME",
        default="",
        help="Also take the steps with your script's optimizer: adamw, sgd, ... of torch.optim, "
        "package.module:Class or path/to/file.py:Class.",
    ),
    click.option(
        "--lr", type=_NOT_NEGATIVE, callback=_finite, metavar="RATE", help="Learning rate of that optimizer."
    ),
    click.option(
        "--weight-decay",
        type=_NOT_NEGATIVE,
        callback=_finite,
        metavar="DECAY",
        help="Weight decay of that optimizer.",
    ),
    click.option(
        "--optimizer-arg",
        "optimizer_arguments",
        multiple=True,
        metavar="NAME=VALUE",
        callback=read_pairs,
        help="Another argument of that optimizer, e.g. momentum=0.9 (repeatable).",
    ),
    click.option(
        "--warm",
        is_flag=True,
        help="Freeze only after a first step with everything trainable, like a script that freezes late.",
    ),
    click.option(
        "--warm-style",
        type=click.Choice(("none", "zeros", "before-step")),
        help="What that script does: call zero_grad() (none, the default) or "
        "zero_grad(set_to_none=False) (zeros), or freeze between backward and step (before-step).",
    ),
    click.option(
        "--step",
        metavar="FUNCTION",
        default="",
        help="Run your own training step (model, optimizer, device) -> loss: "
        "package.module:function or path/to/file.py:function.",
    ),
    click.option(
        "--batch",
        metavar="FUNCTION|FILE",
        default="",
        help="Your own batch: a function that returns one, or a .pt file written by torch.save.",
    ),
    click.option(
        "--dtype",
        type=click.Choice(("float32", "bfloat16", "float16")),
        help="Dtype of the weights; with --amp, of autocast.",
    ),
    click.option("--amp", is_flag=True, help="Train under autocast (bfloat16, or --dtype)."),
    click.option("--compile", is_flag=True, help="Train the model through torch.compile."),
)


def _refuse_without_effect(options: Mapping[str, Any]) -> None:
    """Raise a usage error for what the user's own step decides itself."""
    if not options["step"]:
        return
    for option, written in (("amp", "--amp"), ("batch", "--batch")):
        if options[option]:
            raise click.UsageError(f"{written} has no effect with --step: your own step decides that.")
    if options["warm_style"] == "zeros":
        raise click.UsageError(
            "--warm-style zeros has no effect with --step: your own step calls zero_grad()."
        )


def training_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options, and pass them to the command as one `training`."""

    @functools.wraps(command)
    def with_training(*args: Any, **options: Any) -> Any:
        from freezetui.sanity.training import Training

        _refuse_without_effect(options)
        warm, style = options.pop("warm"), options.pop("warm_style")
        given = {name: options.pop(name) for name in Training.__struct_fields__ if name in options}
        given["dtype"] = given["dtype"] or ""
        training = Training(**given, warm=style or ("none" if warm else ""))
        return command(*args, training=training, **options)

    decorated: Callable[..., Any] = with_training
    for option in reversed(_options):
        decorated = option(decorated)
    return decorated
