"""The one way out for what a command prints: no control character of foreign text gets through."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterable
from typing import Any

import click

from freezetui.text import printable_lines

#: Narrower terminals get lines of this width.
_MIN_WIDTH = 40


def line_width() -> int | None:
    """Return the columns of the terminal that shows stdout, or COLUMNS; None for a pipe or a file."""
    given = os.environ.get("COLUMNS", "")
    if not sys.stdout.isatty() and not given.isdecimal():
        return None
    return max(_MIN_WIDTH, shutil.get_terminal_size().columns)


def print_lines(lines: Iterable[str], to_stderr: bool = False) -> None:
    """Print lines; a line may hold line ends of ours, and everything else is escaped."""
    click.echo(printable_lines("\n".join(lines)), err=to_stderr)


def print_text(text: str) -> None:
    """Print text that ends with a line end."""
    click.echo(printable_lines(text), nl=False)


def print_json(document: Any) -> None:
    """Print one JSON document."""
    from freezetui.formatting.json import json_text

    print_lines([json_text(document)])


def say(message: str) -> None:
    """Print one line on stderr."""
    from freezetui.text import printable

    click.echo(printable(message), err=True)
