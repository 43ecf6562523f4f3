"""Foreign text, made safe to show in a terminal."""

from __future__ import annotations


def printable(text: str) -> str:
    """`text` with control, bidirectional and other invisible characters escaped as in a Python literal."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)


def printable_lines(text: str) -> str:
    """`text` as `printable` makes it, line by line."""
    return "\n".join(map(printable, text.split("\n")))
