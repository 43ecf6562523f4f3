"""Repeated blocks as one line for each state: splitting, editing all of them, showing single ones."""

from __future__ import annotations

import math
from array import array
from collections.abc import Sequence

import pytest

from freezetui.checkpoint.types import TensorInfo
from freezetui.freeze.plan import FreezePlan
from freezetui.freeze.tree import ParamTree
from freezetui.tui.columns import SHARE, SIZES, Measure
from freezetui.tui.copying import line_pattern
from freezetui.tui.widgets.line_range import LineRange
from freezetui.tui.widgets.row_values import values_of
from freezetui.tui.widgets.tree_edits import TreeEdits
from freezetui.tui.widgets.tree_painter import TreePainter
from freezetui.tui.widgets.visible_rows import VisibleRows

#: Values of each of 122 tensors: some unknown, some with words in place of a size.
_VALUES = [math.inf if i % 9 == 4 else -1.0 if i % 5 == 3 else (i * 37 % 50) / 10 for i in range(122)]
_SIZED = [-1.0 if math.isinf(value) else value for value in _VALUES]
_SQUARES = [max(value, 0.0) ** 2 for value in _SIZED], [float(1 + i % 3) for i in range(122)]
CHANGES = (
    Measure("gradient", ("gradient", "gradient"), _SIZED, 5.0),
    Measure(
        "change",
        ("change", "change"),
        array("d", _VALUES),
        5.0,
        words=dict.fromkeys(range(4, 122, 9), "new"),
        worded=range(4, 122, 9),
        sized=array("d", _SIZED),
        squares=_SQUARES,
    ),
)


class Lines:
    """A plan of a model of twelve blocks with four experts each, and its lines as text."""

    def __init__(self, tied: bool = False) -> None:
        names = ["embed.weight"]
        for block in range(12):
            names += [f"layers.{block}.mlp.experts.{e}.{w}.weight" for e in range(4) for w in ("w1", "w2")]
            names += [f"layers.{block}.norm.weight", f"layers.{block}.norm.bias"]
        names.append("head.weight")
        groups = [[f"layers.{i}.norm.bias" for i in range(12)]] if tied else []
        self.tree = ParamTree([TensorInfo(name, (4, 2), "float32") for name in names], tied=groups)
        self.plan = FreezePlan(self.tree)
        self.rows = VisibleRows(self.tree)
        self.edits = TreeEdits(self.plan, self.rows)

    def do(self, name: str, title: str) -> str:
        message = self.edits.run(name, self.node(title))
        self.rows.follow(self.plan.states)
        return message

    def node(self, title: str) -> int:
        return next(node for node in self.rows.visible if self.rows.title(node) == title)

    def at(self, title: str) -> int:
        return list(self.rows.visible).index(self.node(title))

    def frozen(self, path: str) -> set[str]:
        """Return the states of what is below a path."""
        start, stop = self.tree.span(self.tree.find(path))
        return {"ft"[state] for state in self.plan.states[start:stop]}

    @property
    def families(self) -> list[str]:
        painter = TreePainter(self.plan, self.rows)
        lines = (painter.line(node) for node in self.rows.visible if self.rows.tree.depths[node] == 2)
        return [f"{line.label} {line.totals.state}" for line in lines if not line.label.isalpha()]


def test_a_family_is_split_by_state_and_is_one_line_again_when_folded():
    lines = Lines()
    assert lines.families == ["{0..11} ×12 trainable"]
    lines.edits.freeze_before(lines.tree.find("layers.9"))
    lines.rows.follow(lines.plan.states)
    assert lines.families == ["{0..8} ×9 frozen", "{9..11} ×3 trainable"]
    lines.do("freeze", "layers.{9..11}")
    assert lines.families == ["{0..8} ×9 frozen", "{9..11} ×3 frozen"]  # the next key acts on the same three
    lines.do("train", "layers.{9..11}")
    assert lines.frozen("layers.8") == {"f"} and lines.frozen("layers.9") == {"t"}
    lines.plan.undo()
    lines.rows.follow(lines.plan.states)
    line = lines.rows.fold(lines.at("layers.{9..11}"))  # single blocks
    lines.rows.fold(line)
    assert lines.families == ["{0..11} ×12 frozen"]


