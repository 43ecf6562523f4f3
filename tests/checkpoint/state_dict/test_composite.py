"""Sparse, nested, wrapped, lazy and unknown tensors: names, shapes and bytes as torch tells them."""

from __future__ import annotations

import random
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.tensor import Shard, distribute_tensor, init_device_mesh

from freezetui.checkpoint.open import open_checkpoint
from freezetui.checkpoint.pickles.opaque import Opaque
from freezetui.checkpoint.pickles.stubs import SubclassStub, UnreadStub, WrapperTensorStub
from freezetui.checkpoint.pickles.stubs import TensorStub as Rebuilt
from freezetui.checkpoint.state_dict.buffers import BufferDetector
from freezetui.checkpoint.state_dict.tensor_reader import REBUILT, TensorReader
from freezetui.checkpoint.types import TensorInfo
from freezetui.errors import ModelError
from freezetui.freeze.tree import ParamTree
from freezetui.models.load import load_tensors

Write = Callable[..., Path]

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")


def only(path: Path) -> TensorInfo:
    (tensor,) = open_checkpoint(path).tensors
    return tensor


def bytes_of(*parts: Tensor) -> int:
    return sum(part.numel() * part.element_size() for part in parts)


def sparse(layout: torch.layout, dtype: torch.dtype) -> tuple[Tensor, int]:
    """Return a tensor and the bytes of its parts, which torch names differently for each layout."""
    dense = torch.eye(4, 6, dtype=dtype)
    if layout is torch.sparse_coo:
        value = dense.to_sparse()
        return value, bytes_of(value._indices(), value._values())
    blocks = (2, 2) if layout in (torch.sparse_bsr, torch.sparse_bsc) else None
    value = dense.to_sparse(layout=layout, blocksize=blocks)
    rows = layout in (torch.sparse_csr, torch.sparse_bsr)
    first, second = ("crow", "col") if rows else ("ccol", "row")
    return value, bytes_of(
        getattr(value, f"{first}_indices")(), getattr(value, f"{second}_indices")(), value.values()
    )


LAYOUTS = [torch.sparse_coo, torch.sparse_csr, torch.sparse_csc, torch.sparse_bsr, torch.sparse_bsc]


@pytest.mark.parametrize("layout", LAYOUTS, ids=str)
@pytest.mark.parametrize("dtype", [torch.float32, torch.complex128], ids=str)
@pytest.mark.parametrize("container", ["zip", "legacy"])
def test_sparse(write: Write, layout: torch.layout, dtype: torch.dtype, container: str) -> None:
    value, nbytes = sparse(layout, dtype)
    checkpoint = open_checkpoint(write({"w": value, "p": nn.Parameter(value)}, container))
    tensor, parameter = checkpoint.tensors
    assert (tensor.shape, f"torch.{tensor.dtype}") == (tuple(value.shape), str(dtype))
    assert (tensor.elements, tensor.bytes) == (value.numel(), nbytes)
    assert tensor.packing is not None and f"torch.{tensor.packing.what}" == str(layout)
    assert (parameter.requires_grad, parameter.kind, parameter.untrainable_reason) == (True, "parameter", "")
    with pytest.raises(ModelError, match=f"w cannot be memory-mapped: it is a {tensor.packing.what} tensor"):
        load_tensors(checkpoint)


def test_hybrid_sparse_and_old_sparse_without_its_flag(write: Write) -> None:
    value = torch.ones(3, 2, 4).to_sparse(1)
    tensor = only(write({"w": value}))
    assert (tensor.shape, tensor.bytes) == ((3, 2, 4), bytes_of(value._indices(), value._values()))

    class Old:
        def __reduce__(self) -> tuple[Any, ...]:
            return torch._utils._rebuild_sparse_tensor, (
                torch.sparse_coo,
                (value._indices(), value._values(), value.size()),
            )

    assert only(write({"w": Old()})) == tensor


@pytest.mark.parametrize("layout", [torch.strided, torch.jagged], ids=str)
def test_nested(write: Write, layout: torch.layout) -> None:
    value = torch.nested.nested_tensor([torch.ones(2, 3), torch.ones(4, 3)], layout=layout)
    checkpoint = open_checkpoint(write({"n": value, "p": nn.Parameter(value), "w": torch.ones(1)}))
    assert [t.name for t in checkpoint.tensors] == ["n", "p", "w"]
    for tensor in checkpoint.tensors[:2]:
        assert (tensor.shape, tensor.dtype) == (tuple(value.values().shape), "float32")
        assert (tensor.elements, tensor.bytes) == (value.numel(), value.nbytes)
        assert tensor.packing is not None and tensor.packing.what == "nested"
    assert [t.requires_grad for t in checkpoint.tensors] == [None, True, None]
    assert not checkpoint.warnings


