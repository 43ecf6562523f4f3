"""The keys of MainScreen, in the order of the footer."""

from __future__ import annotations

from textual.binding import BindingType

from freezetui.tui.bindings import bind

SCREEN_KEYS: list[BindingType] = [
    bind("filter.start", "slash", "filter", "filter", "Filter by words or pattern", True, "/"),
    bind("main.leave", "escape", "leave", "back", "Clear the filter, or close the check panel or the config"),
    bind(
        "stage.previous",
        "left_square_bracket",
        "stage(-1)",
        "stage",
        "Previous stage, or what is common to all",
        sign="[",
    ),
    bind(
        "stage.next",
        "right_square_bracket",
        "stage(1)",
        "stage",
        "Next stage, or what is common to all",
        sign="]",
    ),
    bind("stage.add", "plus", "add_stage", "new stage", "Add a stage to the config", sign="+"),
    bind(
        "stage.edit", "equals_sign", "stages", "stages", "Name, order, delete and schedule stages", sign="="
    ),
    bind(
        "state.show",
        "exclamation_mark",
        "notices",
        "state",
        "Show what is wrong or unknown, in full",
        sign="!",
    ),
    bind("check.run", "r", "check", "check", "Check that frozen weights do not change", True),
    bind("check.proof", "R", "proof", "proof", "Open or close the proof: the last check and its findings"),
    bind("config.save", "s", "save", "save", "Save the freeze config", True),
    bind("config.save-as", "S", "save_as", "save as", "Save the freeze config under another name"),
    bind("config.changes", "d", "changes", "changes", "Show changes since the last save"),
    bind(
        "config.text",
        "D",
        "config_text",
        "yaml",
        "Show the config as it would be written, beside the tree; it follows each edit",
    ),
    bind(
        "code.copy",
        "y",
        "copy",
        "code",
        "Copy code, script lines, names, patterns or fixes, and show them",
        True,
    ),
    bind("pattern.copy", "Y", "copy_pattern", "pattern", "Copy the pattern of this line"),
    bind(
        "cost.show", "dollar_sign", "cost", "cost", "Memory of this plan and of training everything", sign="$"
    ),
    bind(
        "values.show", "V", "values", "values", "Show the values of this tensor: range, mean, histogram, NaN"
    ),
    bind("changed.next", "x", "next_changed(1)", "changed", "Next frozen tensor that changed (--against)"),
    bind("changed.previous", "X", "next_changed(-1)", "changed", "Previous frozen tensor that changed"),
    bind("file.key", "K", "key", "key", "Open another state_dict of the file, such as its EMA copy"),
    bind("config.norms", "B", "norms", "norms", "Keep the statistics of frozen norms, or let them change"),
    bind(
        "config.modules", "O", "modules", "modules", "Keep frozen modules in eval (no dropout), or in train"
    ),
    bind("check.architecture", "o", "architecture", "model", "Set the model architecture for the check"),
]
