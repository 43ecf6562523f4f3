"""What foreign code printed or raised, made fit for one line. Knows no torch."""

from __future__ import annotations

import re

_ESCAPES = re.compile(r"\x1b(\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(\x07|\x1b\\)?|.)", re.DOTALL)


def plain_lines(text: str) -> list[str]:
    """The lines that hold something, without escape sequences and control characters."""
    text = _ESCAPES.sub("", text).replace("\r", "\n").expandtabs(4)
    lines = ("".join(filter(str.isprintable, line)).rstrip() for line in text.split("\n"))
    return [line for line in lines if line]


def one_line(error: BaseException, most: int = 300) -> str:
    """The type and the text of an exception."""
    text = " ".join(" ".join(plain_lines(str(error))).split())
    return f"{type(error).__name__}: {text[:most]}" if text else type(error).__name__
