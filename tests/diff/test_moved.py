"""Modules that were renamed by hand: matched where their bytes prove it, and not where only names do."""

from __future__ import annotations

import json

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from freezetui.checkpoint.types import Checkpoint, TensorInfo
from freezetui.diff.renaming import match_renamed

from .conftest import told

HEAD = {"head.weight": torch.ones(3, 4)}


def backbone(path: str, blocks: int = 4) -> dict[str, torch.Tensor]:
    chance = torch.Generator().manual_seed(0)
    return {
        f"{path}layers.{number}.{name}": torch.randn(shape, generator=chance)
        for number in range(blocks)
        for name, shape in (("weight", (8, 8)), ("bias", (8,)))
    }


@pytest.mark.parametrize("paths", [("backbone.", "encoder.body."), ("x.", "y.z.w."), ("a.0.", "a.1.")])
def test_a_renamed_module_is_matched_and_judged(compared, paths):
    old, new = paths
    before = {**backbone(old), **HEAD, **{f"head.{number}.bias": torch.ones(1) for number in range(9)}}
    after = {
        **before,
        **backbone(new),
        "classifier.fc.kernel": torch.ones(5),
        "head.weight": torch.zeros(3, 4),
    }
    for name in backbone(old):
        del after[name]
    report = compared(before, after, "rules:\n- freeze: '**.layers'\n")
    assert report.judged is not None
    assert (report.judged.verdict, report.judged.frozen.held) == ("held", 8)
    assert report.matching.endswith(": 8 of 8 tensors have the same bytes")
    assert told(report, f"{old}layers.0.weight").new_name == f"{new}layers.0.weight"
    assert {t.name for t in report.tensors if t.status == "added"} == {"classifier.fc.kernel"}


def test_what_changed_below_a_renamed_module_is_found(compared):
    before, after = {**backbone("backbone."), **HEAD}, {**backbone("encoder."), **HEAD}
    after["encoder.layers.2.weight"][1, 1] += 1
    report = compared(before, after, "rules:\n- freeze: backbone\n")
    assert report.judged is not None
    assert report.judged.frozen.moved == ("backbone.layers.2.weight",)
    assert report.matching == "matched backbone with encoder: 7 of 8 tensors have the same bytes"


def test_names_and_shapes_alone_prove_nothing(compared):
    """A module that was trained and renamed, and a new one in place of an old one, look the same."""
    before, after = {**backbone("old."), **HEAD}, {**backbone("new."), **HEAD}
    for name in after:
        if name.startswith("new.") and name != "new.layers.0.bias":
            after[name] = after[name] + 0.1
    report = compared(before, after)
    assert report.matching.startswith("8 names only in BEFORE and 8 only in AFTER")
    assert {t.status for t in report.tensors if t.name != "head.weight"} == {"removed", "added"}


def test_the_model_is_meant_and_not_its_copy_and_the_rest_is_told(compared):
    before = {**backbone("backbone."), "old.a": torch.ones(3), "head.weight": torch.ones(3, 4)}
    after = {**backbone("ema.net."), **backbone("net."), "new.b": torch.ones(3), **HEAD}
    report = compared(before, after)
    assert "matched backbone with net: 8 of 8" in report.matching
    assert "1 name only in BEFORE and 9 only in AFTER" in report.matching
    assert told(report, "backbone.layers.1.bias").new_name == "net.layers.1.bias"


def test_several_modules_with_names_of_their_own(compared):
    before = {**backbone("stem.", 1), **backbone("layer1.", 2), "head.weight": torch.ones(3, 4)}
    after = {**backbone("stages.0.", 1), **backbone("stages.1.", 2), **HEAD}
    for number in range(2):
        before[f"layer1.layers.{number}.weight"] = after[f"stages.1.layers.{number}.weight"] = torch.randn(
            8, 8
        )
    report = compared(before, after)
    assert report.identical, report.matching
    assert json.dumps(report.matching).count("have the same bytes") == 2


def test_a_module_of_very_many_blocks_is_found(compared):
    """Each of its tensors has the shape and the last segment of all others."""
    before = {f"model.layers.{i}.{n}.weight": torch.full((2,), float(i)) for i in range(900) for n in "ab"}
    after = {name.replace("layers", "blocks"): tensor for name, tensor in before.items()}
    after |= (same := {f"tail.{i}": torch.ones(1) for i in range(1900)})
    report = compared(before | same, after)
    assert report.identical
    assert (
        report.matching
        == "matched model.layers with model.blocks: 1,800 of 1,800 tensors have the same bytes"
    )


NAMES = st.sets(
    st.lists(st.sampled_from("ab01"), min_size=1, max_size=4).map(".".join), min_size=1, max_size=12
)


@given(NAMES, NAMES, st.booleans())
def test_every_tensor_is_in_one_pair_and_every_name_in_one_line(before, after, same):
    def checkpoint(names):
        tensors = [TensorInfo(name, (len(name) % 2 + 1,), "float32") for name in sorted(names)]
        return Checkpoint("x.pth", "zip", tuple(tensors))

    def equal(couples):
        assert all(one.shape == other.shape for one, other in couples)
        return [same] * len(couples)

    found = match_renamed(checkpoint(before), checkpoint(after), None, equal)
    assert sorted(pair.before.name for pair in found.pairs if pair.before) == sorted(before)
    assert sorted(pair.after.name for pair in found.pairs if pair.after) == sorted(after)
    assert len({pair.name for pair in found.pairs}) == len(found.pairs)


def test_where_the_bytes_choose_one_of_several_paths_no_other_words_stay(compared):
    model = {f"{i}.weight": torch.randn(4, 4) for i in range(4)}
    sides = {f"q.{name}": t for name, t in model.items()} | {f"k.{name}": t + 1 for name, t in model.items()}
    expected = (
        "the names fit below several paths (k., q.); "
        "matched the top level with q: 4 of 4 tensors have the same bytes"
    )
    assert compared(model, sides).matching == expected
