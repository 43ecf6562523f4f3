"""Names without what wrappers put into them, and the bytes that are found all the same."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save_file
from torch import nn
from torch.distributed.algorithms._checkpoint import checkpoint_wrapper
from torch.distributed.fsdp import _common_utils

from freezetui.checkpoint.open import open_checkpoint
from freezetui.checkpoint.state_dict.wrappers import SEGMENTS, unwrap
from freezetui.models.load import load_tensors

CASES = {
    "nothing": (["a.weight", "b.module.weight"], "", (), ["a.weight", "b.module.weight"]),
    "a prefix of all": (["module.a", "module.b"], "module.", (), ["a", "b"]),
    "not of all": (["module.a", "b"], "", (), ["module.a", "b"]),
    "PEFT": (["base_model.model.a", "base_model.model.b.c"], "base_model.model.", (), ["a", "b.c"]),
    "one in the other": (["module._orig_mod.module.a"], "module._orig_mod.module.", (), ["a"]),
    "inside": (["a._orig_mod.0.w", "b"], "", ("_orig_mod",), ["a.0.w", "b"]),
    "twice": (["a._orig_mod._orig_mod.w", "b"], "", ("_orig_mod",), ["a.w", "b"]),
    "both": (
        ["_fsdp_wrapped_module.a._fsdp_wrapped_module.w", "_fsdp_wrapped_module.b"],
        "_fsdp_wrapped_module.",
        ("_fsdp_wrapped_module",),
        ["a.w", "b"],
    ),
    "in front of some": (["_orig_mod.a", "b"], "", ("_orig_mod",), ["a", "b"]),
    "names would be equal": (["module.a._orig_mod.w", "module.a.w"], "module.", (), ["a._orig_mod.w", "a.w"]),
    "part of a segment": (["my_orig_mod.w", "a._orig_model.w"], "", (), ["my_orig_mod.w", "a._orig_model.w"]),
    "a tensor of that name": (["a._orig_mod", "b"], "", (), ["a._orig_mod", "b"]),
    "no names": ([], "", (), []),
}


@pytest.mark.parametrize(("names", "prefix", "inside", "short"), CASES.values(), ids=CASES)
def test_what_is_taken_off(names, prefix, inside, short):
    unwrapped = unwrap(names)
    assert (unwrapped.prefix, unwrapped.inside, list(unwrapped.names)) == (prefix, inside, short)


@given(st.lists(st.lists(st.sampled_from([*SEGMENTS, "module", "a", "\n", ""]), max_size=4).map(".".join)))
def test_names_that_differ_stay_different(names):
    short = unwrap(names).names
    assert len(short) == len(names)
    assert len(set(short)) == len(set(names))


def test_a_modules_path_loses_what_its_tensors_names_lose():
    unwrapped = unwrap(["module.a._orig_mod.0.w", "module.b"])
    paths = {"module": "", "module.a": "a", "module.a._orig_mod": "a", "module.a._orig_mod.0": "a.0"}
    assert {path: unwrapped.path(path) for path in paths} == paths


def test_the_segments_are_torchs_own():
    assert checkpoint_wrapper._CHECKPOINT_WRAPPED_MODULE in SEGMENTS
    assert _common_utils.FSDP_WRAPPED_MODULE in SEGMENTS
    compiled = torch.compile(nn.Linear(1, 1), backend="eager")
    assert {name.split(".")[0] for name in compiled.state_dict()} <= {*SEGMENTS}


WRAPPED = {
    "module.a._orig_mod.weight": torch.arange(4.0),
    "module.a.bias": torch.arange(4.0, 6.0),
    "module.b._orig_mod.weight": torch.arange(6.0, 9.0),
}


def check_contents(source: Path) -> None:
    checkpoint = open_checkpoint(source)
    assert checkpoint.warnings == ()
    loaded = load_tensors(checkpoint)
    expected = {name.replace("module.", "").replace("_orig_mod.", ""): t for name, t in WRAPPED.items()}
    assert loaded.keys() == expected.keys()
    assert all(loaded[name].equal(tensor) for name, tensor in expected.items())


def write(tensors: dict[str, torch.Tensor], path: Path) -> None:
    if path.suffix == ".safetensors":
        save_file(tensors, path)
    else:
        torch.save(tensors, path)


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_contents_are_found_by_the_files_own_names(tmp_path, suffix):
    write(WRAPPED, tmp_path / f"x{suffix}")
    check_contents(tmp_path / f"x{suffix}")
    assert (
        open_checkpoint(tmp_path / f"x{suffix}").unwrapped
        == "prefix 'module.' stripped, _orig_mod stripped inside names"
    )


@pytest.mark.parametrize("shards", [1, 2])
@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_contents_are_found_in_shards(tmp_path, suffix, shards):
    names = list(WRAPPED)
    where = {name: f"m-{number % shards}{suffix}" for number, name in enumerate(names)}
    for file in set(where.values()):
        write({name: WRAPPED[name] for name in names if where[name] == file}, tmp_path / file)
    index = tmp_path / "m.index.json"
    index.write_text(json.dumps({"weight_map": where}))
    check_contents(index)


def test_safetensors_beside_a_pickle_that_has_another_prefix(tmp_path):
    write({"module.a": torch.ones(2)}, tmp_path / "a.safetensors")
    write({"b": torch.zeros(2)}, tmp_path / "b.pth")
    loaded = load_tensors(open_checkpoint([tmp_path / "a.safetensors", tmp_path / "b.pth"]))
    assert {name: tensor.tolist() for name, tensor in loaded.items()} == {"a": [1, 1], "b": [0, 0]}


def test_the_type_of_a_compiled_part_is_that_of_what_is_compiled(tmp_path):
    model = nn.Sequential(nn.Linear(1, 1), nn.Linear(1, 1))
    model[1] = nn.ModuleDict({"_orig_mod": model[1]})
    torch.save(model, tmp_path / "model.pth")
    checkpoint = open_checkpoint(tmp_path / "model.pth")
    assert [tensor.name for tensor in checkpoint.tensors] == ["0.weight", "0.bias", "1.weight", "1.bias"]
    assert checkpoint.module_types["1"] == "torch.nn.modules.linear.Linear"
    torch.save(model.state_dict(), tmp_path / "state.pth")
    assert open_checkpoint(tmp_path / "state.pth").module_paths == ("", "0", "1")