def test_the_first_block_stands_for_all_of_its_group_and_for_no_other():
    lines = Lines()
    lines.edits.freeze_before(lines.tree.find("layers.9"))
    lines.rows.follow(lines.plan.states)
    lines.rows.open(lines.at("layers.{0..8}"))
    lines.rows.open(lines.at("layers.{0..8}.norm"))
    assert "in 9 blocks: 9 tensors" in lines.do("train", "layers.{0..8}.norm.bias")
    assert all(lines.frozen(f"layers.{i}.norm.bias") == {"t"} for i in range(9))
    assert all(lines.frozen(f"layers.{i}.norm.weight") == {"f"} for i in range(9))
    assert lines.families == ["{0..8} ×9 mixed", "{9..11} ×3 trainable"]
    painter = TreePainter(lines.plan, lines.rows)
    line = painter.line(lines.node("layers.{0..8}.norm.bias"))
    assert (line.times, line.totals.trainable.tensors, line.totals.frozen.tensors) == (9, 9, 0)
    assert line_pattern(lines.rows, lines.node("layers.{0..8}.norm.bias")) == "layers.{0..8}.norm.bias"


def test_groups_inside_the_first_block_of_a_group():
    lines = Lines()
    for title in ("layers.{0..11}", "layers.{0..11}.mlp", "layers.{0..11}.mlp.experts"):
        lines.rows.open(lines.at(title))
    assert "in 12 blocks: 96 tensors" in lines.do("freeze", "layers.{0..11}.mlp.experts.{0..3}")
    assert lines.frozen("layers.11.mlp") == {"f"} and lines.frozen("layers.11.norm") == {"t"}
    lines.rows.open(lines.at("layers.{0..11}.mlp.experts.{0..3}"))
    assert "in 48 blocks: 48 tensors" in lines.do("train", "layers.{0..11}.mlp.experts.{0..3}.w2")
    spans = lines.rows.spans(lines.node("layers.{0..11}.mlp.experts.{0..3}.w1"))
    names = [lines.tree.tensors[i].name for a, b in spans for i in range(a, b)]
    assert len(names) == 48 and all(name.endswith("w1.weight") for name in names)
    assert names == sorted(names, key=lambda name: [int(part) for part in name.split(".") if part.isdigit()])


def test_z_shows_single_blocks_and_the_cursor_stays():
    lines = Lines()
    lines.rows.open(lines.at("layers.{0..11}"))
    line = lines.rows.fold(lines.at("layers.{0..11}.norm"))
    assert lines.rows.title(lines.rows.visible[line]) == "layers.0.norm"
    assert lines.do("freeze", "layers.0.norm") == "" and lines.frozen("layers.1.norm") == {"t"}
    line = lines.rows.fold(lines.at("layers.0.norm"))
    assert lines.rows.title(lines.rows.visible[line]) == "layers.0"
    assert lines.families == ["0 mixed", "{1..11} ×11 trainable"]


def test_what_a_filter_shows_is_single_and_afterwards_the_groups_are_split():
    lines = Lines()
    index = lines.tree.first[lines.tree.find("layers.4.norm.bias")]
    lines.rows.show_only([(index, index + 1)])
    node = lines.node("layers.4.norm.bias")
    assert (lines.rows.times(node), lines.rows.spans(node)) == (1, [(index, index + 1)])
    lines.edits.set_matches(lines.rows.matches, False)
    lines.rows.follow(lines.plan.states)
    lines.rows.show_only(None)
    assert lines.families == ["{0..3} ×4 trainable", "4 mixed", "{5..11} ×7 trainable"]


def test_revealing_a_tensor_shows_its_single_block():
    lines = Lines()
    line = lines.rows.reveal(lines.tree.find("layers.7.norm.bias"))
    assert lines.rows.title(lines.rows.visible[line]) == "layers.7.norm.bias"


def test_in_another_order_the_same_is_folded_and_open():
    lines = Lines()
    lines.edits.freeze_before(lines.tree.find("layers.9"))
    lines.rows.follow(lines.plan.states)
    lines.rows.open(lines.at("layers.{0..8}"))
    other = ParamTree(lines.tree.tensors[-1:] + lines.tree.tensors[:-1])
    plan = lines.plan.moved_to(other)
    rows = lines.rows.moved_to(other, plan.states)
    titles = [rows.title(node) for node in rows.visible]
    assert titles[:2] == ["", "head"]
    assert sorted(titles) == sorted(lines.rows.title(node) for node in lines.rows.visible)


@pytest.mark.parametrize("tied", [False, True])
def test_totals_of_lines_for_several_blocks_are_those_of_their_tensors(tied):
    lines = Lines(tied)
    lines.rows.open(lines.at("layers.{0..11}"))
    lines.do("freeze", "layers.{0..11}.mlp")
    lines.rows.open(lines.at("layers.{0..11}.norm"))
    for node in lines.rows.visible:
        assert lines.rows.totals(node, lines.plan) == lines.plan.totals_over(lines.rows.spans(node))


