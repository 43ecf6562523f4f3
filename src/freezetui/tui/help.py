"""The help: every key, made from the bindings themselves."""

from __future__ import annotations

from collections.abc import Iterator

from rich.text import Text
from textual.binding import Binding

from freezetui.tui.bindings import SECTIONS
from freezetui.tui.tree_view import TreeView

_SHOWN = {
    "slash": "/",
    "question_mark": "?",
    "up": "↑",
    "down": "↓",
    "left": "←",
    "right": "→",
    "escape": "esc",
}
_SIGNS = """\
■ frozen   ○ trainable   ◐ mixed   · cannot train (buffers, integers)
= tied: one tensor under several names   {0..5} ×6: equal blocks folded into one line
after a check: ✓ as chosen   ! worth a look   ✗ a frozen tensor moved"""

_PATTERNS = """\
features           everything below features
features.{24..28}  numbers, both ends included
**.bias            any number of segments     *.weight  one segment
{q,k,v}_proj       alternatives               re:...    a regular expression"""


def key_rows() -> Iterator[tuple[str, str, str]]:
    """Section, keys and what they do, for every binding."""
    moving = [binding for binding in TreeView.BINDINGS if isinstance(binding, Binding)]
    for section, bindings in {"Move": moving, **SECTIONS}.items():
        for binding in bindings:
            keys = " ".join(_SHOWN.get(key, key) for key in binding.key.split(","))
            yield section, keys, binding.tooltip


def help_text() -> Text:
    """Keys by section, then signs and patterns."""
    text = Text()
    last = ""
    for section, keys, what in key_rows():
        if section != last:
            text.append(f"{chr(10) if last else ''}{section}\n", "bold underline")
            last = section
        text.append(f"  {keys:<12}", "bold").append(f"{what}\n")
    text.append("\nSigns\n", "bold underline").append(_SIGNS + "\n\n")
    return text.append("Patterns\n", "bold underline").append(_PATTERNS)
