"""The keys of ParameterTree, in the order of the footer."""

from __future__ import annotations

from textual.binding import BindingType

from freezetui.tui.bindings import bind

TREE_KEYS: list[BindingType] = [
    bind("tree.up", "up,k", "move(-1)", "Up", "Move one line up"),
    bind("tree.down", "down,j", "move(1)", "Down", "Move one line down"),
    bind("tree.inward", "right,l", "inward", "Expand", "Expand, or go to the first child"),
    bind("tree.outward", "left,h", "outward", "Collapse", "Collapse, or go to the parent"),
    bind("tree.switch", "enter", "switch", "Expand/collapse", "Expand or collapse"),
    bind("tree.page-up", "pageup", "page(-1)", "Page up", "One page up"),
    bind("tree.page-down", "pagedown", "page(1)", "Page down", "One page down"),
    bind("tree.top", "home,g", "edge(-1)", "Top", "First line"),
    bind("tree.bottom", "end,G", "edge(1)", "Bottom", "Last line"),
    bind("tree.expand", "e", "expand", "Expand", "Expand this line"),
    bind("tree.expand-all", "E", "expand_all", "Expand all", "Expand all"),
    bind("tree.collapse", "c", "collapse", "Collapse", "Collapse this line"),
    bind("tree.collapse-all", "C", "collapse_all", "Collapse all", "Collapse all"),
    bind("tree.fold", "z", "fold", "Fold blocks", "Fold repeated blocks by their state, or show single ones"),
    bind("tree.measure", "m", "measure", "measure", "Last column: share, bytes, gradient, update, change"),
    bind("tree.sort", "M", "sort", "sort", "Sort by the last column; again for the model's order"),
    bind("tree.range", "v", "range", "range", "Select a range of lines, for f, t, i and space"),
    bind("tree.end-range", "escape", "end_range", "end range", "End the range"),
    bind("tree.toggle", "space", "edit('toggle')", "toggle", "Toggle freeze", True),
    bind("tree.freeze", "f", "edit('freeze')", "freeze", "Freeze this line", True),
    bind("tree.train", "t", "edit('train')", "train", "Train this line", True),
    bind(
        "tree.toggle-all",
        "a",
        "edit('toggle_all')",
        "all",
        "Freeze all; if all is frozen, unfreeze all",
    ),
    bind("tree.invert", "i", "edit('invert')", "invert", "Invert frozen/trainable in this subtree"),
    bind(
        "tree.blocks",
        "b",
        "edit('blocks')",
        "blocks",
        "Apply this line's state to every repeated block; press again to toggle",
    ),
    bind("tree.freeze-before", "w", "edit('freeze_before')", "before", "Freeze everything before this line"),
    bind(
        "tree.presets",
        "p",
        "presets",
        "presets",
        "Presets: head only, norms, biases, last N blocks",
        True,
    ),
    bind("tree.undo", "u", "edit('undo')", "undo", "Undo the last change", True),
    bind("tree.redo", "ctrl+r", "edit('redo')", "redo", "Redo"),
    bind("tree.next-match", "n", "next_match(1)", "next", "Next match"),
    bind("tree.previous-match", "N", "next_match(-1)", "previous", "Previous match"),
    bind(
        "tree.freeze-matches",
        "F",
        "edit('freeze_matches')",
        "freeze all",
        "Freeze all that the filter matches",
    ),
    bind(
        "tree.train-matches", "T", "edit('train_matches')", "train all", "Train all that the filter matches"
    ),
]
