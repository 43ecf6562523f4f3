"""Many files as one checkpoint: shards that transformers wrote, folders, several files at once."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from freezetui.checkpoint.open import open_checkpoint
from freezetui.checkpoint.types import Checkpoint
from freezetui.errors import CheckpointError
from freezetui.model_spec import ModelSpec
from freezetui.models.load import load_tensors

INDEX = "model.safetensors.index.json"


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folders that transformers wrote: `one` file, and `Llama-3.1` in shards."""
    from transformers import LlamaConfig, LlamaForCausalLM

    folder = tmp_path_factory.mktemp("llama")
    torch.manual_seed(0)
    heads = {"num_attention_heads": 2, "num_key_value_heads": 1}
    sizes = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 12, "vocab_size": 50}
    model = LlamaForCausalLM(LlamaConfig(**heads, **sizes))
    model.save_pretrained(folder / "one")
    model.save_pretrained(folder / "Llama-3.1", max_shard_size="12KB")
    return folder


def in_shards(folder: Path) -> dict[str, Tensor]:
    """Return what the safetensors library reads from all shards of a folder."""
    tensors: dict[str, Tensor] = {}
    for path in sorted(folder.glob("*.safetensors")):
        with safe_open(path, "pt") as file:
            tensors.update({name: file.get_tensor(name) for name in file.keys()})  # noqa: SIM118
    return tensors


def heads(checkpoint: Checkpoint) -> set[tuple[str, tuple[int, ...], str]]:
    return {(t.name, t.shape, f"torch.{t.dtype}") for t in checkpoint.tensors}


def heads_of(tensors: dict[str, Tensor]) -> set[tuple[str, tuple[int, ...], str]]:
    return {(name, tuple(t.shape), str(t.dtype)) for name, t in tensors.items()}


def test_a_folder_and_its_index_are_what_the_shards_hold(llama: Path) -> None:
    folder = llama / "Llama-3.1"
    expected = in_shards(folder)
    assert len(list(folder.glob("*.safetensors"))) > 10
    for source in (folder, folder / INDEX):
        checkpoint = open_checkpoint(source)
        assert heads(checkpoint) == heads_of(expected)
        assert len(checkpoint.tensors) == len(expected)
        assert not checkpoint.warnings
        assert checkpoint.size == sum(path.stat().st_size for path in folder.glob("*.safetensors"))
    names = [tensor.name for tensor in checkpoint.tensors]
    assert names == [tensor.name for tensor in open_checkpoint(llama / "one").tensors]
    assert names.index("model.layers.2.mlp.up_proj.weight") < names.index(
        "model.layers.10.mlp.up_proj.weight"
    )
    assert names[0] == "model.embed_tokens.weight"
    assert names[-1] == "lm_head.weight"


@pytest.mark.parametrize("name", ["one", "one/model.safetensors", "Llama-3.1", f"Llama-3.1/{INDEX}"])
def test_the_config_beside_it_tells_the_architecture(llama: Path, name: str) -> None:
    checkpoint = open_checkpoint(llama / name)
    assert checkpoint.model.architecture == "transformers:LlamaForCausalLM"
    assert checkpoint.label == "transformers LlamaForCausalLM"


