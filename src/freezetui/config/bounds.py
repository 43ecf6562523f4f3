"""Limits the size of a config: more than a user or `plan` writes, less than keeps a parser busy for minutes.

`plan` writes 450 KB with 6,600 rules for a random plan of 100,000 tensors with irregular names, and one line
of 400 KB if they are all in one module. ruamel.yaml reads 20 to 100 KB per second.
"""

from __future__ import annotations

import math
import os
import re
import stat
from itertools import accumulate
from pathlib import Path

from freezetui.errors import ConfigError

_MAX_BYTES = 2 * 2**20
_MAX_LINES = 20_000
_MAX_LINE = 512 * 2**10
#: Commas, colons and brackets outside plain rules: in flow style each one creates an item.
_MAX_FLOW_SIGNS = 10_000
_MAX_EVENTS = 250_000

_HINT = "Pass a .freeze.yaml file."
_PLAIN_RULE = re.compile(r"^ *- *(?:freeze|train): *[^\s\[{&*!|>].*$", re.MULTILINE)
_FLOW_SIGN = re.compile(r"[,:\[\]{}]")
_MAX_DEPTH = 100


def read_data(path: Path) -> bytes:
    """Read a file up to the size limit of a config; never wait for a file that is not a regular one.

    Returns:
        All of the file, or the first 2 MiB and one byte.

    Raises:
        ConfigError: it cannot be read, or is not a regular file.
    """
    try:
        # A FIFO would block until somebody writes to it.
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
        with os.fdopen(descriptor, "rb") as file:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise ConfigError(f"{path} is not a file.", _HINT)
            return file.read(_MAX_BYTES + 1)
    except IsADirectoryError:
        raise ConfigError(f"{path} is not a file.", _HINT) from None
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}.", _HINT) from None


def read_text(path: Path) -> str:
    """Read a config file; see `read_data`.

    Raises:
        ConfigError: it cannot be read, is not a text file, or is too large for a config.
    """
    data = read_data(path)
    if len(data) > _MAX_BYTES:
        raise _too_large(path, f"more than {_MAX_BYTES >> 20} MiB")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise ConfigError(f"{path} is not a text file.", _HINT) from None
    check_text(path, text)
    return text


def check_text(path: Path, text: str) -> None:
    """Check the size of text that was read or will be written.

    Raises:
        ConfigError: it is too large for a config.
    """
    if len(text) > _MAX_BYTES:
        raise _too_large(path, f"more than {_MAX_BYTES >> 20} MiB")
    if path.suffix == ".json":
        return  # parsed at 50 MB per second
    if text.count("\n") + text.count("\r") > _MAX_LINES:
        raise _too_large(path, f"more than {_MAX_LINES:,} lines")
    if max(map(len, text.splitlines()), default=0) > _MAX_LINE:
        raise _too_large(path, f"a line of more than {_MAX_LINE:,} characters")
    signs = _FLOW_SIGN.findall(_PLAIN_RULE.sub("", text))
    if len(signs) > _MAX_FLOW_SIGNS:
        raise _too_large(path, f"more than {_MAX_FLOW_SIGNS:,} keys and items")
    if max(accumulate(map(_deeper, signs)), default=0) > _MAX_DEPTH:
        raise ConfigError(f"{path}: nested too deeply.", "Write plain YAML.")


def check_events(path: Path, count: int) -> None:
    """Check the number of events that the parser has produced so far.

    Raises:
        ConfigError: there are too many for a config.
    """
    if count > _MAX_EVENTS:
        raise _too_large(path, f"more than {_MAX_EVENTS:,} keys and items")


def why_not_a_number(value: float) -> str:
    """Return why a config cannot contain a number: JSON cannot represent it; "" if it can."""
    if isinstance(value, int):
        return "" if -(2**63) <= value < 2**63 else "must fit in 64 bits"
    return "" if math.isfinite(value) else "must be a finite number"


def number(text: str) -> float:
    """Return a number that json wrote for a config.

    Raises:
        ConfigError: it would be refused when it is read; see `why_not_a_number`.
    """
    value = int(text) if text.lstrip("-").isdigit() else float(text)
    if why := why_not_a_number(value):
        raise ConfigError(f"the value {text} {why}.", "Correct it.")
    return value


def _deeper(sign: str) -> int:
    """Return the change in depth at a sign of the flow style."""
    return (sign in "[{") - (sign in "]}")


def _too_large(path: Path, what: str) -> ConfigError:
    return ConfigError(f"{path} is too large for a freeze config: {what}.", "Use fewer and shorter rules.")
