"""The options that commands share, and how their values are read; in the terminal, too."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

paths_argument = click.argument(
    "paths", metavar="PATH...", nargs=-1, required=True, type=click.Path(path_type=str, readable=False)
)
key_option = click.option("--key", metavar="KEY", help="Which nested dict holds the state_dict.")
config_option = click.option(
    "--config",
    type=click.Path(path_type=Path, readable=False),
    metavar="FILE",
    help="The freeze config; NAME.freeze.yaml by default.",
)
json_option = click.option("--json", "as_json", is_flag=True, help="One JSON document and nothing else.")


def _arguments(_: click.Context, __: click.Parameter, values: tuple[str, ...]) -> dict[str, Any]:
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
        raise click.BadParameter(f"{value!r} is none of auto, cpu, cuda, cuda:N, mps.")
    return value


_arg_option = click.option(
    "--arg",
    "arguments",
    multiple=True,
    metavar="NAME=VALUE",
    callback=_arguments,
    help="For the architecture.",
)
_input_option = click.option("--input", metavar="SHAPE", callback=_shape, help="One example, e.g. 3,224,224.")
_DEVICES = ("auto", "cpu", "cuda", "cuda:0", "mps")
_model_options = (
    click.option(
        "--architecture",
        metavar="SPEC",
        default="",
        help="torchvision:NAME, package.module:callable or path/to/file.py:callable.",
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
        help="auto, cpu, cuda, cuda:N or mps.",
    ),
    click.option(
        "--steps",
        type=click.IntRange(1, 1000),
        metavar="N",
        default=3,
        show_default=True,
        help="Optimizer steps.",
    ),
    click.option(
        "--timeout", type=click.FloatRange(min=1), metavar="SECONDS", help="Ends a check that hangs."
    ),
)


def model_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options of the sanity step."""
    for option in reversed(_model_options):
        command = option(command)
    return command


class InOrder(click.Option):
    """An option whose values are kept in `ctx.meta["rules"]` in the order of the command line."""

    def add_to_parser(self, parser: Any, ctx: click.Context) -> None:
        """Click forgets the order between options; its parser sees it."""
        super().add_to_parser(parser, ctx)
        for name in self.opts:
            option = parser._long_opt[name]
            process = option.process

            def remember(value: str, state: Any, _process: Any = process, _name: str = name) -> None:
                ctx.meta.setdefault("rules", []).append((_name.removeprefix("--"), value))
                _process(value, state)

            option.process = remember