@pytest.mark.parametrize(
    ("config", "label", "architecture", "arguments"),
    [
        (
            {"architecture": "resnet50.a1_in1k", "num_classes": 7},
            "timm resnet50.a1_in1k",
            "timm:create_model",
            {"model_name": "resnet50.a1_in1k", "num_classes": 7},
        ),
        ({"_class_name": "UNet2DModel"}, "diffusers UNet2DModel", "", {}),
        ({"architectures": ["os.system; x"]}, "", "", {}),
        ({"architecture": "hf-hub:evil/model"}, "", "", {}),
        ({"architectures": []}, "", "", {}),
        ([], "", "", {}),
        ("nothing", "", "", {}),
    ],
)
def test_other_configs(
    tmp_path: Path, config: object, label: str, architecture: str, arguments: dict[str, object]
) -> None:
    save_file({"a": torch.ones(2)}, tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_text(json.dumps(config) if config != "nothing" else "{{{")
    checkpoint = open_checkpoint(tmp_path)
    assert (checkpoint.label, checkpoint.model) == (label, ModelSpec(architecture, arguments))


def shards(folder: Path, save: Callable[[dict[str, Tensor], Path], object], name: str) -> dict[str, Tensor]:
    """Three shards and an index, of tensors of which two are tied; returns the tensors."""
    torch.manual_seed(1)
    tensors = {f"blocks.{i}.weight": torch.randn(3, i + 1) for i in range(6)}
    tensors["blocks.5.twin"] = tensors["blocks.5.weight"] if name.endswith(".bin") else torch.zeros(2)
    where = {key: name.replace(".", f"-{int(key[7]) // 2 + 1}-of-3.") for key in tensors}
    for shard in set(where.values()):
        save({key: tensor for key, tensor in tensors.items() if where[key] == shard}, folder / shard)
    (folder / f"{name}.index.json").write_text(json.dumps({"metadata": {}, "weight_map": where}))
    return tensors


KINDS = [(torch.save, "pytorch_model.bin"), (save_file, "model.safetensors")]


@pytest.mark.parametrize(("save", "name"), KINDS)
def test_every_bit_of_every_shard(
    tmp_path: Path, save: Callable[[dict[str, Tensor], Path], object], name: str
) -> None:
    expected = shards(tmp_path, save, name)
    checkpoint = open_checkpoint(tmp_path)
    assert heads(checkpoint) == heads_of(expected)
    assert [tensor.name for tensor in checkpoint.tensors] == list(expected)
    loaded = load_tensors(checkpoint)
    assert all(loaded[key].equal(tensor) for key, tensor in expected.items())
    assert (loaded["blocks.5.twin"] is loaded["blocks.5.weight"]) == name.endswith(".bin")


@pytest.mark.parametrize(("save", "name"), KINDS)
def test_a_missing_shard_is_named_and_the_rest_shown(
    tmp_path: Path, save: Callable[[dict[str, Tensor], Path], object], name: str
) -> None:
    expected = shards(tmp_path, save, name)
    lost = tmp_path / name.replace(".", "-2-of-3.")
    lost.unlink()
    checkpoint = open_checkpoint(tmp_path)
    assert [t.name for t in checkpoint.tensors] == [n for n in expected if n[7] not in "23"]
    assert checkpoint.warnings == (f"missing: {lost.name}, with 2 tensors; download the missing files",)
    loaded = load_tensors(checkpoint)
    assert all(loaded[key].equal(expected[key]) for key in loaded)


def test_index_and_shards_that_disagree_are_told(tmp_path: Path) -> None:
    save_file({"a": torch.ones(1), "b": torch.ones(2)}, tmp_path / "x.safetensors")
    index = {"weight_map": {"a": "x.safetensors", "c": "x.safetensors"}}
    (tmp_path / INDEX).write_text(json.dumps(index))
    checkpoint = open_checkpoint(tmp_path)
    assert [tensor.name for tensor in checkpoint.tensors] == ["a", "b"]
    assert checkpoint.warnings == (
        "the index lists 1 tensor that no shard contains: c",
        "the shards contain 1 tensor that the index does not list: b",
    )


@pytest.mark.parametrize(
    "name", ["../x.safetensors", "/etc/passwd", "a/../../x", "c:\\x", "", "a\\..\\x", "a\0b"]
)
def test_an_index_never_leads_out_of_its_folder(tmp_path: Path, name: str) -> None:
    save_file({"a": torch.ones(1)}, tmp_path / "x.safetensors")
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / INDEX).write_text(json.dumps({"weight_map": {"a": name}}))
    with pytest.raises(CheckpointError, match="outside its directory"):
        open_checkpoint(folder)


def test_which_file_of_a_folder(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="contains no checkpoint"):
        open_checkpoint(tmp_path)
    (tmp_path / "training_args.bin").write_bytes(b"nothing")
    torch.save({"pth": torch.ones(1)}, tmp_path / "pytorch_model.bin")
    torch.save({"x": torch.ones(1)}, tmp_path / "optimizer.pt")
    assert open_checkpoint(tmp_path).tensors[0].name == "pth"
    save_file({"safe": torch.ones(1)}, tmp_path / "model.safetensors")
    assert open_checkpoint(tmp_path).tensors[0].name == "safe"
    assert open_checkpoint(tmp_path).source == str(tmp_path)
    assert open_checkpoint(tmp_path).warnings == ()
    (tmp_path / "model.safetensors").rename(tmp_path / "one.safetensors")
    shown = "showing one.safetensors; pass the path to open another: pytorch_model.bin"
    assert open_checkpoint(tmp_path).warnings == (f"multiple checkpoints found; {shown}",)
    save_file({"safe": torch.ones(1)}, tmp_path / "two.safetensors")
    with pytest.raises(CheckpointError, match=r"several checkpoints: one.safetensors, two.safetensors"):
        open_checkpoint(tmp_path)


def test_shards_without_an_index_are_one_checkpoint(tmp_path: Path) -> None:
    for number in (1, 2):
        save_file(
            {f"layers.{number}.weight": torch.ones(1)}, tmp_path / f"model-0000{number}-of-00002.safetensors"
        )
    checkpoint = open_checkpoint(tmp_path)
    assert [tensor.name for tensor in checkpoint.tensors] == ["layers.1.weight", "layers.2.weight"]


