"""The options that commands share, and how their values are parsed."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

paths_argument = click.argument(
    "paths", metavar="PATH...", nargs=-1, required=True, type=click.Path(path_type=str, readable=False)
)
key_option = click.option("--key", metavar="KEY", help="Key of the nested dict that holds the state_dict.")
config_option = click.option(
    "--config",
    type=click.Path(path_type=Path, readable=False),
    metavar="FILE",
    help="Freeze config (default: NAME.freeze.yaml).",
)
stage_option = click.option("--stage", metavar="NAME", help="Stage of the config.")
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


def read_pairs(_: click.Context, __: click.Parameter, values: tuple[str, ...]) -> dict[str, Any]:
    """Return the arguments of texts of the form NAME=VALUE, as a click callback.

    Raises:
        click.BadParameter: one of them has a different form.
    """
    from freezetui.recognition.model_line import read_arguments

    try:
        return read_arguments(values)
    except ValueError as error:
        raise click.BadParameter(str(error)) from None


def _shape(_: click.Context, __: click.Parameter, value: str | None) -> tuple[int, ...]:
    from freezetui.recognition.model_line import read_shape

    try:
        return read_shape(value or "")
    except ValueError as error:
        raise click.BadParameter(str(error)) from None


def _device(_: click.Context, __: click.Parameter, value: str) -> str:
    import re

    if not re.fullmatch(r"auto|cpu|mps|cuda(:\d+)?", value):
        raise click.BadParameter(f"{value!r} is not one of auto, cpu, cuda, cuda:N, mps.")
    return value


def _python(_: click.Context, __: click.Parameter, value: str | None) -> str:
    from freezetui.bootstrap import interpreter

    return interpreter(value)


_process_options = (
    click.option(
        "--python",
        metavar="PATH",
        callback=_python,
        help="Python of your training environment, for the check and for describing the model "
        "(default: FREEZETUI_PYTHON, else this one).",
    ),
    click.option(
        "--no-engine",
        "engine",
        flag_value=False,
        type=bool,
        default=lambda: os.environ.get("FREEZETUI_ENGINE") != "0",
        help="Do not start the background process that describes the model (also: FREEZETUI_ENGINE=0).",
    ),
)


def process_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options of the processes that import torch."""
    for option in reversed(_process_options):
        command = option(command)
    return command


_arg_option = click.option(
    "--arg",
    "arguments",
    multiple=True,
    metavar="NAME=VALUE",
    callback=read_pairs,
    help="Keyword argument for the architecture (repeatable).",
)
_input_option = click.option(
    "--input",
    metavar="SHAPE",
    callback=_shape,
    help="Shape of one input, without the batch dimension, e.g. 3,224,224.",
)
_DEVICES = ("auto", "cpu", "cuda", "cuda:0", "mps")
_model_options = (
    click.option(
        "--architecture",
        metavar="SPEC",
        default="",
        help="Model architecture: torchvision:NAME, package.module:callable or path/to/file.py:callable.",
    ),
    _arg_option,
    _input_option,
    click.option(
        "--device",
        default="auto",
        metavar="DEVICE",
        show_default=True,
        callback=_device,
        shell_complete=lambda ctx, option, start: [name for name in _DEVICES if name.startswith(start)],
        help="Device: auto, cpu, cuda, cuda:N or mps.",
    ),
    click.option(
        "--steps",
        type=click.IntRange(1, 1000),
        metavar="N",
        default=3,
        show_default=True,
        help="Number of optimizer steps.",
    ),
    click.option(
        "--timeout", type=click.FloatRange(min=1), metavar="SECONDS", help="Abort the check after SECONDS."
    ),
)


def model_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options of a check."""
    for option in reversed(_model_options):
        command = option(command)
    return process_options(command)


class InOrder(click.Command):
    """A command that also keeps the relative order of its repeatable options.

    `ctx.meta["in_order"]` is a list of (option, value) pairs, such as ("freeze", "features").
    """

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse the command line as click does, and again for the order, which click does not keep."""
        original = [*args]
        rest = super().parse_args(ctx, args)
        values, _, order = self.make_parser(ctx).parse_args(args=original)
        names = [option.name for option in order if isinstance(option, click.Option) and option.multiple]
        remaining = {name: iter(values[name]) for name in names}
        ctx.meta["in_order"] = [(name, next(remaining[name])) for name in names]
        return rest
