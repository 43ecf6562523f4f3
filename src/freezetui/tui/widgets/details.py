"""DetailsPane: everything about the line under the cursor."""

from __future__ import annotations

from rich.text import Text
from textual.app import ComposeResult
from textual.containers import VerticalScroll
from textual.geometry import Region
from textual.strip import Strip

from freezetui import numbers
from freezetui.checkpoint.types import TensorInfo
from freezetui.session.session import Session
from freezetui.text import printable
from freezetui.tui.check_marks import outcome_of
from freezetui.tui.cost_text import cost_table
from freezetui.tui.guarded import Guarded
from freezetui.tui.norms import norms_brief
from freezetui.tui.values import Values
from freezetui.tui.widgets.change_lines import change_of_lines, change_of_tensor
from freezetui.tui.widgets.live_lines import about_module, about_tensor, class_of
from freezetui.tui.widgets.text_lines import TextLines
from freezetui.tui.widgets.tree_painter import segment
from freezetui.tui.widgets.visible_rows import VisibleRows

#: Tied names to list in the pane.
_MAX_TIED = 30

_STATE = {
    "frozen": "frozen: requires_grad = False",
    "trainable": "trainable: requires_grad = True",
    "mixed": "mixed: some frozen, some trainable",
    "untrainable": "not trainable",
}


class DetailsPane(Guarded, VerticalScroll, can_focus=False):
    """Full name, exact counts, ties, why it is not trainable, and what the last check found."""

    DEFAULT_CSS = """
    DetailsPane {
        padding: 0 1;
        border-left: vkey $panel-lighten-1;
        scrollbar-size-vertical: 1;
    }
    DetailsPane > TextLines {
        min-height: 100%;
    }
    """

    #: The values that the user asked for; set by the screen.
    values: Values | None = None

    def compose(self) -> ComposeResult:
        """Compose one block of text."""
        yield TextLines(id="details-text")

    def render_lines(self, crop: Region) -> list[Strip]:
        """Draw border and background, which are the same on each line, once."""
        return super().render_lines(Region(crop.x, crop.y, crop.width, 1)) * crop.height

    def show(self, session: Session, rows: VisibleRows, node: int) -> None:
        """Describe the line of `node`."""
        tensor = session.tree.tensor(node) if rows.family(node) is None else None
        times = rows.times(node)
        lines = _of_tensor(session, node, tensor) if tensor else _of_module(session, rows, node)
        if tensor and times == 1:
            lines += change_of_tensor(session, tensor.name)
            values = self.values.lines(tensor.name) if self.values else []
            lines += [Text(), *map(Text, values)] if values else []
        else:
            lines += change_of_lines(session, rows.spans(node), is_root=node == 0)
        if times > 1:
            lines[0] = Text(printable(_title(session, rows, node)), "bold")
            lines[1:1] = [Text(f"in {times:,} blocks, edited together; z: single blocks")]
        if session.checkpoint_changed:
            lines += [Text(), Text("The checkpoint has changed since it was opened: open it again.", "bold")]
        text = self.query_one(TextLines)
        text.show(Text("\n").join(lines))
        # A layout of the whole screen takes longer than a key should; only a text that scrolls needs one.
        height = text.get_content_height(self.size, self.size, text.size.width)
        if text.size.height != self.size.height or height > self.size.height:
            text.refresh(layout=True)


def one_line(session: Session, rows: VisibleRows, node: int) -> Text:
    """Return what matters most about the line of `node`, in one line."""
    tensor = session.tree.tensor(node) if rows.family(node) is None else None
    if tensor is None:
        totals = session.plan.totals_over(rows.spans(node))
        counts = (
            f"{totals.frozen.tensors:,} frozen, {totals.trainable.tensors:,} trainable"
            f", {numbers.plural(totals.parameters.elements, 'element')}"
            f", {numbers.size(totals.parameters.bytes)}"
        )
        if totals.untrainable.tensors:
            counts += f", {totals.untrainable.tensors:,} not trainable"
        of = "of the matches: " if rows.matches is not None else ""
        return Text.assemble((f" {printable(_title(session, rows, node))}", "bold"), f"  {of}{counts}")
    parts = [
        f"{tensor.dtype} {numbers.shape(tensor.shape)}",
        numbers.plural(tensor.elements, "element"),
        numbers.size(tensor.bytes),
    ]
    index = session.tree.first[node]
    others = [session.tree.tensors[i].name for i in session.tree.tied_to(index, 1)]
    times = rows.times(node)
    parts[:0] = [f"in {times:,} blocks"] if times > 1 else []
    parts[:0] = [norms_brief(session)] if tensor.is_statistic else []
    # What comes last is what a narrow screen omits.
    parts[-2:-2] = [tensor.untrainable_reason] if tensor.untrainable_reason else []
    more = len(session.tree.tie_groups.get(index, ())) - 2
    parts[:0] = [f"tied to {printable(other)}{f' and {more:,} more' if more else ''}" for other in others]
    return Text.assemble((f" {printable(_title(session, rows, node))}", "bold"), f"  {', '.join(parts)}")


