"""The help text: every key, generated from the bindings."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from rich.cells import cell_len, set_cell_size
from rich.text import Text
from textual.binding import Binding, BindingType

from freezetui.tui.bindings import SECTIONS, SHOWN

_SIGNS = (
    ("■ ○ ◐", "frozen, trainable, mixed"),
    ("·", "not trainable: buffer or integer tensor"),
    ("=", "tied: one tensor under several names"),
    ("{0..5} ×6", "blocks with the same plan in one line"),
    ("norm ×6", "inside it: this name in all six"),
    ("▓ ░ ▒ · ◆", "on the map: frozen, trainable, both, buffers; the cursor's place"),
    ("█ ? ! ✗", "there after a check: unchanged, not proven, look at it, frozen but changed"),
    ("▁ ▄ █ ·", "there where the last column is not a size: the higher, the larger; none"),
    ("✓ ?", "after a check: proven, not proven"),
    ("⚑", "after a check: unchanged, but no gradient reaches it when trainable either"),
    ("! ✗", "after a check: needs attention, frozen tensor changed"),
)
_PATTERNS = (
    ("features", "everything below it"),
    ("a.{24..28}", "numbers, both ends included"),
    ("{q,k}_proj", "alternatives"),
    ("*.weight", "any text within one segment"),
    ("**.bias", "any number of segments"),
    ("re:...", "a regular expression for the whole name"),
)


def key_rows(bindings: Iterable[BindingType]) -> Iterator[tuple[str, str, str]]:
    """Yield section, keys and description of every binding in `SECTIONS`.

    Args:
        bindings: all of those, in any order.
    """
    by_id = {binding.id: binding for binding in bindings if isinstance(binding, Binding)}
    for section, ids in SECTIONS.items():
        for binding in map(by_id.__getitem__, ids):
            keys = " ".join(SHOWN.get(key, key) for key in binding.key.split(","))
            yield section, keys, binding.tooltip


def help_text(bindings: Iterable[BindingType]) -> Text:
    """Return keys by section, then signs and patterns, in two columns."""
    rows = list(key_rows(bindings))
    rows += [("Signs", *row) for row in _SIGNS] + [("Patterns", *row) for row in _PATTERNS]
    width = max(cell_len(what) for _, what, _ in rows)
    lines: list[Text] = []
    last = ""
    for section, what, meaning in rows:
        if section != last:
            lines += [Text(), Text(section, "bold underline")]
            last = section
        lines.append(Text.assemble((f"  {set_cell_size(what, width)}", "bold"), f"  {meaning}"))
    return Text("\n").join(lines[1:])
