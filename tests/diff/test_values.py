"""Tensors that are not one block of numbers, and files that lie about them."""

from __future__ import annotations

import io
import json
import pickle
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from freezetui.checkpoint.open import open_checkpoint
from freezetui.checkpoint.storage import open_weights
from freezetui.diff.run import diff
from freezetui.diff.stats import tensor_stats
from freezetui.diff.validate import validate
from freezetui.diff.values import TensorValues
from freezetui.errors import CheckpointError
from freezetui.formatting.diff import diff_lines
from freezetui.formatting.values import value_lines

from .conftest import told


def changed_one(tensor: Tensor) -> Tensor:
    other = tensor.clone()
    other.view(-1)[0] += 1
    return other


@pytest.mark.parametrize("layout", ["coo", "csr"])
def test_sparse_tensors_are_compared_by_the_bytes_of_their_parts(compared, layout):
    dense = torch.diag(torch.arange(1.0, 6.0))
    make = (lambda t: t.to_sparse().coalesce()) if layout == "coo" else (lambda t: t.to_sparse_csr())
    one = {"s.weight": make(dense), "d.weight": torch.ones(3)}
    assert compared(one, {"s.weight": make(dense.clone()), "d.weight": torch.ones(3)}).identical
    report = compared(one, {**one, "s.weight": make(dense * 2)})
    assert (told(report, "s.weight").status, told(report, "s.weight").changed) == ("changed", None)
    assert sum(line.endswith("its bytes differ") for line in diff_lines(report)) == 1


@pytest.mark.filterwarnings("ignore:.*")
def test_tensors_that_are_stored_in_different_ways_are_not_compared(compared):
    dense = torch.tensor([[0.0, 2.0], [0.0, 0.0]])
    ways = [dense, dense.to_sparse(), dense.to_sparse_csr(), dense.T.to_sparse_csc()]
    for one in ways:
        for other in ways:
            found = told(compared({"w": one}, {"w": other}), "w")
            assert found.status == ("identical" if one is other else "unread"), found


@pytest.mark.filterwarnings("ignore:.*")
def test_indices_of_another_order_are_not_called_a_change(compared):
    def coo(rows: list[int], columns: list[int], values: list[float]) -> Tensor:
        return torch.sparse_coo_tensor([rows, columns], values, (2, 3))

    one = coo([0, 1, 1], [2, 0, 2], [2.0, 2.0, 3.0])
    same = coo([1, 0, 1], [0, 2, 2], [2.0, 2.0, 3.0]), coo([0, 0, 1, 1], [2, 2, 0, 2], [1.0, 1.0, 2.0, 3.0])
    for other in same:
        assert torch.equal(one.to_dense(), other.to_dense())
        found = told(compared({"w": one}, {"w": other}), "w")
        assert (found.status, found.reason.partition(" tensors ")[0]) == ("unread", "sparse_coo")
    assert told(compared({"w": one}, {"w": one * 2}), "w").status == "changed"
    empty = coo([], [], [])
    assert compared({"w": empty}, {"w": empty.clone()}).identical


@pytest.mark.filterwarnings("ignore:.*")
def test_the_indices_of_a_sparse_tensor_are_read_once(compared, monkeypatch):
    chunk, read = TensorValues.chunk, []
    monkeypatch.setattr(TensorValues, "chunk", lambda *call: read.append(call[1:]) or chunk(*call))
    one = torch.sparse_coo_tensor([[0, 1, 1], [2, 0, 2]], [2.0, 2.0, 3.0], (2, 3))
    assert told(compared({"w": one}, {"w": one * 1}), "w").status == "identical"
    assert sorted(read) == 2 * [(0, 48)] + 2 * [(48, 60)]


def test_quantized_tensors_are_compared_by_their_bytes(compared):
    one = {"q.weight": torch.quantize_per_tensor(torch.randn(4, 6), 0.1, 0, torch.qint8)}
    assert compared(one, dict(one)).identical
    other = {"q.weight": torch.quantize_per_tensor(torch.randn(4, 6), 0.1, 0, torch.qint8)}
    assert told(compared(one, other), "q.weight").status == "changed"


@pytest.mark.filterwarnings("ignore:.*")
@pytest.mark.parametrize("layout", [torch.strided, torch.jagged])
def test_nested_tensors_of_the_same_values_in_other_parts_are_others(compared, layout):
    values = torch.arange(18.0).view(6, 3)

    def of(rows):
        return torch.nested.nested_tensor([values[:rows], values[rows:]], layout=layout)

    assert compared({"w": of(2)}, {"w": of(2)}).identical
    assert told(compared({"w": of(2)}, {"w": of(4)}), "w").status == "changed"


