"""Which tensor is which: wrappers, parts, prefixes, and what is said where that is not known."""

from __future__ import annotations

import pytest
import torch
from safetensors.torch import save_file

from freezetui.checkpoint.open import open_checkpoint
from freezetui.checkpoint.types import TensorInfo
from freezetui.diff.matching import match
from freezetui.diff.run import diff
from freezetui.diff.sides import files_of, open_side
from freezetui.errors import CheckpointError
from freezetui.formatting.diff import diff_lines
from freezetui.session.options import Options
from freezetui.session.session import Session
from freezetui.tui.comparing import compared as compared_by_a_process
from freezetui.tui.values import Work

from .conftest import paired


def tensors(*names, shape=(2, 3)):
    return [TensorInfo(name, shape, "float32") for name in names]


def test_what_the_reader_strips_is_no_difference(compared, state):
    report = compared(state, {f"module._orig_mod.{name}": t for name, t in state.items()})
    assert report.identical
    assert report.after.unwrapped == "prefix 'module._orig_mod.' stripped"


def test_a_part_against_the_whole_both_ways():
    part, whole = (
        tensors("conv.weight", "conv.bias"),
        tensors("backbone.conv.weight", "backbone.conv.bias", "head.weight"),
    )
    matching = match(part, whole)
    assert paired(matching) == {("conv.weight", "backbone.conv.weight"), ("conv.bias", "backbone.conv.bias")}
    assert "AFTER has the prefix backbone." in matching.note
    assert [p.name for p in matching.pairs] == ["conv.weight", "conv.bias", "head.weight"]
    back = match(whole, part)
    assert "BEFORE has the prefix backbone." in back.note
    assert {p.name: p.after is None for p in back.pairs}["head.weight"]


def test_an_adapter_is_called_one():
    whole = tensors("layers.0.q.weight", "layers.0.k.weight", "head.weight")
    adapter = tensors("layers.0.q.lora_A.weight", "layers.0.q.lora_B.weight")
    assert "AFTER is an adapter" in match(whole, adapter).note
    assert "BEFORE is an adapter" in match(adapter, whole).note
    assert "adapter" not in match(whole, tensors("layers.0.lorax.weight", "x.weight")).note
    assert match(whole, [*whole, *adapter]).note == ""


def test_what_is_beside_a_part_is_matched_by_its_full_name():
    part = tensors("a.weight", "b.weight", "head.weight")
    whole = tensors("net.a.weight", "net.b.weight", "head.weight")
    pairs = {("a.weight", "net.a.weight"), ("b.weight", "net.b.weight"), ("head.weight", "head.weight")}
    assert paired(match(part, whole)) == pairs
    assert paired(match(whole, part)) == {pair[::-1] for pair in pairs}


def test_another_path_on_each_side():
    one = tensors("model.a.weight", "model.b.weight")
    other = tensors("net.encoder.a.weight", "net.encoder.b.weight", "net.head.weight")
    assert len(paired(match(one, other))) == 2


def test_where_several_paths_fit_none_is_chosen():
    part = tensors("a.weight", "b.weight")
    whole = tensors(*(f"{tower}.{name}.weight" for tower in ("text", "image") for name in "ab"))
    matching = match(part, whole)
    assert paired(matching) == set()
    assert "several paths (image., text.)" in matching.note


def test_the_model_is_meant_and_not_the_copy_that_follows_it():
    part = tensors("a.weight", "b.weight")
    whole = tensors(*(f"{path}.{name}.weight" for path in ("ema_model", "model") for name in "ab"))
    matching = match(part, whole)
    assert paired(matching) == {("a.weight", "model.a.weight"), ("b.weight", "model.b.weight")}
    assert matching.note.endswith("; not with its copies in ema_model")
    teachers = tensors(*(f"{path}.{name}.weight" for path in ("ema", "teacher") for name in "ab"))
    assert paired(match(part, teachers)) == set()


def test_shapes_decide_between_two_paths():
    part = tensors("a.weight", "b.weight")
    whole = tensors("text.a.weight", "text.b.weight") + tensors(
        "image.a.weight", "image.b.weight", shape=(5,)
    )
    assert paired(match(part, whole)) == {("a.weight", "text.a.weight"), ("b.weight", "text.b.weight")}


def test_names_left_over_on_both_sides_are_told():
    matching = match(tensors("a.weight", "x.weight"), tensors("a.weight", "y.weight"))
    assert "1 name only in BEFORE and 1 only in AFTER" in matching.note
    assert match(tensors("a.weight"), tensors("a.weight", "y.weight")).note == ""


def test_a_new_name_that_is_taken_stays_apart():
    matching = match(tensors("b.x.weight", "b.y.weight", "z"), tensors("x.weight", "y.weight", "b.z", "z"))
    names = [pair.name for pair in matching.pairs]
    assert len(names) == len(set(names))


