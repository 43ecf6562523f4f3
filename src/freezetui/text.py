"""Makes untrusted text safe to show in a terminal."""

from __future__ import annotations

import re
from collections.abc import Sequence


def printable(text: str) -> str:
    """Return `text` with control, bidirectional and other invisible characters escaped as in Python."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)


def printable_lines(text: str) -> str:
    """Return `text` with `printable` applied to each line."""
    return "\n".join(map(printable, text.split("\n")))


def listed(names: Sequence[str], most: int = 5, longest: int | None = 200) -> str:
    """Return the first `most` names, `printable` and each cut to `longest` characters: "a, b and 3 more"."""
    shown = ", ".join(printable(name[:longest]) for name in names[:most])
    return f"{shown} and {len(names) - most:,} more" if len(names) > most else shown


def kind_of(value: object) -> str:
    """Return the class of a value with its article, for a message: "an int", "a dict"."""
    name = type(value).__name__
    return f"{'an' if name.startswith(tuple('AEIOaeio')) else 'a'} {name}"


_ESCAPES = re.compile(r"\x1b(\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(\x07|\x1b\\)?|.)", re.DOTALL)


def plain_lines(text: str) -> list[str]:
    """Return the lines that are not empty, without escape sequences and control characters."""
    text = _ESCAPES.sub("", text).replace("\r", "\n").expandtabs(4)
    lines = ("".join(filter(str.isprintable, line)).rstrip() for line in text.split("\n"))
    return [line for line in lines if line]


_MAX_SHOWN = 160


def shortened(text: str) -> str:
    """Return the start of `text`, for a message in which long text would hide the rest."""
    return text if len(text) <= _MAX_SHOWN else f"{text[:_MAX_SHOWN]}…"


def quoted(text: str) -> str:
    """Return `text` in quotes for a message, control characters escaped; only the start of long text."""
    shown = repr(text[: _MAX_SHOWN + 1])
    return shown if len(shown) <= _MAX_SHOWN else f"{shown[:_MAX_SHOWN]}…{shown[0]}"