def test_an_array_in_a_pickle_is_not_read_and_not_called_corrupt(compared):
    report = compared({"w": torch.ones(3).numpy()}, {"w": torch.ones(3).numpy()})
    assert told(report, "w").reason == "a NumPy array inside a pickle is not read."
    assert report.exit_code == 2


@pytest.mark.parametrize("dtype", ["int64", "uint64"])
def test_small_changes_of_huge_integers_have_their_size(compared, dtype):
    kind = getattr(torch, dtype)
    last = torch.iinfo(kind).max
    before = torch.tensor([last, last - 1, 3], dtype=kind)
    found = told(compared({"w": before}, {"w": torch.tensor([last - 1, last, 3], dtype=kind)}), "w")
    assert (found.changed, found.max_delta, found.delta_norm) == (2, 1.0, pytest.approx(2**0.5))
    least = torch.iinfo(kind).min
    found = told(compared({"w": before}, {"w": torch.tensor([least, last, 3], dtype=kind)}), "w")
    assert found.max_delta == pytest.approx(2.0**64)


@pytest.mark.parametrize("prefix", ["", "module."])
def test_what_an_index_lists_and_no_file_contains_is_missing(tmp_path, prefix):
    state = {f"{prefix}l{i}.weight": torch.ones(3) for i in range(4)}
    for number, names in enumerate((list(state)[:2], list(state)[2:])):
        save_file({name: state[name] for name in names}, tmp_path / f"{number}.safetensors")
    index = {name: f"{number // 2}.safetensors" for number, name in enumerate(state)}
    torch.save(state, tmp_path / "whole.pth")
    (tmp_path / "1.safetensors").unlink()
    index[f"{prefix}new"] = "0.safetensors"
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps({"weight_map": index}))
    shards, whole = (open_checkpoint(tmp_path / n) for n in ("model.safetensors.index.json", "whole.pth"))
    found = validate(shards)
    problems = [("l2.weight", "missing"), ("l3.weight", "missing"), ("new", "missing")]
    assert sorted((problem.name, problem.what) for problem in found.problems) == problems
    assert (found.exit_code, found.tensors) == (1, 5)
    for sides in ((shards, whole), (whole, shards)):
        report = diff(*sides)
        assert {t.name for t in report.tensors if t.status == "unread"} == {"l2.weight", "l3.weight"}
        assert report.exit_code == 2


def test_other_signs_of_complex_zeros_are_no_change_of_values(compared):
    zeros = torch.zeros(4, dtype=torch.complex64)
    found = told(compared({"w": zeros}, {"w": torch.view_as_complex(-torch.zeros(4, 2))}), "w")
    assert (found.changed, found.looks) == (4, "same values")


def test_a_meta_tensor_cannot_be_compared(compared):
    one = {"m.weight": torch.empty(3, device="meta"), "a": torch.ones(2)}
    report = compared(one, one)
    assert told(report, "m.weight").status == "unread"
    assert report.exit_code == 2


def test_overlapping_and_expanded_views(compared):
    base = torch.randn(30)
    one = {"windows": base.unfold(0, 5, 1), "expanded": base[:3].expand(7, 3), "base": base}
    assert compared(one, {name: tensor.clone() for name, tensor in one.items()}).identical
    other = dict(one, expanded=changed_one(one["expanded"].contiguous()))
    assert told(compared(one, other), "expanded").changed == 1


def test_tied_names_are_measured_once_and_told_each(compared):
    weight = torch.randn(20, 20)
    report = compared({"a": weight, "b": weight}, {"a": (new := weight * 2), "b": new})
    assert [tensor.changed for tensor in report.tensors] == [400, 400]


def test_packed_safetensors_without_a_dtype_in_torch(tmp_path):
    def write(name: str, data: bytes) -> Path:
        header = json.dumps({"w": {"dtype": "F6_E2M3", "shape": [8], "data_offsets": [0, 6]}}).encode()
        path = tmp_path / name
        path.write_bytes(len(header).to_bytes(8, "little") + header + data)
        return path

    one, other = write("a.safetensors", b"abcdef"), write("b.safetensors", b"abcdeg")
    assert diff(open_checkpoint(one), open_checkpoint(one)).identical
    assert diff(open_checkpoint(one), open_checkpoint(other)).tensors[0].status == "changed"
    with (
        open_weights(checkpoint := open_checkpoint(one)) as weights,
        pytest.raises(CheckpointError, match="F6"),
    ):
        tensor_stats(weights, checkpoint.tensors[0])


