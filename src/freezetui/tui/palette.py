"""The palette's commands: every action of the keys that has an effect now."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from itertools import chain
from typing import TYPE_CHECKING

from textual.app import SystemCommand
from textual.binding import Binding

from freezetui.tui.bindings import SECTIONS, SHOWN

if TYPE_CHECKING:
    from freezetui.tui.app import FreezeTuiApp
    from freezetui.tui.main_screen import MainScreen
    from freezetui.tui.widgets.parameter_tree import ParameterTree


def commands(app: FreezeTuiApp, main: MainScreen | None) -> Iterator[SystemCommand]:
    """Yield the commands in the order of the help, without those that only move.

    Args:
        main: the main screen if it is shown; else only the app's own actions are offered.
    """
    owners: tuple[ParameterTree | MainScreen | FreezeTuiApp, ...]
    owners = (main.tree_view, main, app) if main else (app,)
    offered = {
        binding.id: (owner, binding)
        for owner in owners
        for binding in owner.BINDINGS
        if isinstance(binding, Binding) and owner.offers(binding.action)
    }
    for id in chain.from_iterable(ids for section, ids in SECTIONS.items() if section != "Move"):
        if id in offered:
            owner, binding = offered[id]
            run = partial(app.run_action, binding.action, owner)
            keys = " ".join(SHOWN.get(key, key) for key in binding.key.split(","))
            yield SystemCommand(binding.tooltip, f"key {keys}", run)
