"""The options that commands share, and how their values are read; in the terminal, too."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import click

from freezetui.errors import FreezeTuiError

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


def _pair(_: click.Context, __: click.Parameter, values: tuple[str, ...]) -> dict[str, Any]:
    """`--arg name=value`, the value read as JSON where it is JSON."""
    import json

    arguments: dict[str, Any] = {}
    for value in values:
        name, equals, text = value.partition("=")
        if not equals or not name.isidentifier():
            raise click.BadParameter(f"{value!r} is not name=value.")
        try:
            arguments[name] = json.loads(text, parse_constant=_no_json)
        except (ValueError, RecursionError):
            arguments[name] = text
    return arguments


def _no_json(constant: str) -> None:
    raise ValueError(f"{constant} is Python's, not JSON's")


def _shape(_: click.Context, __: click.Parameter, value: str | None) -> tuple[int, ...]:
    from freezetui.freeze.blocks import is_number

    parts = (value or "").lower().replace("x", ",").split(",")
    if value and not all(is_number(part.strip()) and int(part) > 0 for part in parts):
        raise click.BadParameter(f"{value!r} is no shape; for example 3,224,224.")
    return tuple(map(int, parts)) if value else ()


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
    callback=_pair,
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


class ModelLine(NamedTuple):
    """What builds a model, as one line: `SPEC [--arg NAME=VALUE]... [--input SHAPE]`."""

    spec: str
    arguments: dict[str, Any]
    input: tuple[int, ...]


@_arg_option
@_input_option
@click.argument("spec", default="")
@click.command(add_help_option=False)
def _model_line() -> None:
    """Never run: it reads the words of a `ModelLine`."""


def read_model_line(line: str) -> ModelLine:
    """Read the line as the command line reads its options.

    Raises:
        FreezeTuiError: it has options that do not exist, or values that cannot be read.
    """
    import shlex

    try:
        return ModelLine(**_model_line.make_context("o", shlex.split(line)).params)
    except (ValueError, click.UsageError) as error:
        said = error.format_message() if isinstance(error, click.UsageError) else f"{error}."
        raise FreezeTuiError(said, "Write SPEC --arg NAME=VALUE --input SHAPE.") from None


def write_model_line(spec: str, arguments: Mapping[str, Any], input: Sequence[int]) -> str:
    """The line that `read_model_line` reads as these."""
    import shlex

    words = [spec] if spec else []
    for name, value in arguments.items():
        words += ["--arg", f"{name}={_value_text(value)}"]
    if input:
        words += ["--input", ",".join(map(str, input))]
    return shlex.join(words)


def _value_text(value: Any) -> str:
    """What `--arg` reads as this value."""
    import json

    if isinstance(value, str):
        try:
            json.loads(value)
        except ValueError:
            return value
    return json.dumps(value)


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