def test_meta(write: Write) -> None:
    value = torch.empty(5, 2, dtype=torch.float16, device="meta")
    path = write({"m": value, "p": nn.Parameter(value, requires_grad=False)})
    for tensor in open_checkpoint(path).tensors:
        assert (tensor.shape, tensor.dtype, tensor.bytes) == ((5, 2), "float16", value.nbytes)
    assert [t.requires_grad for t in open_checkpoint(path).tensors] == [None, False]
    with pytest.raises(ModelError, match="it is a meta tensor"):
        load_tensors(open_checkpoint(path))


class Tagged(torch.Tensor):
    """A subclass with its data in itself."""


class Quantized(torch.Tensor):
    """A subclass around others, in the way of torchao."""

    packed: Tensor
    scale: Tensor

    @staticmethod
    def __new__(cls, packed: Tensor, scale: Tensor) -> Quantized:
        return torch.Tensor._make_wrapper_subclass(cls, packed.shape, dtype=scale.dtype)  # type: ignore[attr-defined, no-any-return]

    def __init__(self, packed: Tensor, scale: Tensor) -> None:
        self.packed, self.scale = packed, scale

    def __tensor_flatten__(self) -> tuple[list[str], None]:
        return ["packed", "scale"], None

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func in (torch.ops.aten.detach.default, torch.ops.aten.alias.default):
            return cls(args[0].packed, args[0].scale)
        raise NotImplementedError(func)


def test_a_plain_subclass_is_its_tensor(write: Write) -> None:
    tagged = torch.ones(2, 3).as_subclass(Tagged)
    checkpoint = open_checkpoint(
        write({"t": tagged, "p": nn.Parameter(tagged), "f": nn.Parameter(tagged, requires_grad=False)})
    )
    assert {(t.shape, t.dtype, t.bytes) for t in checkpoint.tensors} == {((2, 3), "float32", 24)}
    assert [t.requires_grad for t in checkpoint.tensors] == [None, True, False]
    assert len({t.storage for t in checkpoint.tensors}) == 1
    assert {name: t.shape for name, t in load_tensors(checkpoint).items()}.keys() == {"t", "p", "f"}


@pytest.mark.parametrize("depth", [1, 2])
def test_a_wrapper_shows_its_own_shape_and_the_bytes_inside(write: Write, depth: int) -> None:
    packed, scale = torch.ones(8, 4, dtype=torch.int8), torch.ones(2, dtype=torch.bfloat16)
    value = Quantized(packed, scale)
    for _ in range(depth - 1):
        value = Quantized(value, scale)
    model = nn.Linear(4, 8, bias=False)
    model.weight = nn.Parameter(value, requires_grad=False)
    for saved in ({"weight": value}, model.state_dict(), model):
        checkpoint = open_checkpoint(write(saved))
        (tensor,) = checkpoint.tensors
        assert (tensor.name, tensor.shape, tensor.dtype) == ("weight", (8, 4), "bfloat16")
        assert (tensor.elements, tensor.bytes) == (32, bytes_of(packed) + depth * bytes_of(scale))
        assert tensor.untrainable_reason.startswith("Quantized: quantized, its values are")
        assert any(name.endswith(".Quantized") for name in checkpoint.foreign)
        assert tensor.requires_grad is (False if saved is model else None)


@pytest.mark.parametrize("way", ["Int8WeightOnlyConfig", "Float8WeightOnlyConfig", "IntxWeightOnlyConfig"])
def test_torchao(write: Write, way: str) -> None:
    from torchao import quantization

    model = nn.Sequential(nn.Linear(128, 64).bfloat16())
    quantization.quantize_(model, getattr(quantization, way)())
    path = write(model.state_dict())
    torchs = torch.load(path, weights_only=False)
    weight, bias = open_checkpoint(path).tensors
    inner = [getattr(torchs["0.weight"], name) for name in torchs["0.weight"].__tensor_flatten__()[0]]
    assert (weight.name, weight.shape, weight.dtype) == ("0.weight", (64, 128), "bfloat16")
    assert (weight.elements, weight.bytes) == (64 * 128, bytes_of(*inner))
    assert bool(weight.untrainable_reason) is not inner[0].is_floating_point()
    assert (bias.shape, bias.bytes) == ((64,), 128)


