"""GGUF files that llama.cpp's own package wrote, and corrupt ones."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import gguf
import numpy as np
import pytest
from gguf.constants import GGML_QUANT_SIZES
from gguf.quants import quantize

from freezetui.checkpoint.formats.gguf import TYPES
from freezetui.checkpoint.open import open_checkpoint
from freezetui.checkpoint.storage import open_weights
from freezetui.errors import CheckpointError
from freezetui.models.load import load_tensors

Q = gguf.GGMLQuantizationType


def test_every_type_of_the_package_is_known() -> None:
    theirs = {int(number): (number.name, *sizes) for number, sizes in GGML_QUANT_SIZES.items()}
    names = {"float": "F", "int": "I", "bfloat": "BF"}

    def theirs_of(dtype: str) -> str:
        kind = dtype.rstrip("0123456789")
        return dtype.replace(kind, names[kind]) if kind in names else dtype.upper()

    assert {n: (theirs_of(dtype), *sizes) for n, (dtype, *sizes) in TYPES.items()} == theirs


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A small model with metadata of every type, some of its weights quantized."""
    path = tmp_path / "model.gguf"
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_block_count(2)
    writer.add_name("a small one")
    writer.add_token_list([f"token {i}" for i in range(5000)])
    writer.add_array("numbers", [1.5, 2.5])
    writer.add_bool("yes", True)
    writer.add_uint64("large", 2**40)
    values = np.random.default_rng(0).standard_normal((64, 256), dtype=np.float32)
    writer.add_tensor("token_embd.weight", values)
    writer.add_tensor("blk.0.attn_q.weight", values.astype(np.float16))
    writer.add_tensor("blk.0.ffn_up.weight", quantize(values, Q.Q8_0), raw_dtype=Q.Q8_0)
    writer.add_tensor("blk.1.ffn_up.weight", quantize(values, Q.Q4_0), raw_dtype=Q.Q4_0)
    writer.add_tensor("blk.1.bf16.weight", quantize(values, Q.BF16), raw_dtype=Q.BF16)
    writer.add_tensor("output_norm.weight", values[0])
    for write in (writer.write_header_to_file, writer.write_kv_data_to_file, writer.write_tensors_to_file):
        write()
    writer.close()
    return path


def test_names_shapes_types_and_bytes_are_those_of_the_package(model: Path) -> None:
    reader = gguf.GGUFReader(model)
    checkpoint = open_checkpoint(model)
    assert [(t.name, list(t.shape), t.elements, t.bytes) for t in checkpoint.tensors] == [
        (t.name, t.shape.tolist()[::-1], int(t.n_elements), int(t.n_bytes)) for t in reader.tensors
    ]
    assert [t.dtype for t in checkpoint.tensors] == [
        "float32",
        "float16",
        "q8_0",
        "q4_0",
        "bfloat16",
        "float32",
    ]
    assert checkpoint.format == "GGUF"
    assert checkpoint.label == "llama (llama.cpp naming)"
    assert [bool(t.untrainable_reason) for t in checkpoint.tensors] == [
        False,
        False,
        True,
        True,
        False,
        False,
    ]
    assert "q4_0" in checkpoint.tensors[3].untrainable_reason


def test_every_bit_of_what_can_train(model: Path) -> None:
    reader, checkpoint = gguf.GGUFReader(model), open_checkpoint(model)
    with open_weights(checkpoint) as weights:
        for info, theirs in zip(checkpoint.tensors, reader.tensors, strict=True):
            assert bytes(weights.storage(info)) == theirs.data.tobytes()
    with pytest.raises(Exception, match="it is a q8_0 tensor"):
        load_tensors(checkpoint)


def test_big_endian(tmp_path: Path) -> None:
    path = tmp_path / "big.gguf"
    writer = gguf.GGUFWriter(path, "llama", endianess=gguf.GGUFEndian.BIG)
    writer.add_tensor("a.weight", np.ones((2, 3), dtype=np.float32))
    for write in (writer.write_header_to_file, writer.write_kv_data_to_file, writer.write_tensors_to_file):
        write()
    writer.close()
    (tensor,) = open_checkpoint(path).tensors
    assert (tensor.name, tensor.shape, tensor.dtype) == ("a.weight", (2, 3), "float32")


def damaged(content: bytes, at: int, value: int, width: int = 8) -> bytes:
    return content[:at] + value.to_bytes(width, "little") + content[at + width :]


DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "version 1": lambda content: damaged(content, 4, 1, 4),
    "2**63 tensors": lambda content: damaged(content, 8, 2**63),
    "2**63 pairs": lambda content: damaged(content, 16, 2**63),
    "a name of 2**63 bytes": lambda content: damaged(content, 24, 2**63),
    "half of it": lambda content: content[: len(content) // 2],
    "the header alone": lambda content: content[:20],
    "no data": lambda content: content[: content.index(b"output_norm") + 64],
    "an unknown type": lambda content: damaged(content, content.index(b"output_norm") + 18 + 12, 99, 4),
    "too many elements": lambda content: damaged(
        content, content.index(b"token_embd.weight") + 17 + 4, 2**62
    ),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_files_are_refused(model: Path, damage: str) -> None:
    model.write_bytes(DAMAGES[damage](model.read_bytes()))
    with pytest.raises(CheckpointError) as raised:
        open_checkpoint(model)
    assert raised.value.hint


def test_cut_anywhere_it_is_refused(model: Path) -> None:
    content = model.read_bytes()
    start = content.index(b"token_embd")
    for cut in (*range(4, 200), *range(start - 50, start + 400, 7)):
        model.write_bytes(content[:cut])
        with pytest.raises(CheckpointError):
            open_checkpoint(model)


def test_it_has_no_keys(model: Path) -> None:
    with pytest.raises(CheckpointError, match="--key does not apply"):
        open_checkpoint(model, key="model")