def test_ema_against_model(tmp_path):
    path = tmp_path / "both.pth"
    state = {"a.weight": torch.randn(4, 4), "b.weight": torch.randn(4)}
    torch.save({"model": state, "ema": {"module": {n: t + 1 for n, t in state.items()}}}, path)
    report = diff(open_checkpoint(path, key="model"), open_checkpoint(path, key="ema.module"))
    assert {tensor.status for tensor in report.tensors} == {"changed"}
    assert {round(tensor.max_delta, 5) for tensor in report.tensors} == {1.0}


def test_what_safetensors_stores_once_is_told(tmp_path):
    tied = torch.randn(4, 4)
    state = {"embed.weight": tied, "norm.weight": torch.randn(4), "head.weight": tied}
    once = {name: tensor for name, tensor in state.items() if name != "head.weight"}
    torch.save(state, tmp_path / "tied.pth")
    torch.save(once, tmp_path / "once.pth")
    save_file(once, tmp_path / "once.safetensors")
    save_file({**once, "embed.weight": tied + 1}, tmp_path / "moved.safetensors")
    names = ("tied.pth", "once.pth", "once.safetensors", "moved.safetensors")
    pth, other, stored, moved = (open_checkpoint(str(tmp_path / name)) for name in names)
    for report, status in ((diff(pth, stored), "removed"), (diff(stored, pth), "added")):
        head = next(t for t in report.tensors if t.name == "head.weight")
        assert (head.status, head.reason) == (status, "tied to embed.weight, stored once")
    assert diff(pth, other).tensors[2].reason == ""  # a .pth keeps ties: there it is gone
    config = tmp_path / "c.freeze.yaml"
    config.write_text("freezetui: 1\nrules:\n  - freeze: embed\n")
    verdicts = [diff(pth, after, config).judged.verdict for after in (stored, other, moved)]
    assert verdicts == ["held", "inconclusive", "moved"]
    config.write_text("freezetui: 1\nrules:\n  - freeze: norm\n")
    trained, still = (diff(pth, after, config).judged for after in (moved, stored))
    assert (trained.trainable.tensors, trained.trainable.moved, trained.findings) == (2, 2, ())
    assert (still.trainable.moved, [found.code for found in still.findings]) == (0, ["N7"])
    config.write_text("freezetui: 1\ndefault: freeze\n")
    save_file({name: tensor.double() for name, tensor in once.items()}, tmp_path / "cast.safetensors")
    judged = diff(pth, open_checkpoint(str(tmp_path / "cast.safetensors")), config).judged
    assert judged.reason == "3 of 3 frozen tensors equal only after a cast to a different dtype"


def test_a_key_chooses_nothing_in_a_plain_state_dict(tmp_path):
    state = {"a.weight": torch.randn(4, 4), "b.weight": torch.randn(4)}
    torch.save(state, tmp_path / "plain.pth")
    torch.save({"model": state, "epoch": 1}, tmp_path / "keyed.pth")
    told = []
    assert open_side(str(tmp_path / "plain.pth"), "ema", told.append).key == ""
    with pytest.raises(CheckpointError, match="no state_dict under the key 'ema'"):
        open_side(str(tmp_path / "keyed.pth"), "ema", told.append)


def test_other_state_dicts_of_a_file_are_told(tmp_path):
    state = {"a.weight": torch.randn(4, 4), "b.weight": torch.randn(4)}
    torch.save({"encoder": state, "decoder": {n: t + 1 for n, t in state.items()}}, tmp_path / "parts.pth")
    checkpoint = open_checkpoint(str(tmp_path / "parts.pth"))
    report = diff(checkpoint, checkpoint)
    assert report.identical
    lines = list(diff_lines(report))
    assert sum("multiple state_dicts found; showing encoder" in line for line in lines) == 2


def test_other_state_dicts_of_the_earlier_file_are_told_in_the_ui(tmp_path):
    before, after = tmp_path / "both.pth", tmp_path / "after.pth"
    torch.save({"model": {"w": torch.ones(3)}, "ema": {"w": torch.zeros(3)}}, before)
    torch.save({"w": torch.ones(3)}, after)
    session = Session(Options(str(after), against=str(before)))
    summary = compared_by_a_process(session, Work()).summary()
    assert any(part.startswith(f"{before}: multiple state_dicts found") for part in summary)


def test_a_pattern_is_the_files_of_one_checkpoint(tmp_path):
    for number in (2, 10, 1):
        torch.save({f"layer.{number}.weight": torch.ones(number)}, tmp_path / f"part-{number}.bin")
    assert [path[-6:] for path in files_of(str(tmp_path / "part-*.bin"))] == ["-1.bin", "-2.bin", "10.bin"]
    assert len(open_side(str(tmp_path / "part-*.bin"), None, lambda text: None).tensors) == 3
    (tmp_path / "[1].pth").touch()
    for path in ("[1].pth", "nothing-*.pth"):
        assert files_of(str(tmp_path / path)) == str(tmp_path / path)