def test_what_is_one_tensor_is_tied(write: Write) -> None:
    """As `is` and shared inner storages are after torch.load."""
    one, two = (Quantized(torch.ones(2, 3, dtype=torch.int8), torch.ones(1)) for _ in "ab")
    coo = torch.eye(2, 3).to_sparse()
    nested = torch.nested.nested_tensor([torch.ones(2, 3)], layout=torch.jagged)
    saved = {
        "a": one,
        "b": one,
        "c": one.detach(),
        "d": two,
        "inner": one.packed,
        "coo": coo,
        "coo2": coo.detach(),
        "coo3": coo.clone(),
        "values": coo._values(),
        "n": nested,
        "n2": nested,
    }
    tree = ParamTree(open_checkpoint(write(saved)).tensors)
    groups = {tuple(tree.tensors[i].name for i in group) for group in tree.tie_groups.values()}
    assert groups == {("a", "b", "c"), ("coo", "coo2"), ("n", "n2")}


@pytest.fixture
def one_process(tmp_path: Path) -> Iterator[Any]:
    """A mesh of this process alone."""
    dist.init_process_group("gloo", init_method=f"file://{tmp_path}/rendezvous", rank=0, world_size=1)
    yield init_device_mesh("cpu", (1,))
    dist.destroy_process_group()


def test_dtensor(write: Write, one_process: Any) -> None:
    model = nn.Linear(3, 4)
    whole = model.weight.detach()
    model.weight = nn.Parameter(distribute_tensor(whole, one_process, [Shard(0)]))
    path = write(model.state_dict())
    weight, bias = open_checkpoint(path).tensors
    torchs = torch.load(path, weights_only=False)["weight"]
    assert (weight.name, weight.shape, f"torch.{weight.dtype}") == ("weight", torchs.shape, str(torchs.dtype))
    assert (weight.bytes, weight.elements, weight.requires_grad) == (torchs.nbytes, 12, None)
    assert bias.requires_grad is None
    assert torch.equal(load_tensors(open_checkpoint(path))["weight"], whole)  # all of it is here
    weight, bias = open_checkpoint(write(model)).tensors
    assert (weight.requires_grad, bias.requires_grad, weight.kind) == (True, True, "parameter")


def test_a_dtensor_of_which_a_part_is_here(write: Write, one_process: Any) -> None:
    value = distribute_tensor(torch.ones(8, 3), one_process, [Shard(0)])
    value._local_tensor = torch.ones(2, 3)  # as on the other ranks of four
    checkpoint = open_checkpoint(write({"w": value}))
    (tensor,) = checkpoint.tensors
    assert (tensor.shape, tensor.elements, tensor.bytes, tensor.untrainable_reason) == ((8, 3), 24, 24, "")
    with pytest.raises(ModelError, match="it is a DTensor tensor"):
        load_tensors(checkpoint)


@pytest.fixture
def third_party() -> Iterator[ModuleType]:
    project = ModuleType("third_party")
    sys.modules["third_party"] = project
    exec("def _rebuild_ternary_tensor(*_): raise AssertionError('the file was run')", project.__dict__)
    yield project
    del sys.modules["third_party"]


class Reduced:
    """Pickles as a call of a function."""

    def __init__(self, function: Any, *args: Any) -> None:
        self.call = function, args

    def __reduce__(self) -> tuple[Any, ...]:
        return self.call


def test_an_unknown_tensor_is_listed_with_a_warning(write: Write, third_party: ModuleType) -> None:
    unknown = Reduced(third_party._rebuild_ternary_tensor, torch.ones(2), (4, 4))
    checkpoint = open_checkpoint(
        write(
            {"a.weight": torch.ones(2), "b.weight": unknown, "c.weight": unknown, "d.weight": torch.ones(3)}
        )
    )
    assert [t.name for t in checkpoint.tensors] == ["a.weight", "b.weight", "c.weight", "d.weight"]
    unread = checkpoint.tensors[1]
    assert (unread.shape, unread.dtype, unread.bytes, unread.elements) == ((0,), "unknown", 0, 0)
    assert unread.untrainable_reason == "unknown: unsupported tensor type"
    assert checkpoint.warnings == (
        "torch.load would run third_party._rebuild_ternary_tensor, with unknown effects; "
        "freezetui does not run it",
        "2 tensors of an unsupported type (names only): b.weight, c.weight",
    )
    assert checkpoint.foreign == ("third_party._rebuild_ternary_tensor",)