def test_gguf_blocks_are_bytes_and_the_rest_numbers(tmp_path):
    gguf = pytest.importorskip("gguf")

    def write(name: str, bump: float) -> Path:
        writer = gguf.GGUFWriter(tmp_path / name, "llama")
        writer.add_tensor("plain.weight", np.arange(64, dtype=np.float32).reshape(2, 32) + bump)
        blocks = gguf.quants.quantize(
            np.linspace(-1, 1, 64, dtype=np.float32).reshape(2, 32) * (1 + bump),
            gguf.GGMLQuantizationType.Q8_0,
        )
        writer.add_tensor("blocks.weight", blocks, raw_dtype=gguf.GGMLQuantizationType.Q8_0)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
        return tmp_path / name

    one, other = open_checkpoint(write("a.gguf", 0)), open_checkpoint(write("b.gguf", 1))
    assert diff(one, one).identical
    report = diff(one, other)
    plain, blocks = told(report, "plain.weight"), told(report, "blocks.weight")
    assert (plain.status, plain.changed, plain.max_delta) == ("changed", 64, 1)
    assert (blocks.status, blocks.changed) == ("changed", None)


def damaged(path: Path, change) -> Path:
    """Write the archive with its members changed: name -> new bytes, None to leave it out."""
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    out = path.with_name("damaged.pth")
    with zipfile.ZipFile(out, "w") as archive:
        for name, content in members.items():
            new = change(name, content)
            if new is not None:
                archive.writestr(name, new)
    return out


@pytest.fixture
def saved(tmp_path):
    path = tmp_path / "model.pth"
    torch.save({"a.weight": torch.randn(4, 4), "b.weight": torch.randn(100)}, path)
    return path


def test_a_storage_that_is_missing_or_short(saved):
    last = "data/1"
    gone = damaged(saved, lambda name, content: None if name.endswith(last) else content)
    short = damaged(saved, lambda name, content: content[:-8] if name.endswith(last) else content)
    for path in (gone, short):
        report = validate(open_checkpoint(path))
        assert report.exit_code == 1
        assert [(problem.name, problem.what) for problem in report.problems] == [("b.weight", "missing")]
        compared = diff(open_checkpoint(saved), open_checkpoint(path))
        assert told(compared, "a.weight").status == "identical"
        assert told(compared, "b.weight").status == "unread"


def test_a_flipped_bit_is_found_by_the_checksum(saved):
    data = bytearray(saved.read_bytes())
    with zipfile.ZipFile(saved) as archive:
        place = archive.getinfo("model/data/1").header_offset + 400  # well within its 400 bytes of data
    data[place] ^= 4
    saved.write_bytes(data)
    report = validate(open_checkpoint(saved))
    assert [(problem.name, problem.what) for problem in report.problems] == [("b.weight", "checksum")]
    assert report.checked == 2


def test_without_checksums_none_is_compared(saved):
    from torch.serialization import set_crc32_options

    set_crc32_options(False)
    try:
        torch.save({"a.weight": torch.randn(4, 4)}, saved)
    finally:
        set_crc32_options(True)
    report = validate(open_checkpoint(saved))
    assert (report.valid, report.checked) == (True, 0)


def test_nan_and_inf_are_named(tmp_path):
    tensors = {
        "fine": torch.ones(3),
        "nan": torch.tensor([1, float("nan")]),
        "inf": torch.tensor([-float("inf")]),
    }
    save_file(tensors, tmp_path / "x.safetensors")
    report = validate(open_checkpoint(tmp_path / "x.safetensors"))
    assert {(p.name, p.what, p.detail) for p in report.problems} == {
        ("nan", "NaN", "1 of 2 values"),
        ("inf", "Inf", "1 of 1 value"),
    }


