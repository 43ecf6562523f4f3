"""How a key of the main screen is declared, and the order in which help, README and palette show them."""

from __future__ import annotations

from textual.binding import Binding

#: Binding ids by section, in display order. A Textual keymap refers to keys by these ids.
SECTIONS: dict[str, tuple[str, ...]] = {
    "Move": (
        "tree.up",
        "tree.down",
        "tree.inward",
        "tree.outward",
        "tree.switch",
        "tree.page-up",
        "tree.page-down",
        "tree.top",
        "tree.bottom",
        "tree.expand",
        "tree.expand-all",
        "tree.collapse",
        "tree.collapse-all",
        "tree.fold",
        "tree.measure",
        "tree.sort",
    ),
    "Choose": (
        "tree.range",
        "tree.end-range",
        "tree.toggle",
        "tree.freeze",
        "tree.train",
        "tree.toggle-all",
        "tree.invert",
        "tree.blocks",
        "tree.freeze-before",
        "tree.presets",
        "tree.undo",
        "tree.redo",
    ),
    "Find": (
        "filter.start",
        "tree.next-match",
        "tree.previous-match",
        "tree.freeze-matches",
        "tree.train-matches",
        "main.leave",
    ),
    "Stages": ("stage.previous", "stage.next", "stage.add", "stage.edit"),
    "Look": ("values.show", "changed.next", "changed.previous"),
    "Check and save": (
        "check.run",
        "check.proof",
        "config.save",
        "config.save-as",
        "config.changes",
        "config.text",
        "code.copy",
        "pattern.copy",
        "cost.show",
        "check.architecture",
        "config.norms",
        "config.modules",
        "file.key",
        "state.show",
        "app.help",
        "app.quit",
    ),
}

#: Textual's name of a key -> as it is shown, where that differs.
SHOWN = {
    "slash": "/",
    "left_square_bracket": "[",
    "right_square_bracket": "]",
    "plus": "+",
    "equals_sign": "=",
    "exclamation_mark": "!",
    "dollar_sign": "$",
    "question_mark": "?",
    "up": "↑",
    "down": "↓",
    "left": "←",
    "right": "→",
    "escape": "Esc",
    "enter": "Enter",
    "space": "Space",
    "tab": "Tab",
    "delete": "Delete",
    "home": "Home",
    "end": "End",
    "pageup": "PageUp",
    "pagedown": "PageDown",
}


def bind(
    id: str, keys: str, action: str, what: str, tooltip: str, show: bool = False, sign: str | None = None
) -> Binding:
    """Return a binding of the main screen.

    Args:
        id: its name in `SECTIONS` and in a keymap.
        what: its label in the footer, if `show`.
        tooltip: its description in the help.
        sign: the key as shown in the footer, if not by its name.
    """
    return Binding(keys, action, what, show=show, key_display=sign, tooltip=tooltip, id=id)
