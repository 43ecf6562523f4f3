"""The palette's commands: every action of the keys that has an effect now."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from itertools import chain
from typing import Any

from textual.app import App, SystemCommand
from textual.binding import Binding
from textual.dom import DOMNode

from freezetui.tui.bindings import SECTIONS, SHOWN


def commands(
    app: App[Any], owners: Iterable[tuple[DOMNode, Callable[[str], bool]]]
) -> Iterator[SystemCommand]:
    """Yield the commands in the order of the help, without those that only move.

    Args:
        owners: what has keys, and whether it offers an action now.
    """
    offered = {
        binding.id: (owner, binding)
        for owner, offers in owners
        for binding in owner.BINDINGS
        if isinstance(binding, Binding) and offers(binding.action)
    }
    for id in chain.from_iterable(ids for section, ids in SECTIONS.items() if section != "Move"):
        if id in offered:
            owner, binding = offered[id]
            run = partial(app.run_action, binding.action, owner)
            keys = " ".join(SHOWN.get(key, key) for key in binding.key.split(","))
            yield SystemCommand(binding.tooltip, f"key {keys}", run)