def test_several_files_at_once(tmp_path: Path) -> None:
    paths = [tmp_path / "a.safetensors", tmp_path / "b.pth"]
    save_file({"encoder.weight": torch.ones(2)}, paths[0])
    torch.save({"model": {"decoder.weight": torch.zeros(3)}, "epoch": 3}, paths[1])
    checkpoint = open_checkpoint(paths)
    assert [tensor.name for tensor in checkpoint.tensors] == ["encoder.weight", "decoder.weight"]
    assert checkpoint.skipped[0].key == "epoch"
    loaded = load_tensors(checkpoint)
    assert loaded["encoder.weight"].equal(torch.ones(2))
    assert loaded["decoder.weight"].equal(torch.zeros(3))
    torch.save({"encoder.weight": torch.zeros(3)}, paths[1])
    with pytest.raises(CheckpointError, match=r"encoder.weight is in .*a.safetensors and in .*b.pth"):
        open_checkpoint(paths)
    with pytest.raises(CheckpointError, match="does not exist"):
        open_checkpoint([paths[0], tmp_path / "c.pth"])


def test_an_index_with_a_byte_order_mark(tmp_path: Path) -> None:
    save_file({"a": torch.ones(1)}, tmp_path / "x.safetensors")
    (tmp_path / INDEX).write_bytes(
        b"\xef\xbb\xbf" + json.dumps({"weight_map": {"a": "x.safetensors"}}).encode()
    )
    for source in (tmp_path, tmp_path / INDEX):
        assert [tensor.name for tensor in open_checkpoint(source).tensors] == ["a"]


@pytest.mark.parametrize("kind", ["safetensors", "bin"])
@pytest.mark.parametrize("chosen", ["x", "y"])
def test_of_two_tensors_of_one_name_the_index_takes_one(tmp_path: Path, kind: str, chosen: str) -> None:
    shards = {"x": {"a": torch.ones(2), "b": torch.ones(3)}, "y": {"a": torch.zeros(4), "c": torch.ones(5)}}
    for name, held in shards.items():
        path = tmp_path / f"{name}.{kind}"
        save_file(held, path) if kind == "safetensors" else torch.save(held, path)
    index = {"weight_map": {"a": f"{chosen}.{kind}", "b": f"x.{kind}", "c": f"y.{kind}"}}
    (tmp_path / f"model.{kind}.index.json").write_text(json.dumps(index))
    checkpoint = open_checkpoint(tmp_path)
    assert {t.name: t.shape[0] for t in checkpoint.tensors} == {
        "a": 2 if chosen == "x" else 4,
        "b": 3,
        "c": 5,
    }
    assert checkpoint.warnings == ("1 tensor in several shards, read from the one that the index names: a",)
    assert load_tensors(checkpoint)["a"].equal(shards[chosen]["a"])


def test_an_index_that_names_the_wrong_shard_loses_nothing(tmp_path: Path) -> None:
    save_file({"a": torch.ones(1)}, tmp_path / "x.safetensors")
    save_file({"b": torch.ones(2)}, tmp_path / "y.safetensors")
    index = {"weight_map": {"a": "y.safetensors", "b": "y.safetensors", "c": "x.safetensors"}}
    (tmp_path / INDEX).write_text(json.dumps(index))
    assert {tensor.name for tensor in open_checkpoint(tmp_path).tensors} == {"a", "b"}


LONG = "Q" * 8_000_000


@pytest.mark.parametrize("where", ["shard", "outside", "tensor", "key", "double"])
def test_errors_never_echo_megabytes(tmp_path: Path, where: str) -> None:
    path, key = tmp_path / "x.safetensors", None
    save_file({LONG if where in ("tensor", "double") else "a": torch.ones(1)}, path)
    source: Path | list[Path] = tmp_path
    index = {"shard": {"a": LONG}, "outside": {"a": f"../{LONG}"}, "tensor": {LONG: "y.safetensors"}}
    (tmp_path / INDEX).write_text(json.dumps({"weight_map": index.get(where, {"a": "x.safetensors"})}))
    if where == "key":
        source, key = tmp_path / "x.pth", LONG
        torch.save({"a": torch.ones(1)}, source)
    elif where == "double":
        (tmp_path / "y.safetensors").write_bytes(path.read_bytes())
        source = [path, tmp_path / "y.safetensors"]
    with pytest.raises(CheckpointError) as error:
        open_checkpoint(source, key=key)
    assert len(str(error.value)) < 2000
