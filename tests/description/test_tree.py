"""What a description makes of a file's tree: order, ties, modules; by plain data, without torch."""

from __future__ import annotations

import pytest

from freezetui.description.file_modules import file_modules
from freezetui.description.tree import described_tree, file_ties, tied_away
from freezetui.freeze.name_map import LiveTensor, NameMap
from freezetui.freeze.plan import FreezePlan, moved_mask
from freezetui.freeze.rules import matched
from freezetui.freeze.tree import ParamTree
from support.strategies import tree_of


def live(name: str, *files: str, tied_to: str = "") -> LiveTensor:
    return LiveTensor(name, "parameter", (2, 2), files, clean=name, tied_to=tied_to)


def names(tree: ParamTree) -> list[str]:
    return [tensor.name for tensor in tree.tensors]


def test_the_order_is_that_of_the_live_model_and_strangers_stay_behind_their_neighbor() -> None:
    tree = tree_of("a.x", "a.old", "b.x", "c.x")
    known = NameMap((live("c.x", "c.x"), live("b.y", "b.x"), live("a.x", "a.x")))
    assert names(described_tree(tree, known)) == ["c.x", "b.x", "a.x", "a.old"]
    same = NameMap((live("a.x", "a.x"), live("b.y", "b.x"), live("c.x", "c.x")))
    assert described_tree(tree, same) is tree


def test_two_tensors_of_the_file_that_are_one_in_the_model_are_tied() -> None:
    tree = tree_of("embed.weight", "layer.weight", "head.weight")
    both = ("embed.weight", "head.weight")
    rows = (
        live("embed.weight", *both),
        live("layer.weight", "layer.weight"),
        live("head.weight", *both, tied_to="embed.weight"),
    )
    found = described_tree(tree, NameMap(rows))
    assert file_ties(NameMap(rows)) == [both] and found is not tree
    plan = FreezePlan(found)
    plan.set([found.span(found.find("head"))], False)
    assert plan.mask() == b"\0\1\0" and plan.totals().frozen.tensors == 1
    assert described_tree(found, NameMap(rows)) is found
    assert tied_away(NameMap(rows)) == {}


def test_merged_experts_are_not_tied() -> None:
    rows = (live("experts.up", "e.0.w", "e.1.w"),)
    assert file_ties(NameMap(rows)) == []


def test_tied_away_names_are_found_by_patterns_and_renamed_ones_are_not() -> None:
    tree = tree_of("old.embed.weight", "layer.weight")
    rows = (
        live("new.embed.weight", "old.embed.weight"),
        live("layer.weight", "layer.weight"),
        live("head.weight", "old.embed.weight", tied_to="new.embed.weight"),
    )
    found = described_tree(tree, NameMap(rows))
    assert found.tied_away == {"head.weight": "old.embed.weight"}
    try:
        matched("head", found)
    except Exception as error:
        assert str(error) == (
            "pattern 'head' matches no parameter of the file: head.weight is tied to old.embed.weight. "
            "Write old.embed.weight."
        )
    else:
        raise AssertionError("it matched")


def test_modules_of_the_file_are_found_by_their_tensors() -> None:
    rows = (
        live("vit.layers.0.q.weight", "vit.encoder.layer.0.attention.attention.query.weight"),
        live("vit.layers.0.norm.weight", "vit.encoder.layer.0.norm.weight"),
        live("head.weight", "head.weight"),
        live("new.weight"),
    )
    files = [file for row in rows for file in row.files]
    paths = ["", "vit", "vit.layers", "vit.layers.0", "vit.layers.0.q", "vit.layers.0.norm", "head", "new"]
    assert file_modules(NameMap(rows), files, paths) == {
        "": "",
        "vit": "vit",
        "vit.layers": "vit.encoder.layer",
        "vit.layers.0": "vit.encoder.layer.0",
        "vit.layers.0.q": "vit.encoder.layer.0.attention.attention.query",
        "vit.layers.0.norm": "vit.encoder.layer.0.norm",
        "head": "head",
    }


def test_a_plan_moves_with_its_history() -> None:
    old, new = tree_of("a.x", "b.x", "c.x"), tree_of("c.x", "a.x", "b.x")
    plan = FreezePlan(old)
    plan.set([(0, 1)], False)
    plan.set([(1, 3)], False)
    plan.undo()
    moved = plan.moved_to(new)
    assert moved.mask() == b"\1\0\1" == moved_mask(plan.mask(), old, new)
    assert moved.redo() is not None and moved.mask() == b"\0\0\0"
    assert moved.undo() is not None and moved.undo() is not None
    assert moved.mask() == b"\1\1\1" and not moved.can_undo


def tied_model(head_in_file: bool) -> tuple[NameMap, list[str]]:
    """Embeddings, a block, and a head that is tied to the embeddings."""
    files = ["shared.weight", "block.weight", *(["head.weight"] if head_in_file else [])]
    both = ("shared.weight", "head.weight") if head_in_file else ("shared.weight",)
    rows = (
        LiveTensor("shared.weight", "parameter", (2,), both),
        LiveTensor("block.weight", "parameter", (2,), ("block.weight",)),
        LiveTensor("head.weight", "parameter", (2,), both, tied_to="shared.weight"),
    )
    return NameMap(rows), files


@pytest.mark.parametrize("head_in_file", [False, True])
def test_a_tied_module_is_not_taken_for_another(head_in_file: bool) -> None:
    names, files = tied_model(head_in_file)
    found = file_modules(names, files, ["", "shared", "block", "head"])
    own = {"": "", "shared": "shared", "block": "block"}
    assert found == (own | {"head": "head"} if head_in_file else own)
