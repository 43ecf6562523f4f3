"""A ModelSpec as one line of text, `SPEC [--arg NAME=VALUE]... [--input SHAPE]`, and its values."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NoReturn

from freezetui.errors import FreezeTuiError
from freezetui.freeze.blocks import is_number
from freezetui.model_spec import ARCHITECTURE_FORMS, ModelSpec


def read_model_line(line: str) -> ModelSpec:
    """Parse the line as the command line parses its options.

    Raises:
        FreezeTuiError: it has options that do not exist, or values that cannot be read.
    """
    import argparse
    import shlex

    class Parser(argparse.ArgumentParser):
        def error(self, message: str) -> NoReturn:
            raise ValueError(message)

    parser = Parser(add_help=False, allow_abbrev=False)
    parser.add_argument("architecture", nargs="?", default="")
    parser.add_argument("--arg", action="append", default=[])
    parser.add_argument("--input", default="")
    try:
        options = parser.parse_args(shlex.split(line))
        spec = ModelSpec(options.architecture, read_arguments(options.arg), read_shape(options.input))
    except ValueError as error:
        raise FreezeTuiError(
            f"{str(error).rstrip('.')}.", "Write SPEC --arg NAME=VALUE --input SHAPE."
        ) from None
    if spec.architecture and ":" not in spec.architecture:
        raise FreezeTuiError(f"{spec.architecture!r} is not a valid architecture spec.", ARCHITECTURE_FORMS)
    return spec


def write_model_line(spec: ModelSpec) -> str:
    """Return the line that `read_model_line` parses to this spec."""
    import shlex

    words = [spec.architecture] if spec.architecture else []
    for name, value in spec.arguments.items():
        words += ["--arg", f"{name}={_value_text(value)}"]
    if spec.input:
        words += ["--input", ",".join(map(str, spec.input))]
    return shlex.join(words)


def read_arguments(pairs: Iterable[str]) -> dict[str, Any]:
    """Return the keyword arguments of texts of the form NAME=VALUE; values are parsed as JSON if possible.

    Raises:
        ValueError: one of them has a different form.
    """
    arguments: dict[str, Any] = {}
    for pair in pairs:
        import json  # most commands have none

        name, equals, text = pair.partition("=")
        if not equals or not name.isidentifier():
            raise ValueError(f"{pair!r} is not of the form NAME=VALUE.")
        try:
            arguments[name] = json.loads(text, parse_constant=_refuse_constant)
        except (ValueError, RecursionError):
            arguments[name] = text
    return arguments


def read_shape(text: str) -> tuple[int, ...]:
    """Return the shape in a text such as "3,224,224" or "3x224x224"; () for an empty one.

    Raises:
        ValueError: it is not a shape.
    """
    parts = text.lower().replace("x", ",").split(",")
    if text and not all(is_number(part.strip()) and int(part) > 0 for part in parts):
        raise ValueError(f"{text!r} is not a valid shape, e.g. 3,224,224.")
    return tuple(map(int, parts)) if text else ()


def _refuse_constant(constant: str) -> None:
    raise ValueError(f"{constant} is Python, not JSON")


def _value_text(value: Any) -> str:
    """Return the text that `--arg` parses to this value."""
    import json

    if isinstance(value, str):
        try:
            json.loads(value)
        except ValueError:
            return value
    return json.dumps(value)
