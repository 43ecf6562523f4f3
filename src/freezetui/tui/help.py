"""The help: every key, made from the bindings themselves."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from rich.text import Text
from textual.binding import Binding

_SIGNS = """\
■ frozen   ○ trainable   ◐ mixed   · cannot train (buffers, integers)
= tied: one tensor under several names   {0..5} ×6: equal blocks folded into one line
after a check: ✓ as chosen   ! worth a look   ✗ a frozen tensor moved"""

_PATTERNS = """\
features           everything below features
features.{24..28}  numbers, both ends included
**.bias            any number of segments     *.weight  one segment
{q,k,v}_proj       alternatives               re:...    a regular expression"""


def help_text(sections: Mapping[str, Iterable[Binding]], display: Mapping[str, str]) -> Text:
    """Keys by section, then signs and patterns.

    Args:
        display: how the app shows a key, by its name, e.g. "question_mark" -> "?".
    """
    text = Text()
    for title, bindings in sections.items():
        text.append(f"{title}\n", "bold underline")
        for binding in bindings:
            keys = " ".join(display.get(key, key) for key in binding.key.split(","))
            text.append(f"  {keys:<12}", "bold")
            text.append(f"{binding.tooltip or binding.description}\n")
        text.append("\n")
    text.append("Signs\n", "bold underline").append(_SIGNS + "\n\n")
    text.append("Patterns\n", "bold underline").append(_PATTERNS)
    return text