def _of_tensor(session: Session, node: int, tensor: TensorInfo) -> list[Text]:
    index = session.tree.first[node]
    state = session.plan.totals(index, index + 1).state
    kind = {"parameter": "Parameter", "buffer": "Buffer", "unknown": "Tensor"}[tensor.kind]
    lines = [
        Text(printable(segment(tensor.name)), "bold"),
        Text(f"{kind}{' (guessed from its name)' if tensor.guessed else ''}, {tensor.dtype}"),
        Text(" × ".join(map(str, tensor.shape)) or "scalar"),
        Text(numbers.plural(tensor.elements, "element")),
        Text(_bytes(tensor.bytes)),
        Text(),
        Text(_STATE[state], "bold"),
    ]
    if tensor.untrainable_reason:
        lines.append(Text(tensor.untrainable_reason))
    if tensor.is_statistic:
        lines += [Text(norms_brief(session)), Text("(of all frozen norms; B changes it)", "dim")]
    if tensor.requires_grad is not None:
        lines.append(Text(f"stored in the file: requires_grad = {tensor.requires_grad}", "dim"))
    others = [session.tree.tensors[i].name for i in session.tree.tied_to(index, _MAX_TIED)]
    if others:
        lines += [
            Text(),
            Text("tied: shared under several names,"),
            Text("counted once, toggled together:"),
        ]
        lines += [Text(f"= {printable(name)}") for name in others]
        more = len(session.tree.tie_groups[index]) - 1 - len(others)
        lines += [Text(f"and {more:,} more")] if more else []
    live = about_tensor(session, tensor)
    lines += [Text(), *live] if live else []
    seen = outcome_of(session, tensor.name)
    return [*lines, Text(), *(Text(printable(line)) for line in seen)] if seen else lines


def _bytes(count: int) -> str:
    """Return a size, and in bytes: "2.1 KiB (2,112 bytes)"; of few bytes only these."""
    exact = numbers.plural(count, "byte")
    return f"{numbers.size(count)} ({exact})" if count >= 1024 else exact


def _of_module(session: Session, rows: VisibleRows, node: int) -> list[Text]:
    tree = session.tree
    path = tree.path(node)
    totals = session.plan.totals_over(rows.spans(node))
    family = rows.family(node)
    if family is not None:
        what = f"{len(family)} identical blocks, toggled together; → to expand"
    else:
        known = class_of(session, path)
        what = (known or "Module") if node else f"Whole model{known and ': '}{known}"
    lines = [
        Text(printable(_title(session, rows, node)), "bold"),
        Text(printable(what)),
        *(about_module(session, path) if family is None else []),
        Text(),
        Text(_STATE[totals.state], "bold"),
    ]
    for word, tally in (("frozen", totals.frozen), ("trainable", totals.trainable)):
        lines += [
            Text(f"{numbers.plural(tally.tensors, 'tensor')} {word}"),
            Text(f"  {numbers.plural(tally.elements, 'element')}, {numbers.size(tally.bytes)}", "dim"),
        ]
    if totals.untrainable.tensors:
        lines.append(
            Text(f"{numbers.plural(totals.untrainable.tensors, 'tensor')} not trainable (buffer or integer)")
        )
    if rows.matches is not None:
        lines.append(Text("only what the filter matches", "italic"))
    return [*lines, Text(), *cost_table(session), *_about_file(session)] if node == 0 else lines


def _title(session: Session, rows: VisibleRows, node: int) -> str:
    """Return the dotted name of a module, or of a family of repeated blocks."""
    return rows.title(node) or segment(session.tree.names[node])


def _about_file(session: Session) -> list[Text]:
    checkpoint = session.checkpoint
    lines = [Text()]
    if checkpoint.unwrapped:
        lines.append(Text(f"loaded from: {printable(checkpoint.unwrapped)}"))
    if len(checkpoint.choices) > 1:
        lines.append(Text(f"state_dicts in this file (--key): {printable(', '.join(checkpoint.choices))}"))
    lines += [Text(printable(f"skipped {p.key}: {p.what}"), "dim") for p in checkpoint.skipped[:12]]
    lines += [Text(printable(f"! {warning}")) for warning in checkpoint.warnings[:12]]
    if checkpoint.foreign:
        from freezetui.checkpoint.pickles.globals import marked  # few files need it

        names = ", ".join(marked(checkpoint.foreign)[:8])
        lines.append(Text(printable(f"! torch.load would import: {names}")))
    return lines if len(lines) > 1 else []