@pytest.mark.parametrize("kind", ["cpu", "numpy", "cast"])
def test_tensors_that_are_moved_after_loading(write: Write, kind: str) -> None:
    """What torch writes on XLA and other devices without a storage."""
    if kind == "numpy":
        rebuild: Any = torch._utils._rebuild_device_tensor_from_numpy
        data: Any = np.ones((2, 3), dtype=np.float32)
    else:
        rebuild, data = torch._utils._rebuild_device_tensor_from_cpu_tensor, torch.ones(2, 3)
    dtype = torch.bfloat16 if kind == "cast" else torch.float32
    path = write({"w": Reduced(rebuild, data, dtype, "cpu", True)})
    torchs = torch.load(path, weights_only=False)["w"]
    tensor = only(path)
    assert (tensor.shape, f"torch.{tensor.dtype}") == (tuple(torchs.shape), str(torchs.dtype))
    assert tensor.bytes == 24


def test_lazy_modules(write: Write) -> None:
    model = nn.Sequential(nn.LazyLinear(3), nn.LazyBatchNorm1d())
    for saved in (model, model.state_dict()):
        checkpoint = open_checkpoint(write(saved))
        assert [t.name for t in checkpoint.tensors] == list(model.state_dict())
        flags = {name: p.requires_grad for name, p in model.named_parameters()}
        for tensor in checkpoint.tensors:
            if tensor.name.endswith("num_batches_tracked"):
                continue
            lazy = tensor.untrainable_reason == "uninitialized: no shape before the first forward pass"
            assert lazy and tensor.shape == (0,) and tensor.bytes == 0
            assert tensor.name not in flags or tensor.requires_grad is True
        # A lazy module is pickled with its hooks, which getattr fetches: attacks use it as well.
        hooks = ["this file would import __builtin__.getattr"] if saved is model else []
        assert [warning[: len(hooks[0])] for warning in checkpoint.warnings] == hooks


def same_as_module(path: Path, model: nn.Module) -> None:
    """Names, shapes, dtypes, kinds and flags of a pickled module."""
    expected = model.state_dict()
    parameters = dict(model.named_parameters(remove_duplicate=False))
    assert [
        (t.name, t.shape, f"torch.{t.dtype}", t.requires_grad, t.kind) for t in open_checkpoint(path).tensors
    ] == [
        (
            name,
            tuple(value.shape),
            str(value.dtype),
            name in parameters and parameters[name].requires_grad,
            "parameter" if name in parameters else "buffer",
        )
        for name, value in expected.items()
    ]


class Lists(nn.Module):
    """Parameters in lists and dicts, frozen ones among them."""

    def __init__(self) -> None:
        super().__init__()
        self.items = nn.ParameterList([nn.Parameter(torch.ones(n)) for n in (1, 2)])
        self.items[0].requires_grad_(False)
        self.by_name = nn.ParameterDict({"a": nn.Parameter(torch.ones(3)), "b": self.items[1]})
        self.tagged = nn.Parameter(torch.ones(2).as_subclass(Tagged))
        self.register_buffer("sparse", torch.eye(2).to_sparse())


@pytest.mark.parametrize("container", ["zip", "legacy"])
def test_lists_dicts_and_weight_norm(write: Write, container: str) -> None:
    normed = torch.nn.utils.weight_norm(nn.Linear(3, 2))
    spectral = torch.nn.utils.spectral_norm(nn.Linear(3, 2))
    model = nn.Sequential(Lists(), normed, spectral)
    same_as_module(write(model, container), model)


@pytest.mark.parametrize("norm", ["weight_norm", "spectral_norm", "orthogonal"])
def test_parametrizations(write: Write, norm: str) -> None:
    model = nn.Sequential(getattr(torch.nn.utils.parametrizations, norm)(nn.Linear(3, 2)))
    expected = model.state_dict()
    with pytest.raises(RuntimeError, match="only supported through state_dict"):
        write(model)  # torch itself writes no such module
    tensors = open_checkpoint(write(expected)).tensors
    assert [(t.name, t.shape) for t in tensors] == [(n, tuple(v.shape)) for n, v in expected.items()]
    learned = {name for name, _ in model.named_parameters()}
    assert {t.name for t in tensors if t.kind == "parameter"} >= learned


