"""Every dtype of torch and of safetensors, read as torch itself reads it."""

from __future__ import annotations

import ctypes
import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
import safetensors
import torch
from safetensors import SafetensorError, TensorSpec, safe_open, serialize_file
from torch import Tensor

from freezetui.checkpoint.columns import Columns
from freezetui.checkpoint.open import open_checkpoint
from freezetui.checkpoint.types import ITEMSIZE, PACKED, TensorInfo, can_require_grad
from freezetui.errors import ModelError
from freezetui.freeze.tree import ParamTree
from freezetui.models.load import load_tensors

Write = Callable[..., Path]

DTYPES = sorted({value for value in vars(torch).values() if type(value) is torch.dtype}, key=str)
QUANTIZED = {torch.qint8, torch.quint8, torch.qint32, torch.quint4x2, torch.quint2x4}
#: torch.save has no storage for these; on the meta device, where there is none, it writes them too.
NARROW = {getattr(torch, f"{sign}int{bits}") for sign in ("", "u") for bits in range(1, 8)}
PLAIN = [dtype for dtype in DTYPES if dtype not in QUANTIZED | NARROW]

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")


def named(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def only(path: Path) -> TensorInfo:
    (tensor,) = open_checkpoint(path).tensors
    return tensor


def grad_is_allowed(dtype: torch.dtype) -> bool:
    try:
        torch.empty(1, dtype=dtype, device="meta").requires_grad_()
    except RuntimeError:
        return False
    return True


def test_every_dtype_of_torch_is_known_with_its_size() -> None:
    assert {name: ITEMSIZE.get(name) for name in map(named, DTYPES)} == {
        named(dtype): dtype.itemsize for dtype in DTYPES
    }
    assert ITEMSIZE.keys() == set(map(named, DTYPES))
    assert PACKED.keys() < ITEMSIZE.keys()


@pytest.mark.parametrize("dtype", DTYPES, ids=named)
def test_what_can_require_grad_is_what_torch_lets(dtype: torch.dtype) -> None:
    allowed = grad_is_allowed(dtype)
    assert can_require_grad(named(dtype)) is allowed
    why = TensorInfo("w", (1,), named(dtype), "parameter").untrainable_reason
    assert bool(why) is not allowed
    assert allowed or why.endswith("which cannot require grad")


@pytest.mark.parametrize("dtype", PLAIN, ids=named)
@pytest.mark.parametrize("container", ["zip", "legacy"])
def test_a_saved_tensor_of_every_dtype(write: Write, dtype: torch.dtype, container: str) -> None:
    whole = torch.empty(4, 6, dtype=dtype)
    saved = {"w": whole, "rows": whole[1:3], "t": whole.t(), "none": whole[:0], "one": whole[0, 0]}
    path = write(saved, container)
    tensors = open_checkpoint(path).tensors
    unreadable = container == "legacy" and dtype in torch.storage._new_dtypes()
    torchs = saved if unreadable else torch.load(path)  # torch writes them there, and cannot load them
    assert [(t.name, t.shape, f"torch.{t.dtype}", t.bytes) for t in tensors] == [
        (name, tuple(t.shape), str(t.dtype), t.numel() * t.element_size()) for name, t in torchs.items()
    ]
    assert [t.elements for t in tensors] == [t.numel() * PACKED.get(named(dtype), 1) for t in torchs.values()]
    assert [t.storage.offset if t.storage else None for t in tensors] == [
        t.storage_offset() for t in torchs.values()
    ]
    assert len({t.storage.key for t in tensors if t.storage}) == 1


@pytest.mark.parametrize("dtype", sorted(NARROW, key=str), ids=named)
def test_narrow_integers_are_written_on_meta_only(write: Write, dtype: torch.dtype) -> None:
    with pytest.raises(KeyError):
        write({"w": torch.empty(3, 4, dtype=dtype)})
    path = write({"w": torch.empty(3, 4, dtype=dtype, device="meta")})
    tensor, torchs = only(path), torch.load(path)["w"]
    assert (tensor.shape, tensor.dtype) == ((3, 4), named(torchs.dtype))
    assert (tensor.elements, tensor.bytes) == (torchs.numel(), torchs.nbytes)
    assert (
        f"{re.findall('[0-9]', named(dtype))[0]}-bit integers"
        in TensorInfo("w", (1,), tensor.dtype).untrainable_reason
    )


@pytest.mark.parametrize("shape", [(2, 5), (2, 3, 5), (7,), (8,), (2, 0), (0, 3)], ids=str)
@pytest.mark.parametrize("dtype", sorted(QUANTIZED, key=str), ids=named)
@pytest.mark.parametrize("container", ["zip", "legacy"])
@pytest.mark.parametrize("per_channel", [False, True])
def test_quantized(
    write: Write, shape: tuple[int, ...], dtype: torch.dtype, container: str, per_channel: bool
) -> None:
    packed = dtype in (torch.quint4x2, torch.quint2x4)
    value = torch.ones(shape)
    if per_channel:
        zeros = torch.zeros(shape[0], dtype=torch.float if packed else torch.long)
        saved = torch.quantize_per_channel(value, torch.ones(shape[0]), zeros, 0, dtype)
    else:
        saved = torch.quantize_per_tensor(value, 0.1, 0, dtype)
    tensor = only(write({"q": saved}, container))
    assert (tensor.shape, tensor.dtype, tensor.elements) == (shape, named(dtype), saved.numel())
    assert tensor.bytes == saved.untyped_storage().nbytes()
    assert "quantized" in TensorInfo("q", shape, tensor.dtype, "parameter").untrainable_reason


def test_every_dtype_that_can_be_mapped_is_loaded_and_the_others_are_named(write: Write) -> None:
    for dtype in PLAIN:
        saved = torch.empty(4, 2, dtype=dtype)
        loaded = load_tensors(open_checkpoint(write({"w": saved})))["w"]
        assert (loaded.shape, loaded.dtype) == (saved.shape, saved.dtype)
        assert loaded.untyped_storage().tolist() == saved.untyped_storage().tolist()
    for dtype in QUANTIZED:
        path = write({"w": torch.quantize_per_tensor(torch.ones(4), 0.1, 0, dtype)})
        with pytest.raises(ModelError, match=f"(w: weights of dtype|it is a) {named(dtype)}"):
            load_tensors(open_checkpoint(path))


def safetensors_dtypes() -> list[str]:
    """Return what the installed library can write: it lists them when it refuses one."""
    with pytest.raises(SafetensorError) as refusal:
        safetensors.serialize({"a": TensorSpec(dtype="none", shape=[1], data_ptr=1, data_len=1)})
    return str(refusal.value).rpartition("Supported dtypes: ")[2].split(", ")


def test_every_dtype_that_safetensors_writes(tmp_path: Path) -> None:
    names, path = safetensors_dtypes(), tmp_path / "all.safetensors"
    assert len(names) >= 18
    specs, kept = {}, []
    for name in names:
        dtype = getattr(torch, name)
        size = 12 * dtype.itemsize
        buffer = ctypes.create_string_buffer(size)
        kept.append(buffer)
        specs[name] = TensorSpec(dtype=name, shape=[3, 4], data_ptr=ctypes.addressof(buffer), data_len=size)
    serialize_file(specs, path)
    tensors = open_checkpoint(path).tensors
    assert {t.name: (t.dtype, t.shape, t.bytes) for t in tensors} == {
        name: (name, (3, 4), 12 * getattr(torch, name).itemsize) for name in names
    }
    with safe_open(path, "pt") as file:
        told = {name: file.get_slice(name).get_shape() for name in file.keys()}  # noqa: SIM118
    # The library counts the two values of float4_e2m1fn_x2 one by one; its shape here is torch's.
    assert {t.name: t.elements for t in tensors} == {
        name: int(torch.Size(shape).numel()) for name, shape in told.items()
    }
    loaded = load_tensors(open_checkpoint(path))
    assert {name: (named(t.dtype), tuple(t.shape)) for name, t in loaded.items()} == {
        name: (name, (3, 4)) for name in names
    }


@pytest.mark.parametrize(
    ("dtype", "shape", "size"),
    [("F6_E2M3", (3, 4), 9), ("F6_E3M2", (4,), 3), ("F4", (2, 3), 3), ("F6_E2M3", (0, 3), 0)],
)
def test_dtypes_that_torch_lacks(tmp_path: Path, dtype: str, shape: tuple[int, ...], size: int) -> None:
    path = tmp_path / "x.safetensors"
    header = json.dumps({"w": {"dtype": dtype, "shape": shape, "data_offsets": [0, size]}}).encode()
    path.write_bytes(len(header).to_bytes(8, "little") + header + bytes(size))
    with safe_open(path, "pt") as file:  # the library itself takes the file
        assert tuple(file.get_slice("w").get_shape()) == shape
    tensor = only(path)
    assert (tensor.shape, tensor.bytes, tensor.elements) == (
        shape,
        size,
        torch.Size(shape).numel() * PACKED.get(tensor.dtype, 1),
    )
    assert tensor.untrainable_reason == f"{dtype}: packed {dtype[1]}-bit, not supported by torch"
    with pytest.raises(ModelError, match=f"it is a {dtype} tensor"):
        load_tensors(open_checkpoint(path))


def test_a_dtype_of_a_later_torch_is_listed_with_a_warning(
    write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write({"new.weight": torch.zeros(2, 3, dtype=torch.float8_e5m2), "old.weight": torch.zeros(1)})
    monkeypatch.delitem(ITEMSIZE, "float8_e5m2")
    checkpoint = open_checkpoint(path)
    assert [(t.name, t.shape, t.dtype) for t in checkpoint.tensors] == [
        ("new.weight", (2, 3), "float8_e5m2"),
        ("old.weight", (1,), "float32"),
    ]
    assert checkpoint.warnings == (
        "1 tensor of the unknown dtype float8_e5m2, not counted in the byte totals: new.weight",
    )


def test_columns_and_the_tree_agree_with_the_tensors(write: Write) -> None:
    saved: dict[str, Tensor] = {
        "a": torch.ones(3, 4),
        "b": torch.empty(3, 4, dtype=torch.float4_e2m1fn_x2),
        "c": torch.eye(5).to_sparse(),
        "d": torch.quantize_per_tensor(torch.ones(2, 3), 0.1, 0, torch.quint4x2),
    }
    for subset in (saved, {"a": saved["a"]}):
        tensors = open_checkpoint(write(subset)).tensors
        columns = Columns(tensors)
        assert columns.elements == [t.elements for t in tensors] == [12, 24, 25, 6][: len(tensors)]
        assert columns.bytes == [t.bytes for t in tensors] == [48, 12, 5 * (16 + 4), 4][: len(tensors)]
        tree = ParamTree(tensors)
        assert (tree.elements_before[-1], tree.bytes_before[-1]) == (
            sum(columns.elements),
            sum(columns.bytes),
        )
