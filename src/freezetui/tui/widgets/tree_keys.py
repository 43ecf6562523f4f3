"""The keys of ParameterTree, in the order in which the footer shows them."""

from __future__ import annotations

from textual.binding import Binding, BindingType


def _key(id: str, key: str, action: str, what: str, tooltip: str, show: bool = False) -> Binding:
    return Binding(key, action, what, show=show, tooltip=tooltip, id=f"tree.{id}")


TREE_KEYS: list[BindingType] = [
    _key("up", "up,k", "move(-1)", "Up", "Move one line up"),
    _key("down", "down,j", "move(1)", "Down", "Move one line down"),
    _key("inward", "right,l", "inward", "Open", "Open, or go to the first child"),
    _key("outward", "left,h", "outward", "Close", "Close, or go to the parent"),
    _key("switch", "enter", "switch", "Open/close", "Open or close"),
    _key("page-up", "pageup", "page(-1)", "Page up", "One page up"),
    _key("page-down", "pagedown", "page(1)", "Page down", "One page down"),
    _key("top", "home,g", "edge(-1)", "Top", "First line"),
    _key("bottom", "end,G", "edge(1)", "Bottom", "Last line"),
    _key("expand", "e", "expand", "Expand", "Open this line"),
    _key("expand-all", "E", "expand_all", "Expand all", "Open everything"),
    _key("collapse", "c", "collapse", "Collapse", "Close this line"),
    _key("collapse-all", "C", "collapse_all", "Collapse all", "Collapse all"),
    _key("fold", "z", "fold", "Fold blocks", "Fold repeated blocks"),
    _key("toggle", "space", "edit('toggle')", "toggle", "Toggle freeze", True),
    _key("freeze", "f", "edit('freeze')", "freeze", "Freeze this line", True),
    _key("train", "t", "edit('train')", "train", "Train this line", True),
    _key(
        "toggle-all",
        "a",
        "edit('toggle_all')",
        "all",
        "Freeze all; if all is frozen, unfreeze all",
    ),
    _key("invert", "i", "edit('invert')", "invert", "Invert frozen/trainable in this subtree"),
    _key(
        "blocks",
        "b",
        "edit('blocks')",
        "blocks",
        "Apply this line's state to every repeated block; press again to toggle",
    ),
    _key("freeze-before", "w", "edit('freeze_before')", "before", "Freeze everything before this line"),
    _key("presets", "p", "presets", "presets", "Presets: head only, norms, biases, last N blocks", True),
    _key("undo", "u", "edit('undo')", "undo", "Undo the last change", True),
    _key("redo", "ctrl+r", "edit('redo')", "redo", "Redo"),
    _key("next-match", "n", "next_match(1)", "next", "Next match"),
    _key("previous-match", "N", "next_match(-1)", "previous", "Previous match"),
    _key(
        "freeze-matches",
        "F",
        "edit('freeze_matches')",
        "freeze all",
        "Freeze all that the filter matches",
    ),
    _key("train-matches", "T", "edit('train_matches')", "train all", "Train all that the filter matches"),
]
