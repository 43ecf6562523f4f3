"""The same weights under other names: other spellings, and the names of the live model."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn.utils.parametrizations import weight_norm

from freezetui.checkpoint.open import open_checkpoint
from freezetui.checkpoint.types import Checkpoint, TensorInfo
from freezetui.diff.renaming import match_renamed
from freezetui.diff.run import diff_series
from freezetui.errors import FreezeTuiError
from freezetui.freeze.name_map import LiveTensor, NameMap

from .conftest import paired


def checkpoint(*names, shape=(2, 3)):
    return Checkpoint("x", "zip state_dict", tuple(TensorInfo(name, shape, "float32") for name in names))


def names(**live):
    """Return the map of a library that calls each of these live names as the file does."""
    rows = (LiveTensor(name.replace("__", "."), "parameter", (2, 3), files) for name, files in live.items())
    return NameMap(tuple(rows), route="library 1.0")


def never(_):
    raise AssertionError("asked")


def test_both_weight_norms_of_torch(compared):
    old = nn.utils.weight_norm(nn.Conv1d(4, 4, 3))
    new = weight_norm(nn.Conv1d(4, 4, 3))
    new.load_state_dict(old.state_dict())
    report = compared(
        {f"a.{n}": t for n, t in old.state_dict().items()}, {f"a.{n}": t for n, t in new.state_dict().items()}
    )
    assert report.identical and report.matching == ""
    assert {t.name for t in report.tensors} == {"a.bias", "a.weight_g", "a.weight_v"}
    assert {t.new_name for t in report.tensors} > {"a.parametrizations.weight.original0"}


def test_norms_of_tensorflow_and_what_peft_puts_around():
    before = checkpoint("a.LayerNorm.gamma", "a.q.weight", "head.weight")
    after = checkpoint(
        "a.LayerNorm.weight",
        "a.q.base_layer.weight",
        "a.q.lora_A.default.weight",
        "head.modules_to_save.default.weight",
        "head.original_module.weight",
    )
    matching = match_renamed(before, after, never)
    assert paired(matching) == {
        ("a.LayerNorm.gamma", "a.LayerNorm.weight"),
        ("a.q.weight", "a.q.base_layer.weight"),
        ("head.weight", "head.modules_to_save.default.weight"),
    }
    assert [p.name for p in matching.pairs if p.before is None] == [
        "a.q.lora_A.default.weight",
        "head.original_module.weight",
    ]


@pytest.mark.parametrize("swapped", [False, True])
def test_the_live_model_tells_on_either_side(swapped):
    file, live = checkpoint("old.a", "old.b", "same"), checkpoint("x.new.a", "x.new.b", "x.same")
    known = names(new__a=("old.a",), new__b=("old.b",), same=("same",))

    def ask(side):
        if side is not file:
            raise FreezeTuiError("unknown")
        return known

    before, after = (live, file) if swapped else (file, live)
    matching = match_renamed(before, after, ask)
    expected = {("old.a", "x.new.a"), ("old.b", "x.new.b"), ("same", "x.same")}
    assert paired(matching) == ({(b, a) for a, b in expected} if swapped else expected)
    assert matching.note.startswith("matched by the names of the live model (library 1.0); matched below")
    assert [pair.name for pair in matching.pairs] == [tensor.name for tensor in before.tensors]


def test_two_files_meet_in_the_live_model():
    one, other = checkpoint("hub.a", "hub.b"), checkpoint("saved.a", "saved.b")
    maps = {
        id(one): names(a=("hub.a",), b=("hub.b",)),
        id(other): names(a=("saved.a",), b=("saved.b",)),
    }
    matching = match_renamed(one, other, lambda side: maps[id(side)])
    assert paired(matching) == {("hub.a", "saved.a"), ("hub.b", "saved.b")}


def test_what_a_library_merges_is_told():
    before, after = checkpoint("w", "e.0", "e.1"), checkpoint("v", "experts")
    known = names(v=("w",), experts=("e.0", "e.1"))
    matching = match_renamed(before, after, lambda side: known)
    assert paired(matching) == {("w", "v")}
    assert "2 tensors that the library merges" in matching.note


def test_why_there_are_no_live_names_is_told_and_nobody_is_asked_in_vain():
    def ask(_):
        raise FreezeTuiError("no library is known")

    matching = match_renamed(checkpoint("a", "b"), checkpoint("c", "b"), ask)
    assert "1 name only in BEFORE and 1 only in AFTER" in matching.note
    assert matching.note.endswith("(live names: no library is known)")
    old, new = checkpoint("b", "old_head"), checkpoint("b")
    assert paired(match_renamed(old, new, never)) == {("b", "b")}  # nothing is left over in AFTER
    tensors = (*new.tensors, TensorInfo("new_head", (10, 3), "float32"))
    other = Checkpoint("x", "zip state_dict", tensors)
    assert paired(match_renamed(old, other, never)) == {("b", "b")}  # no two of one shape


def test_a_series_speaks_of_the_names_of_the_first(tmp_path, state):
    steps = [state, *({f"net.{n}": t + k * ("head" in n) for n, t in state.items()} for k in (0, 1))]
    paths = [tmp_path / f"{k}.pth" for k in range(3)]
    for path, tensors in zip(paths, steps, strict=True):
        torch.save(tensors, path)
    config = tmp_path / "c.freeze.yaml"
    config.write_text("freezetui: 1\nrules:\n  - freeze: stem\n  - freeze: embed\n")
    series = diff_series(list(map(open_checkpoint, paths)), config)
    assert [step.judged.frozen.held for step in series.steps] == [5, 5]
    assert {t.name for t in series.steps[1].tensors} == set(state)
    assert series.document()["tensors"][-1]["started"] == 2