@pytest.mark.parametrize("container", ["zip", "legacy"])
def test_quantized_modules_show_the_weights_that_they_pack(write: Write, container: str) -> None:
    packs = torch.ao.nn.quantized
    model = nn.Sequential(packs.Linear(3, 4), packs.Conv2d(1, 2, 3), packs.Embedding(5, 3), nn.Linear(2, 2))
    weights = {"qint8": {(4, 3), (2, 1, 3, 3)}, "quint8": {(5, 3)}}
    for saved in (model, model.state_dict()):
        checkpoint = open_checkpoint(write(saved, container))
        shown = {dtype: {t.shape for t in checkpoint.tensors if t.dtype == dtype} for dtype in weights}
        assert shown == weights
        assert all(t.untrainable_reason for t in checkpoint.tensors if t.dtype in weights)
        assert [t.name for t in checkpoint.tensors[-2:]] == ["3.weight", "3.bias"]
        assert {entry.what for entry in checkpoint.skipped} <= {"torch.qint8", "torch.quint8"}
    linear = {"0._packed_params._packed_params.0": (4, 3), "0._packed_params._packed_params.1": (4,)}
    assert {t.name: t.shape for t in checkpoint.tensors if "0._packed" in t.name} == linear


def test_a_quantized_lstm(write: Write) -> None:
    with pytest.warns(Warning):
        model = torch.ao.quantization.quantize_dynamic(nn.Sequential(nn.LSTM(3, 2)), {nn.LSTM})
    tensors = open_checkpoint(write(model)).tensors
    assert sorted(t.shape for t in tensors if t.dtype == "qint8") == [(8, 2), (8, 3)]


def test_nonsense_in_place_of_any_argument_is_no_error() -> None:
    """Each stub with arguments of every sort, some of them other stubs, or themselves."""
    dtype = type("float32", (Opaque,), {"__module__": "torch"})
    plain = Rebuilt(("storage", "float32", "0", "cpu", 4), 0, (4,), (1,))
    loop = SubclassStub(WrapperTensorStub, dtype, (dtype, dtype, (4,), (1,), 0, None, None, False), {})
    loop.state["itself"] = loop
    pool: list[Any] = [plain, loop, dtype, (4,), (), None, True, -1, 2**70, "x", {"values": plain}, [plain]]
    pool += [
        (plain, plain, (4,)),
        {"_is_param": True},
        UnreadStub,
        Opaque(),
        1.5,
        {},
        (1, 2**62, 2**62),
        ((),),
    ]
    basic, choose = len(pool), random.Random(0)
    kinds = sorted(REBUILT, key=lambda kind: kind.__name__)
    read = 0
    for _ in range(4000):
        try:
            value = choose.choice(kinds)(*(choose.choice(pool) for _ in range(choose.randrange(1, 9))))
        except TypeError:  # too few arguments, or too many
            continue
        reader = TensorReader(BufferDetector(()))
        info = reader.info("w", value, live=choose.random() < 0.5)
        assert info.bytes >= 0 and info.elements >= 0 and isinstance(info.untrainable_reason, str)
        assert info.dtype != "unknown" or info.packing is not None
        assert reader.nbytes(value) == (info.bytes if info.dtype != "unknown" else 0)
        pool = [*pool[:basic], *pool[basic:][-20:], value]
        read += 1
    assert read > 1000


def test_wrappers_that_share_themselves_come_to_an_end() -> None:
    dtype = type("float32", (Opaque,), {"__module__": "torch"})
    value: Any = Rebuilt(("storage", "float32", "0", "cpu", 4), 0, (4,), (1,))
    for _ in range(7):
        arguments = (dtype, dtype, (4,), (1,), 0, None, None, False)
        value = SubclassStub(WrapperTensorStub, dtype, arguments, {str(i): value for i in range(50)})
    reader = TensorReader(BufferDetector(()))
    assert reader.info("w", value).shape == (4,)  # 50**7 tensors, were each looked at
    assert reader.info("w", value).dtype == "unknown"  # what one file may cost is used up
