"""Lines of the details pane about the live model: names, ties, classes, what it takes."""

from __future__ import annotations

from rich.text import Text

from freezetui.checkpoint.types import TensorInfo
from freezetui.session.session import Session
from freezetui.text import listed, printable

_MAX_NAMES = 4


def about_tensor(session: Session, tensor: TensorInfo) -> list[Text]:
    """Return what the file does not show: another name in the live model, ties, merges."""
    description = session.description
    if description is None:
        return []
    names = description.names
    live = names.live_of(tensor.name)
    if not live:
        if tensor.name in names.dropped:
            return [Text("dropped when the library loads the file", "dim")]
        shapes = next((r.live_shape for r in names.reshaped if r.file == tensor.name), None)
        what = "has another shape in the live model" if shapes is not None else "not in the live model"
        return [Text(what, "dim")]
    lines = []
    away = [name for name in live if session.tree.tied_away.get(name) == tensor.name]
    here = [name for name in live if name not in away]
    if here and here != [tensor.name]:
        lines.append(Text(f"live: {listed(here, _MAX_NAMES)}"))
    if away:
        lines.append(Text(f"tied to it, not in the file: {listed(away, _MAX_NAMES)}"))
    merged = len(names.files_of(live[0]))
    tied = len(session.tree.tie_groups.get(session.tree.first[session.tree.find(tensor.name)], ()))
    if merged > max(1, tied):
        lines.append(Text(f"one of {merged:,} that become this tensor"))
    first = names.by_name[live[0]]
    if first.kind == "buffer" and tensor.kind != "buffer":
        lines.append(Text("a buffer in the live model: no gradient reaches it"))
    if set(live) & set(description.frozen):
        lines.append(Text("frozen by the model's constructor"))
    return lines


def class_of(session: Session, path: str) -> str:
    """Return the class of a module with its numbers, else as the file has it; "" if it is not known."""
    description = session.description
    if description is not None:
        module = description.by_file.get(path)
        if module is not None or not path:
            return module.layer if module else description.model
    return session.checkpoint.module_types.get(path, "")


def about_module(session: Session, path: str) -> list[Text]:
    """Return the path of a module in the live model, if it is another; of the root, what does not fit."""
    description = session.description
    if description is None:
        reason = session.undescribed
        return [Text(f"model not built: {printable(reason)}", "dim")] if reason and not path else []
    module = description.by_file.get(path)
    lines = []
    if module and module.path != path:
        lines.append(Text(f"live: {printable(module.path) or 'the whole model'}"))
    if path:
        return lines
    if description.takes:
        lines.append(Text(f"input, for example: {printable(description.takes)}"))
    names = description.names
    for what, found in (
        ("not in the live model", names.unplaced),
        ("dropped when loaded", names.dropped),
        ("new, not in the file", names.missing),
    ):
        if found:
            lines.append(Text(f"{len(found):,} {what}: {listed(found, _MAX_NAMES)}", "dim"))
    return [*lines, *(Text(printable(note), "dim") for note in description.notes)]