def test_sorted_lines_keep_their_modules_and_come_back():
    lines = Lines()
    lines.do("freeze", "layers.{0..11}")
    before = list(lines.rows.visible)

    def key(nodes: Sequence[int]) -> list[float]:
        return values_of(SHARE, lines.rows, nodes)

    node = lines.node("head.weight") if "head.weight" in map(lines.rows.title, before) else lines.node("head")
    line = lines.rows.sort(key, node)
    assert lines.rows.visible[line] == node
    titles = [lines.rows.title(n) for n in lines.rows.visible]
    assert titles.index("layers") < titles.index("embed") < titles.index("head")
    lines.rows.open(lines.rows.line_of(lines.tree.find("layers.0")))
    assert "layers.{0..11}.norm" in [lines.rows.title(n) for n in lines.rows.visible]
    assert lines.rows.visible[lines.rows.line_of(lines.tree.find("layers.5.norm.bias"))] == lines.tree.find(
        "layers.0"
    )
    lines.rows.close(lines.rows.line_of(lines.tree.find("layers.0")))
    lines.rows.sort(None, 0)
    assert list(lines.rows.visible) == before


@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("found", [None, [(3, 9), (11, 40)]])
@pytest.mark.parametrize("measure", [*SIZES, *CHANGES], ids=["share", "bytes", "gradient", "change"])
def test_lines_are_sorted_by_the_values_that_they_show(tied, found, measure):
    lines = Lines(tied)
    for title in (
        "layers.{0..11}",
        "layers.{0..11}.mlp",
        "layers.{0..11}.mlp.experts",
        "layers.{0..11}.norm",
    ):
        lines.rows.open(lines.at(title))
    lines.do("freeze", "layers.{0..11}.mlp.experts.{0..3}")
    lines.rows.fold(lines.at("layers.{0..11}.mlp"))
    lines.rows.open(lines.rows.line_of(lines.tree.find("layers.5")))
    lines.rows.show_only(found)
    shown = [measure.value(lines.tree, lines.rows.spans(node)) for node in lines.rows.visible]
    expected = [-1.0 if value is None else value for value in shown]
    values = values_of(measure, lines.rows, lines.rows.visible.tolist())
    assert values[1:] == pytest.approx(expected[1:]), "the root is not sorted"
    assert len(set(values)) > 4


@pytest.mark.parametrize("unfolded", [True, False])
def test_a_range_of_lines_is_what_its_lines_are(unfolded):
    lines = Lines()
    if unfolded:
        lines.rows.open_all(0)
    else:
        lines.rows.open(lines.at("layers.{0..11}"))
    count = len(lines.rows)
    for start in range(0, count, 1 + count // 30):
        for stop in range(start, count, 1 + count // 30):
            selection = LineRange()
            selection.anchor = lines.rows.visible[start]
            found = {i for a, b in selection.spans(lines.rows, stop) for i in range(a, b)}
            nodes = lines.rows.visible[start : stop + 1]
            assert found == {i for node in nodes for a, b in lines.rows.spans(node) for i in range(a, b)}


def test_sorting_asks_no_tensor_by_itself(monkeypatch):
    names = [f"flat.p{i}" for i in range(2_000)]
    tree = ParamTree([TensorInfo(name, (i % 7 + 1,), "float32") for i, name in enumerate(names)])
    rows, calls, value = VisibleRows(tree), [], Measure.value
    rows.open_all(0)
    monkeypatch.setattr(Measure, "value", lambda *given: calls.append(1) or value(*given))
    rows.sort(lambda nodes: values_of(SHARE, rows, nodes), 0)
    sizes = [tree.tensors[tree.first[node]].elements for node in rows.visible[2:]]
    assert sizes == sorted(sizes, reverse=True) and not calls
    assert [
        node for node in rows.visible if node > 1 and tree.tensors[tree.first[node]].elements == 7
    ] == list(range(2 + 6, 2 + 2_000, 7)), "equal ones stay in the order of the model"


def test_single_blocks_are_remembered_and_nothing_else_is_unfolded():
    lines = Lines()
    lines.do("freeze", "layers.{0..11}")
    lines.rows.open(lines.at("layers.{0..11}"))
    lines.rows.open(lines.rows.line_of(lines.node("layers.{0..11}.mlp")))
    lines.rows.open(lines.rows.line_of(lines.tree.find("layers.0.mlp.experts")))
    lines.rows.fold(lines.rows.line_of(lines.tree.find("layers.0")))
    lines.rows.open(lines.rows.line_of(lines.tree.find("layers.3")))
    assert lines.rows.unfolded() == ["layers.0"]
    again = VisibleRows(lines.tree)
    again.expand_only(lines.rows.expanded())
    again.unfold_only(lines.rows.unfolded(), lines.plan.states)
    assert [again.title(n) for n in again.visible] == [lines.rows.title(n) for n in lines.rows.visible]
    moved = again.moved_to(lines.tree, lines.plan.states)
    assert list(moved.visible) == list(again.visible)
    again.unfold_only(["nothing.there", "head"], lines.plan.states)
    assert list(moved.visible) == list(again.visible)
