"""Numbers keep their units where a line of text is broken."""

from __future__ import annotations

import re

from rich.text import Text

#: Looks like a space, but no line is broken there; `PrintableFilter` draws a space in its place.
JOINT = "\u2800"
_SPACE = re.compile(r"(?<=\d) (?=(?:[KMGT]iB|[BKMTs]|min)\b)")


def with_units(text: Text) -> Text:
    """Return text, as long as before, in which "23 s" and "1.5 MiB" are one word."""
    joined = _SPACE.sub(JOINT, text.plain)
    if joined == text.plain:
        return text
    text = text.copy()
    text.plain = joined
    return text