def hostile(tensors: str, data: bytes, path: Path) -> Path:
    """Write an archive whose pickle rebuilds tensors as `tensors` says, over one storage "0"."""

    class Persistent(pickle.Pickler):
        def persistent_id(self, value):
            return ("storage", torch.FloatStorage, "0", "cpu", len(data) // 4) if value == "STORAGE" else None

    class Rebuild:
        def __init__(self, *arguments):
            self.arguments = arguments

        def __reduce__(self):
            return torch._utils._rebuild_tensor_v2, ("STORAGE", *self.arguments, False, {})

    buffer = io.BytesIO()
    Persistent(buffer, protocol=2).dump(eval(tensors, {"Rebuild": Rebuild}))
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("x/data.pkl", buffer.getvalue())
        archive.writestr("x/data/0", data)
    return path


@pytest.mark.parametrize(
    "tensors",
    [
        "{'w': Rebuild(0, (4, 4), (1000, 1))}",
        "{'w': Rebuild(10**15, (4,), (1,))}",
        "{'w': Rebuild(0, (2**40, 2**20), (0, 0))}",
        "{'w': Rebuild(0, (100,), (1,))}",
        "{f'w{i}': Rebuild(0, (2**30,), (0,)) for i in range(1000)}",
    ],
)
def test_a_view_beyond_its_storage_costs_neither_time_nor_memory(tensors, tmp_path):
    path = hostile(tensors, bytes(64), tmp_path / "x.pth")
    checkpoint = open_checkpoint(path)
    report = diff(checkpoint, checkpoint)
    assert {tensor.status for tensor in report.tensors} <= {"unread", "identical"}
    assert sum(tensor.status == "unread" for tensor in report.tensors) >= len(report.tensors) - 1
    validate(checkpoint)


def test_two_numbers_in_a_byte(compared):
    if not hasattr(torch, "float4_e2m1fn_x2"):
        pytest.skip("needs torch 2.8")
    codes = torch.arange(24, dtype=torch.uint8).view(4, 6)
    one, other = codes.clone(), codes.clone()
    other[2, 3] ^= 0x11  # both of its numbers
    dtype = torch.float4_e2m1fn_x2
    report = compared({"w": one.view(dtype)}, {"w": other.view(dtype)})
    assert (report.tensors[0].elements, report.tensors[0].changed) == (48, 2)


def test_the_figures_of_complex_numbers_are_called_those_of_absolute_values(tmp_path):
    torch.save({"c": torch.tensor([3 + 4j, 0]), "r": torch.ones(2)}, tmp_path / "a.pth")
    checkpoint = open_checkpoint(tmp_path / "a.pth")
    with open_weights(checkpoint) as weights:
        lines = [list(value_lines(tensor_stats(weights, info))) for info in checkpoint.tensors]
    assert lines[0][:2] == ["of absolute values:", "min 0  max 5"]
    assert lines[1][0] == "min 1  max 1"


def test_the_histogram_is_that_of_numpy(tmp_path):
    values = np.random.default_rng(0).standard_normal(200_000).astype(np.float32)
    save_file({"w": torch.from_numpy(values.copy())}, tmp_path / "x.safetensors")
    checkpoint = open_checkpoint(tmp_path / "x.safetensors")
    with open_weights(checkpoint) as weights:
        stats = tensor_stats(weights, checkpoint.tensors[0])
    expected, _ = np.histogram(values, 16)
    assert np.abs(np.array(stats.histogram) - expected).max() <= 1  # an edge between two float32


@pytest.mark.parametrize("dtype", ["complex64", "complex128", "complex32"])
def test_lazy_conjugates_and_negatives_are_what_torch_says(compared, dtype):
    plain = torch.complex(torch.randn(4, 3), torch.randn(4, 3)).to(getattr(torch, dtype))
    lazy = {"conj": plain.conj(), "neg": plain.clone().conj().imag, "t": plain.clone().t().conj()}
    assert lazy["conj"].is_conj()
    assert lazy["neg"].is_neg()
    resolved = {name: tensor.resolve_conj().resolve_neg().contiguous() for name, tensor in lazy.items()}
    assert compared(lazy, resolved).identical
    assert compared(resolved, lazy).identical
    # Read many at a time, as those that are all contiguous are.
    assert compared({"conj": lazy["conj"]}, {"conj": resolved["conj"]}).identical
    stored = {"conj": plain, "neg": -resolved["neg"], "t": plain.t()}
    report = compared(lazy, stored)
    assert {told(report, name).status for name in lazy} == {"changed"}
    # Only the imaginary parts differ, by twice their size.
    imaginary = torch.view_as_real(plain.to(torch.complex128))[..., 1]
    assert told(report, "conj").max_delta == pytest.approx(2 * float(imaginary.abs().max()), rel=1e-6)
    assert told(report, "conj").changed == 12


@pytest.mark.filterwarnings("ignore:.*")
def test_the_same_integers_of_another_scale_are_other_numbers(compared):
    one = torch.quantize_per_tensor(torch.randn(4, 3), 0.1, 0, torch.qint8)
    other = torch._make_per_tensor_quantized_tensor(one.int_repr(), 0.2, 0)
    report = compared({"w": one}, {"w": other})
    assert (told(report, "w").status, told(report, "w").changed) == ("changed", None)
    assert compared({"w": one}, {"w": one.clone()}).identical


@pytest.mark.filterwarnings("ignore:.*")
def test_the_same_integers_of_other_channels_are_other_numbers(compared):
    scales, zeros = torch.rand(4) + 0.1, torch.arange(4)
    one = torch.quantize_per_channel(torch.randn(4, 4), scales, zeros, 0, torch.qint8)

    def of(scales, zeros, axis=0):
        return torch._make_per_channel_quantized_tensor(one.int_repr(), scales, zeros, axis)

    for scale in (scales, scales.double(), torch.rand(9)[::2][:4]):  # the last has strides
        assert compared({"w": of(scale, zeros)}, {"w": of(scale.clone(), zeros)}).identical
        for other in (of(scale * 2, zeros), of(scale, zeros + 1), of(scale, zeros, 1)):
            found = told(compared({"w": of(scale, zeros)}, {"w": other}), "w")
            assert (found.status, found.changed) == ("changed", None)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float8_e5m2", "int8", "uint16", "bool"])
def test_counted_codes_give_the_statistics_of_torch(tmp_path, dtype):
    kind = getattr(torch, dtype)
    numbers = torch.randn(301, 601) * 40
    numbers = numbers.abs() if dtype == "uint16" else numbers
    weight = numbers > 0 if dtype == "bool" else numbers.clamp(-127, 127).to(kind)
    if weight.is_floating_point():
        weight[7, 9], weight[8, 1], weight[300, 600] = torch.nan, -torch.inf, torch.inf
    torch.save({"w": weight}, tmp_path / "w.pth")
    checkpoint = open_checkpoint(str(tmp_path / "w.pth"))
    with open_weights(checkpoint) as weights:
        stats = tensor_stats(weights, checkpoint.tensors[0])
    values = weight.float().double()
    finite = values[values.isfinite()]
    assert (stats.min, stats.max) == (float(finite.min()), float(finite.max()))
    assert stats.mean == pytest.approx(float(finite.mean()), rel=1e-9, abs=1e-9)
    assert stats.std == pytest.approx(float(finite.std()), rel=1e-9)
    assert stats.zeros == int((values == 0).sum())
    assert (stats.nan, stats.inf) == (int(values.isnan().sum()), int(values.isinf().sum()))
    if weight.is_floating_point():
        assert (stats.first_nan, stats.first_inf) == ((7, 9), (8, 1))
    assert stats.histogram == tuple(np.histogram(finite.numpy(), 16)[0])
    assert (stats.rows.max, stats.columns.max) == (
        (None, None)
        if stats.inf
        else pytest.approx((float(values.norm(dim=1).max()), float(values.norm(dim=0).max())))
    )


@pytest.mark.parametrize(
    "dtype",
    ["float8_e4m3fn", "float8_e4m3fnuz", "float8_e5m2", "float8_e5m2fnuz", "float16", "uint8", "int16"],
)
@pytest.mark.parametrize("shape", [(1501, 1001), (2, 400_001), (400_001, 3)])
def test_norms_from_a_table_of_squares_are_those_of_torch(tmp_path, dtype, shape):
    """Several chunks, most of an odd number of elements."""
    numbers = torch.randn(shape, generator=torch.Generator().manual_seed(0)) * 30
    numbers[0] /= 10
    weight = (numbers.abs() if dtype == "uint8" else numbers).to(getattr(torch, dtype))
    save_file({"w": weight}, tmp_path / "w.safetensors")
    checkpoint = open_checkpoint(str(tmp_path / "w.safetensors"))
    with open_weights(checkpoint) as weights:
        stats = tensor_stats(weights, checkpoint.tensors[0])
    squares = weight.double().square()
    for found, dim in ((stats.rows, 1), (stats.columns, 0)):
        norms = squares.sum(dim).sqrt().numpy()
        assert (found.min, found.max) == pytest.approx((norms.min(), norms.max()), rel=1e-5)
        assert (norms[found.min_at], norms[found.max_at]) == pytest.approx((found.min, found.max), rel=1e-5)
        assert found.median == pytest.approx(np.median(norms), rel=1e-5)
