"""The lines above and below the tree: what is open, the column heads, the totals."""

from __future__ import annotations

from rich.cells import cell_len
from rich.text import Text
from textual.reactive import reactive
from textual.widget import Widget

from freezetui.checkpoint.places import name_of
from freezetui.checkpoint.text import printable
from freezetui.plain import numbers
from freezetui.session import Session
from freezetui.tui.line import Columns


class _Bar(Widget):
    """A widget of one line that draws the session."""

    def __init__(self, id: str | None = None) -> None:
        super().__init__(id=id)
        self.session: Session | None = None

    def show(self, session: Session) -> None:
        """Draw this session."""
        self.session = session
        self.refresh()


class HeaderLine(_Bar):
    """File, format and size; architecture; config and whether it is saved."""

    progress = reactive("")

    def render(self) -> Text:
        """The header; where it is narrow the config's name goes first, then the format, then the middle."""
        if self.session is None:
            return Text.assemble((" opening …", "dim"), f"  {self.progress}", ("  q quits", "dim"))
        middle, width = Text(self.session.architecture.label, "italic"), self.size.width
        choices = [(self._file(True), self._config(True)), (self._file(True), self._config(False))]
        choices.append((self._file(False), self._config(False)))
        for left, right in choices:
            if cell_len(left.plain) + cell_len(middle.plain) + cell_len(right.plain) + 6 <= width:
                return _three(left, middle, right, width)
        left, right = choices[1]
        return _three(left, Text(), right, width)

    def _file(self, described: bool) -> Text:
        """The file's name, and what it is if there is room."""
        assert self.session is not None
        checkpoint = self.session.checkpoint
        name = printable(name_of(self.session.options.source))
        if self.session.options.more:
            name += f" +{len(self.session.options.more)}"
        parts = [checkpoint.format, numbers.size(checkpoint.size)]
        if checkpoint.unwrapped:
            parts.append(printable(checkpoint.unwrapped))
        return Text.assemble((f" {name}", "bold"), (f"  {', '.join(parts)}" if described else "", "dim"))

    def _config(self, named: bool) -> Text:
        """Whether the choice is saved, and where if there is room."""
        assert self.session is not None
        name = printable(self.session.config_path.name) if named else ""
        if self.session.unsaved:
            return Text.assemble(("● unsaved ", "bold"), (f"{name} " if name else "", "dim"))
        if self.session.config is None:
            return Text("no config yet ", "dim")
        return Text.assemble(("saved ", "dim"), f"{name} " if name else "")


class ColumnHeads(_Bar):
    """The names of the tree's columns."""

    def render(self) -> Text:
        """The heads, fitted as the lines below are."""
        return Text(Columns.fit(self.content_size.width).heading(), no_wrap=True)


class DetailLine(Widget):
    """The line under the cursor in one line, where there is no room for the details pane."""

    text = reactive(Text(), layout=False)

    def render(self) -> Text:
        """Whatever was last set."""
        line, width = self.text.copy(), self.size.width
        name = line.plain.find("  ", 1)
        rest = line[name:]
        if name > 0 and cell_len(line.plain) > width and cell_len(rest.plain) < width // 2:
            line = line[:name]
            line.truncate(width - cell_len(rest.plain), overflow="ellipsis")
            line.append_text(rest)
        line.truncate(width, overflow="ellipsis")
        return line


class TotalsBar(_Bar):
    """Frozen and trainable, what the choice costs in memory, and the last check."""

    def render(self) -> Text:
        """One or two lines; the parts that do not fit are left out, the last ones first."""
        if self.session is None:
            return Text("")
        width, height = self.size
        lines = [Text() for _ in range(max(1, height))]
        row = 0
        for part in self._parts():
            while row < len(lines) and cell_len(lines[row].plain) + cell_len(part.plain) + 3 > width:
                row += 1
            if row == len(lines):
                break
            lines[row].append_text(Text("   " if lines[row].plain else " ")).append_text(part)
        return Text("\n").join(lines)

    def _parts(self) -> list[Text]:
        assert self.session is not None
        totals = self.session.totals
        frozen, trainable, everything = totals.frozen, totals.trainable, totals.parameters
        share = totals.share
        frozen_share = numbers.percent(1 - share if everything.elements else 0)
        roomy = self.size.width >= 80
        saved = 3 * (everything.bytes - trainable.bytes)
        return [
            Text.assemble(
                ("■ frozen ", "bold"),
                f"{numbers.count(frozen.elements)} ({frozen_share})",
                (f" {numbers.plural(frozen.tensors, 'tensor')}" if roomy else "", "dim"),
            ),
            Text.assemble(
                ("○ trainable ", "bold"),
                f"{numbers.count(trainable.elements)} ({numbers.percent(share)})",
                (f" {numbers.plural(trainable.tensors, 'tensor')}" if roomy else "", "dim"),
            ),
            Text.assemble(
                "gradients ",
                (numbers.size(trainable.bytes), "bold"),
                " + AdamW ",
                (numbers.size(2 * trainable.bytes), "bold"),
                f" (saves {numbers.size(saved)})" if saved else "",
            ),
            self._check(),
            Text(f"weights {numbers.size(everything.bytes)}", "dim"),
        ]

    def _check(self) -> Text:
        assert self.session is not None
        report = self.session.report
        if report is None:
            return Text("not checked yet: r", "dim")
        if self.session.report_is_stale:
            return Text.assemble("last check: ", ("before the last change", "dim"))
        return Text.assemble("last check: ", (report.verdict, "bold"))


def _three(left: Text, middle: Text, right: Text, width: int) -> Text:
    """Left, middle and right in one line; the left is cut where there is no room."""
    room = width - cell_len(right.plain) - 2
    left.truncate(max(0, room), overflow="ellipsis")
    gap = room - cell_len(left.plain) - cell_len(middle.plain)
    before = gap // 2
    return Text.assemble(left, " " * (before + 1), middle, " " * (gap - before + 1), right, no_wrap=True)
