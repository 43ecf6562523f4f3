"""The help text: every key, generated from the bindings."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from rich.text import Text
from textual.binding import Binding, BindingType

from freezetui.tui.bindings import SECTIONS, SHOWN

if TYPE_CHECKING:
    from rich.table import Table

_SIGNS = (
    ("■ ○ ◐", "frozen, trainable, mixed"),
    ("·", "not trainable: buffer or integer tensor"),
    ("=", "tied: one tensor under several names"),
    ("{0..5} ×6", "blocks with the same plan in one line"),
    ("norm ×6", "inside it: this name in all six"),
    ("▓ ░ ▒ █", "map: frozen, trainable, both; proven"),
    ("✓ ⚑ ?", "after a check: proven, held by its flag alone, not proven"),
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


def help_text(bindings: Iterable[BindingType]) -> Table:
    """Return keys by section, then signs and patterns; long text wraps within its column."""
    from rich.table import Table  # the first screen needs none

    table = Table.grid(padding=(0, 2, 0, 0))
    last = ""
    for section, keys, what in key_rows(bindings):
        if section != last:
            _head(table, section, first=not last)
            last = section
        table.add_row(Text(f"  {keys}", "bold"), what)
    for head, rows in (("Signs", _SIGNS), ("Patterns", _PATTERNS)):
        _head(table, head)
        for signs, meaning in rows:
            table.add_row(Text(f"  {signs}", "bold"), meaning)
    return table


def _head(table: Table, text: str, first: bool = False) -> None:
    if not first:
        table.add_row()
    table.add_row(Text(text, "bold underline"))
