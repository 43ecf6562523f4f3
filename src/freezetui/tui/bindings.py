"""The app's keys, in the sections that the help shows."""

from __future__ import annotations

from textual.binding import Binding


def _hidden(key: str, action: str, what: str, tooltip: str) -> Binding:
    return Binding(key, action, what, show=False, tooltip=tooltip)


CHOOSE = [
    Binding("space", "toggle_line", "toggle", tooltip="Freeze what trains, train what is frozen"),
    Binding("f", "freeze", "freeze", tooltip="Freeze this line"),
    Binding("t", "train", "train", tooltip="Train this line"),
    _hidden("a", "toggle_all", "all", "Freeze everything; where all is frozen, train everything"),
    _hidden("i", "invert", "invert", "Swap frozen and trainable below this line"),
    _hidden("b", "blocks", "blocks", "This name in every repeated block as here; again toggles"),
    _hidden("w", "freeze_before", "before", "Freeze everything before this line"),
    Binding("p", "presets", "presets", tooltip="Ready choices: head only, norms, biases, last N blocks"),
    Binding("u", "undo", "undo", tooltip="Take the last change back"),
    _hidden("ctrl+r", "redo", "redo", "Do again what was undone"),
]

FIND = [
    Binding("slash", "filter", "filter", key_display="/", tooltip="Filter by words or by a pattern"),
    _hidden("n", "next_match(1)", "next", "Next match"),
    _hidden("N", "next_match(-1)", "previous", "Previous match"),
    _hidden("F", "freeze_matches", "freeze matches", "Freeze all that the filter matches"),
    _hidden("T", "train_matches", "train matches", "Train all that the filter matches"),
    _hidden("escape", "leave", "back", "End the filter, or close the check"),
]

FILE = [
    Binding("r", "check", "check", tooltip="Sanity step: prove that frozen weights stay put"),
    Binding("s", "save", "save", tooltip="Save the freeze config"),
    _hidden("S", "save_as", "save as", "Save the freeze config under another name"),
    _hidden("d", "changes", "changes", "What changed since the file on disk"),
    _hidden("o", "architecture", "architecture", "Name what builds the model for the sanity step"),
    Binding("question_mark", "help", "help", key_display="?", tooltip="This help"),
    Binding("q,ctrl+c", "quit", "quit", tooltip="Quit; asks when something is unsaved"),
]

SECTIONS = {"Choose": CHOOSE, "Find": FIND, "Check and save": FILE}
