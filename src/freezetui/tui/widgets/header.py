"""Header: what is open, and whether the plan is saved."""

from __future__ import annotations

from collections.abc import Sequence

from rich.cells import cell_len
from rich.style import Style
from rich.text import Text

from freezetui import numbers
from freezetui.checkpoint.sources.urls import name_of
from freezetui.session.notices import Notice, notices
from freezetui.session.session import Session
from freezetui.text import printable, shortened
from freezetui.tui.widgets.drawing import TextBar, whole_words
from freezetui.tui.widgets.totals_bar import sign_of

#: Seconds between two looks at the files.
_PERIOD = 2.0
#: A narrower header shows no stage; a stage's name gets at least so many cells.
_MIN_STAGES, _MIN_TAB = 40, 12
#: Of an architecture that does not fit, fewer cells say nothing.
_MIN_LABEL = 16
#: Cells of the longest that can be said of the config, "no config yet".
_MAX_STATE = 14
#: The tab of the rules that are below those of every stage.
_COMMON = "common"
_NOTICE = Style(bold=True, meta={"@click": "screen.notices"})


class Header(TextBar):
    """Shows file, format and size; the stages as tabs, else the architecture; what to know; the config.

    A click on a stage shows it, on what to know shows it in full.
    """

    DEFAULT_CSS = """
    Header {
        height: 1;
        background: $panel;
        color: $foreground;
    }
    """

    def __init__(self, session: Session, id: str | None = None) -> None:
        super().__init__(id=id)
        self.session = session

    def on_mount(self) -> None:
        """Look at the files now and then: others write to them, too."""
        self._told = self._state()
        self.set_interval(_PERIOD, self._look)

    def _look(self) -> None:
        told = self._state()
        if told != self._told:
            self._told = told
            self.refresh()

    def _state(self) -> tuple[object, ...]:
        return self.session.saved.on_disk, self.session.checkpoint_changed

    def render(self) -> Text:
        """Draw it; what gives way on a narrow terminal is, in this order, what is longest and least needed.

        The config's name, what the notices are, the other stages, the format, the architecture.
        """
        width, known = self.size.width, list(notices(self.session))
        described, file = self._file(True), self._file(False)
        stages, brief = self._stages(0), self._stages(1)
        full, short = _chips(known, in_full=True), _chips(known, in_full=False)
        named, config = self._config(True), self._config(False)
        choices = [
            (described, stages, full, named),
            (described, stages, full, config),
            (described, stages, short, config),
            (file, stages, full, config),
            (file, stages, short, config),
        ]
        if self.session.stages.names:
            choices.append((file, brief, short, config))
        # As if it said the longest: what is shown must not change with the first edit or with saving.
        spare = _MAX_STATE - cell_len(config.plain)
        for left, middle, chips, right in choices:
            right = chips + right
            if cell_len(left.plain) + cell_len(middle.plain) + cell_len(right.plain) + spare + 6 <= width:
                return self._line(left, middle, right)
        if self.session.stages.names:
            return self._line(file, brief if width >= _MIN_STAGES else Text(), short + config)
        room = width - cell_len(file.plain) - cell_len(short.plain) - _MAX_STATE - 6
        known_as = _architecture_in(stages.plain, room) if room >= _MIN_LABEL else ""
        return self._line(file, Text(known_as, "italic"), short + config)

    def _line(self, left: Text, middle: Text, right: Text) -> Text:
        line = _three(left, middle, right, self.size.width)
        line.style = self.base
        return line

    def _stages(self, brevity: int) -> Text:
        """Return the stages, the shown one marked; of many, or if `brevity`, only the shown one.

        Without stages, the architecture; where that is unknown, the notices say so.
        """
        stages = self.session.stages
        if not stages.names:
            architecture = self.session.architecture
            return Text("" if brevity or not architecture.is_named else architecture.label, "italic")
        common = stages.shown is None
        parts = [(f" {_COMMON} ", _tab(0, common))]
        parts += [
            (f" {number} {printable(name)}{self._verdict(name)} ", _tab(number, name == stages.shown))
            for number, name in enumerate(stages.names, 1)
        ]
        tabs = Text.assemble(*parts)
        if not brevity and cell_len(tabs.plain) * 2 <= self.size.width:
            return tabs
        if stages.shown is None:
            of = f" of {numbers.plural(len(stages.names), 'stage')} "
            return Text.assemble((f" {_COMMON} ", "reverse bold"), (of, "dim"))
        shown, place = printable(stages.shown), stages.names.index(stages.shown) + 1
        name = Text(f" {place} {shown}{self._verdict(stages.shown)}")
        name.truncate(max(_MIN_TAB, self.size.width // 4), overflow="ellipsis")
        return Text.assemble((name.plain + " ", "reverse bold"), (f" of {len(stages.names)} ", "dim"))

    def _verdict(self, stage: str | None) -> str:
        """Return the sign of a stage's last check; "" before it, and after an edit of its plan."""
        report = self.session.checks.report(stage)
        return "" if report is None or self.session.checks.is_stale(stage) else f" {sign_of(report)}"

    def _file(self, described: bool) -> Text:
        """Return the file's name, and its format and size if `described`."""
        checkpoint = self.session.checkpoint
        name = printable(name_of(self.session.options.source))
        if self.session.options.more:
            name += f" +{len(self.session.options.more)}"
        if len(checkpoint.choices) > 1:
            name += f" [{shortened(printable(checkpoint.key)) or 'top level'}]"
        parts = [checkpoint.format, numbers.size(checkpoint.size)]
        if checkpoint.unwrapped:
            parts.append(printable(checkpoint.unwrapped))
        return Text.assemble((f" {name}", "bold"), (f"  {', '.join(parts)}" if described else "", "dim"))

    def _config(self, named: bool) -> Text:
        """Return whether the config on disk says the plan, and where it is if `named`."""
        session = self.session
        name = f"{printable(session.config_path.name)} " if named else ""
        if session.unsaved:
            return Text.assemble(("● unsaved ", "bold"), (name, "dim"))
        if session.saved_here:
            return Text.assemble(("saved ", "dim"), name)
        nothing = session.config is None and session.saved.problem is None
        return Text("no config yet " if nothing else "not saved ", "dim")


def _architecture_in(label: str, room: int) -> str:
    """Return as much of "library Model, widths" as fits: rather the model's name than its library alone."""
    cut, model = whole_words(label, room), label.partition(" ")[2]
    if cut == label or not model:
        return cut
    return model if cell_len(model) <= room else cut if " " in cut else whole_words(model, room)


def _chips(known: Sequence[Notice], in_full: bool) -> Text:
    """Return what the notices are about, or how many there are, with the key that shows them."""
    if not known:
        return Text()
    if in_full:
        return Text.assemble((f"! {', '.join(notice.short for notice in known)}", _NOTICE), "  ")
    return Text.assemble((f"! {len(known)}", _NOTICE), "  ")


def _tab(number: int, shown: bool) -> Style:
    return Style(reverse=shown, bold=shown, dim=not shown, meta={"@click": f"screen.show_stage({number})"})


def _three(left: Text, middle: Text, right: Text, width: int) -> Text:
    """Return left, middle and right in one line; the left is truncated if they do not fit."""
    room = width - cell_len(right.plain) - 2
    left.truncate(max(0, room - cell_len(middle.plain)), overflow="ellipsis")
    gap = max(0, room - cell_len(left.plain) - cell_len(middle.plain))
    before = gap // 2
    return Text.assemble(left, " " * (before + 1), middle, " " * (gap - before + 1), right, no_wrap=True)
