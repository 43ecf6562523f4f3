"""What the columns say: layers and shapes, values with bars, names of deep and long lines."""

from __future__ import annotations

import math
from types import SimpleNamespace

import pytest
from rich.cells import cell_len
from rich.style import Style

from freezetui.checkpoint.types import TensorInfo
from freezetui.freeze.plan import FreezePlan
from freezetui.freeze.tree import ParamTree
from freezetui.sanity.report import FrozenPart, OwnTraining, TrainablePart
from freezetui.tui.check_marks import outcome_of
from freezetui.tui.columns import SHARE, Measures
from freezetui.tui.widgets.model_map import map_cells
from freezetui.tui.widgets.tree_line import MARKS, STYLES, Columns
from freezetui.tui.widgets.tree_painter import TreePainter
from freezetui.tui.widgets.visible_rows import VisibleRows
from support.reports import sanity_report

PLAIN = dict.fromkeys(STYLES, Style())


def painter_of(*tensors: tuple[str, tuple[int, ...]], kind: str = "parameter") -> TreePainter:
    tree = ParamTree([TensorInfo(name, shape, "float32", kind) for name, shape in tensors])
    return TreePainter(FreezePlan(tree), VisibleRows(tree))


def drawn(painter: TreePainter, path: str, width: int) -> str:
    node = painter.rows.tree.find(path)
    return "".join(s.text for s in painter.line(node).segments(Columns.fit(width), PLAIN))


CONV = (("f.0.weight", (64, 3, 3, 3)), ("f.0.bias", (64,)), ("f.1.weight", (8, 64, 1, 1)))


@pytest.mark.parametrize("width", [59, 79, 110, 138, 160])
def test_a_closed_layer_says_what_it_is(width):
    painter = painter_of(*CONV)
    painter.rows.opened[painter.rows.tree.find("f.0")] = 0
    assert "64x3x3x3" in drawn(painter, "f.0", width)
    painter.layers = {painter.rows.tree.find("f.0"): "Conv2d 3 -> 64, 3x3"}
    line = drawn(painter, "f.0", width)
    assert "Conv2d" in line and "64x3x3x3" in line
    assert ("3 -> 64" in line) == (width >= 110)
    heading = Columns.fit(width).heading(SHARE.heading, layers=True)
    assert "shape" in heading and "layer" in heading
    assert "M: model order" in Columns.fit(width).heading(SHARE.heading, "M: model order", True)
    painter.rows.opened[painter.rows.tree.find("f.0")] = 1
    assert "64x3x3x3" not in drawn(painter, "f.0", width)


@pytest.mark.parametrize("width", range(20, 200, 7))
def test_every_line_is_as_wide_as_its_columns(width):
    painter = painter_of(*CONV, (".".join("abcdefghijklmnop") + ".weight", (2, 2)), ("名" * 90, (3_000_000,)))
    painter.plan.set([(0, 1)], False)  # a module that is mixed, and a small part of the model
    columns = Columns.fit(width)
    for node in range(len(painter.rows.tree)):
        line = "".join(s.text for s in painter.line(node).segments(columns, PLAIN))
        assert cell_len(line) == sum(columns)
    for layers in (False, True):
        assert len(columns.heading(SHARE.heading, "by share", layers)) == sum(columns)


def test_a_tree_of_12_levels_is_indented_at_60_columns():
    painter = painter_of((".".join(f"L{i}" for i in range(11)) + ".Weight", (2, 2)), ("L0.Bias", (2,)))
    tree = painter.rows.tree
    starts = [drawn(painter, tree.path(node), 59).index(tree.names[node]) for node in range(1, len(tree))]
    depths = [tree.depths[node] for node in range(1, len(tree))]
    assert [start - starts[0] for start in starts] == [depth - depths[0] for depth in depths]


@pytest.mark.parametrize("width", [59, 79, 110])
def test_deep_lines_keep_their_names_and_long_names_their_ends(width):
    deep = ".".join(["module"] * 40)
    painter = painter_of((f"{deep}.q_proj.weight", (2, 2)), ("a" * 300 + "_the_end", (2,)))
    line = drawn(painter, f"{deep}.q_proj", width)
    assert "q_proj" in line and "41 " in line  # its level, where indentation would take all the room
    assert "_the_end" in drawn(painter, "a" * 300 + "_the_end", width)
    assert "…aa" in drawn(painter, "a" * 300 + "_the_end", width)


def measures_of(painter: TreePainter, **known: object) -> dict[str, object]:
    session = SimpleNamespace(tree=painter.rows.tree, report=None, comparison=None)
    session.__dict__.update(known)
    return {measure.name: measure for measure in Measures(session).now()}


