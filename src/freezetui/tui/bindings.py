"""The ids of the keys that the help, the README and the palette show; each binding is where its action is."""

from __future__ import annotations

#: By section, in the order in which they are shown. A keymap of Textual names keys by these ids.
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
    ),
    "Choose": (
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
    "Check and save": (
        "check.run",
        "config.save",
        "config.save-as",
        "config.changes",
        "check.architecture",
        "app.help",
        "app.quit",
    ),
}