def test_only_what_is_known_is_offered():
    painter = painter_of(*CONV)
    assert list(measures_of(painter)) == ["share", "bytes"]
    report = SimpleNamespace(
        gradients={"f.1.weight": 0.5}, updates={"f.1.weight": 0.01}, own=None, forward=True
    )
    bare = SimpleNamespace(
        **{**vars(report), "forward": False}
    )  # random gradients, which are not the model's
    assert list(measures_of(painter, report=bare)) == ["share", "bytes"]
    change = SimpleNamespace(relative_change=[0.1, None, None], words={}, squares=(), changed_frozen=[])
    assert list(measures_of(painter, report=report, comparison=change)) == [
        *("share", "bytes", "gradient", "update", "change")
    ]
    nothing = SimpleNamespace(relative_change=[None] * 3, words={}, squares=(), changed_frozen=[])
    assert list(measures_of(painter, comparison=nothing)) == ["share", "bytes"]


def test_gradients_are_the_largest_below_and_what_is_not_known_is_blank():
    painter = painter_of(*CONV)
    report = SimpleNamespace(
        gradients={"f.0.weight": 0.25, "f.0.bias": 1e-30, "f.1.weight": None},
        updates={},
        own=None,
        forward=True,
    )
    painter.measure = measures_of(painter, report=report)["gradient"]
    assert drawn(painter, "f.0", 79).rstrip().endswith(" 0.25")
    assert drawn(painter, "f.1.weight", 79).rstrip().endswith("inf/nan")
    assert drawn(painter, "f.0.bias", 79).rstrip().endswith(" 1e-30")
    report = SimpleNamespace(gradients={"f.0.weight": 0.25}, updates={}, own=None, forward=True)
    painter.measure = measures_of(painter, report=report)["gradient"]
    assert drawn(painter, "f.1", 79).rstrip().endswith("512")  # the elements; no value, no bar
    assert painter.line(painter.rows.tree.find("f.1")).value.text == ""


def test_updates_name_the_optimizer_whose_steps_they_are_of():
    painter = painter_of(*CONV)
    report = SimpleNamespace(
        gradients={}, updates={"f.0.weight": 2e-5, "f.1.weight": None}, own=None, forward=True
    )
    measure = measures_of(painter, report=report)["update"]
    assert measure.heading == ("update", "update, check's step")
    painter.measure = measure
    assert drawn(painter, "f.0", 79).rstrip().endswith(" 2e-05")
    assert drawn(painter, "f.1", 79).rstrip().endswith("inf/nan")
    report.own = SimpleNamespace(optimizer="Lion(lr=1e-05)")
    assert measures_of(painter, report=report)["update"].heading[1] == "update, Lion"


@pytest.mark.parametrize(
    ("own", "words"),
    [
        (None, "2e-05, by the check's own large step, not your script's"),
        ("", "2e-05, by Lion(lr=1e-05) on the check's own loss"),
        ("train.py:step", "2e-05, by Lion(lr=1e-05) in train.py:step"),
    ],
)
def test_the_details_say_whose_step_an_update_is_of(own, words):
    tree = painter_of(*CONV).rows.tree
    none = FrozenPart(0, 0), TrainablePart(0, 0)
    steps = None if own is None else OwnTraining("Lion(lr=1e-05)", 3, (), *none, own)
    updates = {"f.0.weight": 2e-5, "f.0.bias": None}
    report = sanity_report(frozen=none[0], trainable=none[1], updates=updates, own=steps)
    outcomes = SimpleNamespace(of=lambda index: SimpleNamespace(words="trained"))
    session = SimpleNamespace(report=report, outcomes=outcomes, tree=tree, report_is_stale=False)
    session.checks, session.stages = (
        SimpleNamespace(when=lambda stage: ""),
        SimpleNamespace(shown=None),
    )
    assert outcome_of(session, "f.0.weight")[1:] == [f"largest |update| / |weight| {words}"]
    assert "not finite" in outcome_of(session, "f.0.bias")[1]
    assert len(outcome_of(session, "f.1.weight")) == 1


@pytest.mark.parametrize(
    ("change", "text"),
    [(0.0, "0%"), (1e-9, "<0.01%"), (0.0123, "1.2%"), (2.4, "240%"), (math.inf, "from 0"), (None, "")],
)
def test_changes(change, text):
    painter = painter_of(*CONV)
    comparison = SimpleNamespace(
        relative_change=[change, None, 0.5], words={}, squares=(), changed_frozen=[0]
    )
    painter.measure = measures_of(painter, comparison=comparison)["change"]
    line = painter.line(painter.rows.tree.find("f.0.weight"))
    assert line.value.text == text
    assert line.value.is_wrong == (change is not None)
    assert not painter.line(painter.rows.tree.find("f.1.weight")).value.is_wrong
    assert painter.line(0).value.is_wrong


def test_a_change_without_a_size_is_a_word():
    painter = painter_of(*CONV)
    place = {t.name: i for i, t in enumerate(painter.rows.tree.tensors)}

    def shown(words: dict[str, str], **sizes: float) -> dict[str, str]:
        relative = [math.nan] * len(place)
        for name, size in sizes.items():
            relative[place[name.replace("__", ".")]] = size
        known = SimpleNamespace(
            relative_change=relative,
            words={place[n]: w for n, w in words.items()},
            squares=(),
            changed_frozen=[],
        )
        painter.measure = measures_of(painter, comparison=known)["change"]
        find = painter.rows.tree.find
        return {name: painter.line(find(name)).value.text for name in ("", "f", "f.0", "f.0.weight", "f.1")}

    words = {"f.0.weight": "shape", "f.0.bias": "new"}
    assert shown(words, f__1__weight=0.1) == {
        "": "10%",
        "f": "10%",
        "f.0": "differs",
        "f.0.weight": "shape",
        "f.1": "10%",
    }
    assert shown({"f.0.weight": "shape"}, f__0__bias=0.0, f__1__weight=0.0)["f"] == "shape"
    assert shown({"f.0.weight": "NaN"}, f__0__bias=0.5, f__1__weight=0.0)["f.0"] == "50%"


def test_shares_and_bytes_add_up_and_a_buffer_has_no_share():
    painter = painter_of(*CONV)
    assert painter.line(0).value.text == "100%"
    painter.measure = measures_of(painter)["bytes"]
    assert painter.line(painter.rows.tree.find("f.0")).value.text == "7.0 KiB"
    buffers = painter_of(("a.mean", (4,)), kind="buffer")
    assert buffers.line(buffers.rows.tree.find("a.mean")).value.text == ""


def test_the_change_of_a_module_is_that_of_its_tensors_together():
    painter = painter_of(*CONV)
    # A bias that began with zeros does not hide how little the weight changed.
    comparison = SimpleNamespace(
        relative_change=[0.1, math.inf, 0.0],
        words={},
        squares=([1.0, 0.01, 0.0], [100.0, 0.0, 0.0]),
        changed_frozen=[],
    )
    painter.measure = measures_of(painter, comparison=comparison)["change"]
    assert drawn(painter, "f.0.bias", 79).rstrip().endswith("from 0")
    assert drawn(painter, "f.0", 79).rstrip().endswith("10%")
    assert drawn(painter, "f", 79).rstrip().endswith("10%")


def test_the_change_of_a_module_without_changed_parameters_is_that_of_its_statistics():
    """A mean that began at 0 does not say that the module changed from 0; a counter says nothing."""
    painter = painter_of(("n.weight", (4,)), ("n.mean", (4,)), ("n.var", (4,)), ("n.counter", ()))
    none = [0.0] * 4
    squares = none, none, [0.0, 0.04, 0.05, 0.0], [0.0, 0.0, 1.0, 0.0]
    changes = [0.0, math.inf, 0.2, math.inf]
    comparison = SimpleNamespace(relative_change=changes, words={}, squares=squares, changed_frozen=[])
    painter.measure = measures_of(painter, comparison=comparison)["change"]
    assert drawn(painter, "n.mean", 79).rstrip().endswith("from 0")
    assert drawn(painter, "n", 79).rstrip().endswith("30%")


def test_shares_are_of_the_parameters_as_the_totals_count_them():
    painter = painter_of(("a.weight", (8, 4)), ("a.bias", (8,)), ("b.weight", (2, 8)), ("b.bias", (2,)))
    bn = [("bn.weight", 8, "parameter"), ("bn.bias", 8, "parameter"), ("bn.running_mean", 8, "buffer")]
    more = [TensorInfo(name, (size,), "float32", kind) for name, size, kind in bn]
    tree = ParamTree([*painter.rows.tree.tensors, *more])
    painter = TreePainter(FreezePlan(tree), VisibleRows(tree))
    painter.plan.set([tree.span(tree.find("a"))], False)
    assert (
        painter.line(tree.find("a")).value.text == "54%"
    )  # 40 of 74; the 8 of the buffer are not among them
    assert 1 - painter.plan.totals().share == pytest.approx(40 / 74)
    assert painter.line(tree.find("bn")).value.text == "22%" and painter.line(0).value.text == "100%"
    assert painter.line(tree.find("bn.running_mean")).value.text == ""
    cells = [cell.text for cell in map_cells(painter, 74)]
    assert cells == ["▓"] * 40 + ["░"] * 34
    painter.marks = bytes(len(tree.tensors) - 1) + bytes([MARKS.index("!")])
    assert [cell.text for cell in map_cells(painter, 74)][-2:] == ["░", "!"]  # a buffer that moved is seen


def test_a_tied_parameter_has_the_same_share_on_both_lines_and_one_place_in_the_map():
    sizes = {"head": 50, "norm": 25, "embed": 50}
    tree = ParamTree(
        [TensorInfo(f"{name}.weight", (size,), "float32") for name, size in sizes.items()],
        tied=[("head.weight", "embed.weight")],
    )
    painter = TreePainter(FreezePlan(tree), VisibleRows(tree))
    shares = [painter.line(tree.find(name)).value.text for name in ("", "head", "norm", "embed")]
    assert shares == ["100%", "67%", "33%", "67%"]
    painter.plan.set([(0, 1)], False)
    assert "".join(cell.text for cell in map_cells(painter, 6)) == "▓▓▓▓░░"


def test_a_model_without_parameters_is_in_the_map_as_it_is():
    painter = painter_of(("a", (3,)), ("b", (1,)), kind="buffer")
    assert [cell.text for cell in map_cells(painter, 4)] == ["·"] * 4
