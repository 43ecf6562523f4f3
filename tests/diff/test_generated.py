"""A hundred pairs of checkpoints, over every dtype and format: what is told is what torch says."""

from __future__ import annotations

import json
import math
import random
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from freezetui.checkpoint.open import open_checkpoint
from freezetui.checkpoint.storage import open_weights
from freezetui.checkpoint.types import Checkpoint
from freezetui.diff.report import TensorDiff
from freezetui.diff.run import diff
from freezetui.diff.stats import tensor_stats
from freezetui.diff.validate import validate
from support.distributed import save_distributed

FORMATS = ("zip", "legacy", "safetensors", "shards", "pickle shards", "distributed", "in rows", "in blocks")
FLOATS = ("float32", "float64", "float16", "bfloat16")
FP8 = ("float8_e4m3fn", "float8_e5m2", "float8_e4m3fnuz", "float8_e5m2fnuz", "float8_e8m0fnu")
COMPLEX = ("complex64", "complex128", "complex32")
INTEGERS = ("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "bool")
DISTRIBUTED = FORMATS[-3:]
ALL = FLOATS * 3 + FP8 + COMPLEX + INTEGERS
#: What neither the legacy format nor every version of safetensors keeps.
NOT_LEGACY = {*FP8, "uint16", "uint32", "uint64", "complex32"}
NOT_SAFETENSORS = {"complex32", "complex128"}


def random_tensor(chance: random.Random, dtype: str) -> Tensor:
    """Random bits in a random shape; some with strides of their own."""
    shape = [chance.randint(1, 40) for _ in range(chance.randint(0, 3))]
    kind = getattr(torch, dtype)
    count = math.prod(shape)
    if dtype == "bool":
        flat = torch.rand(count) < 0.5
    elif chance.random() < 0.5 and dtype in FLOATS:
        flat = torch.randn(count).to(kind)
    else:
        flat = torch.randint(0, 256, (count * kind.itemsize,), dtype=torch.uint8).view(kind)
    tensor = flat.view(shape)
    style = chance.random()
    if style < 0.15 and len(shape) > 1:
        return tensor.transpose(0, -1)
    if style < 0.25 and shape:
        return torch.stack((tensor, tensor), dim=-1)[..., 1]
    return tensor


def changed(chance: random.Random, tensor: Tensor) -> Tensor:
    """Return the tensor after training, perhaps."""
    style = chance.choice(["same", "same", "one", "all", "decay", "cast", "reshaped", "noise"])
    dtype = str(tensor.dtype).removeprefix("torch.")
    after = tensor.clone(memory_format=torch.contiguous_format)
    if style == "one" and tensor.numel():
        bits = after.contiguous().view(-1).view(torch.uint8).clone()
        place = chance.randrange(len(bits))
        bits[place] = not bits[place] if dtype == "bool" else bits[place] ^ chance.randint(1, 255)
        return bits.view(tensor.dtype).view(tensor.shape)
    if style == "all":
        return random_like(tensor)
    if style == "decay" and dtype in FLOATS:
        return after * 0.9
    if style == "noise" and dtype in FLOATS:
        return after + 1e-3 * torch.randn(tensor.shape).to(tensor.dtype)
    if style == "cast" and dtype in FLOATS:
        return after.to(getattr(torch, chance.choice([d for d in (*FLOATS, *FP8) if d != dtype])))
    if style == "reshaped":
        return after.reshape(-1, 1)
    return after


def random_like(tensor: Tensor) -> Tensor:
    if tensor.dtype == torch.bool:
        return torch.rand(tensor.shape) < 0.5
    bits = torch.randint(0, 256, (tensor.numel() * tensor.itemsize,), dtype=torch.uint8)
    return bits.view(tensor.dtype).view(tensor.shape)


def write(tensors: dict[str, Tensor], kind: str, folder: Path) -> Path:
    folder.mkdir()
    if kind in ("zip", "legacy"):
        path = folder / "model.pth"
        torch.save(tensors, path, _use_new_zipfile_serialization=kind == "zip")
        return path
    if kind in DISTRIBUTED:
        save_distributed(tensors, folder, by_rows=kind == "in rows", by_blocks=kind == "in blocks")
        return folder
    dense = {name: tensor.clone().contiguous() for name, tensor in tensors.items()}
    if kind == "safetensors":
        save_file(dense, folder / "model.safetensors")
        return folder / "model.safetensors"
    names = list(dense)
    end, stem = ("safetensors", "model") if kind == "shards" else ("bin", "pytorch_model")
    where = {}
    for number, part in enumerate((names[::2], names[1::2]), 1):
        shard = f"{stem}-{number:05d}-of-00002.{end}"
        held = {name: dense[name] for name in part}
        if kind == "shards":
            save_file(held, folder / shard)
        else:
            torch.save(held, folder / shard)
        where |= dict.fromkeys(part, shard)
    (folder / f"{stem}.{end}.index.json").write_text(json.dumps({"metadata": {}, "weight_map": where}))
    return folder


def allowed(kind: str) -> list[str]:
    left = NOT_LEGACY if kind == "legacy" else NOT_SAFETENSORS if kind in ("safetensors", "shards") else set()
    return [dtype for dtype in ALL if dtype not in left]


def bits_of(tensor: Tensor) -> Tensor:
    """Return a row of bytes for each element."""
    flat = tensor.clone(memory_format=torch.contiguous_format).view(-1)
    return flat.view(torch.uint8).view(-1, tensor.itemsize)


def doubles(tensor: Tensor) -> Tensor:
    if tensor.is_complex():
        return tensor.to(torch.complex128)
    return (
        tensor.float().double()
        if tensor.dtype.itemsize == 1 and tensor.is_floating_point()
        else tensor.double()
    )


def deltas(before: Tensor, after: Tensor) -> Tensor:
    """Return what each element changed by; of integers that doubles cannot tell apart, exactly."""
    if before.dtype != after.dtype or before.dtype not in (torch.int64, torch.uint64):
        return doubles(after) - doubles(before)
    pairs = zip(before.flatten().tolist(), after.flatten().tolist(), strict=True)
    return torch.tensor([float(other - one) for one, other in pairs], dtype=torch.float64).view(before.shape)


def same_value(one: Tensor, other: Tensor) -> Tensor:
    """Bit for bit, or both NaN."""
    nan = doubles(one).isnan() & doubles(other).isnan()
    return (bits_of(one) == bits_of(other)).all(1).view(one.shape) | nan


def missed_by_cast(before: Tensor, after: Tensor) -> int:
    """How many elements neither cast explains; torch does the casting."""
    forward = int((~same_value(before.to(after.dtype), after)).sum())
    back = int((~same_value(after.to(before.dtype), before)).sum())
    return min(forward, back)


def check(told: TensorDiff, before: Tensor | None, after: Tensor | None) -> None:
    if before is None or after is None:
        assert told.status == ("added" if before is None else "removed")
        return
    if before.shape != after.shape:
        assert told.status == "reshaped"
        assert told.new_shape == tuple(after.shape)
        return
    if before.dtype != after.dtype:
        missed = missed_by_cast(before, after)
        assert (told.status, told.changed) == ("changed" if missed else "cast", missed)
    else:
        different = int((bits_of(before) != bits_of(after)).any(1).sum())
        assert (told.status, told.changed) == ("changed" if different else "identical", different)
    if told.status != "changed":
        return
    one, other = doubles(before), doubles(after)
    finite = one.isfinite() & other.isfinite()
    assert told.nan == int((other.isnan() & ~one.isnan()).sum())
    assert told.from_nan == int((one.isnan() & other.isfinite()).sum())
    one, delta = one[finite], deltas(before, after)[finite]
    if not one.numel():
        return
    largest, norm, change = (float(value) for value in (delta.abs().max(), one.norm(), delta.norm()))
    if max(largest, norm, change) < 1e150:
        assert told.max_delta == pytest.approx(largest, rel=1e-5, abs=1e-150)
        assert told.delta_norm == pytest.approx(change, rel=1e-4, abs=1e-150)
        assert told.norm == pytest.approx(norm, rel=1e-4, abs=1e-150)
        if norm > 1e-150:  # the squares of less are no doubles
            assert told.relative == pytest.approx(change / norm, rel=1e-4, abs=1e-150)


@pytest.mark.filterwarnings("ignore:.*")
@pytest.mark.parametrize("seed", range(100))
def test_a_generated_pair(seed: int, tmp_path: Path) -> None:
    chance = random.Random(seed)
    torch.manual_seed(seed)
    kinds = FORMATS[seed % len(FORMATS)], chance.choice(FORMATS)
    dtypes = [dtype for dtype in allowed(kinds[0]) if dtype in allowed(kinds[1])]
    before = {f"layer.{i}.weight": random_tensor(chance, chance.choice(dtypes)) for i in range(12)}
    if kinds[0] in ("zip", "legacy"):
        before["tied.weight"] = before["layer.0.weight"]
    after = {name: changed(chance, tensor) for name, tensor in before.items()}
    fp8_lost = kinds[1] == "legacy"
    after = {n: before[n] if fp8_lost and str(t.dtype)[6:] in NOT_LEGACY else t for n, t in after.items()}
    del after[chance.choice(list(after))]
    after["new.weight"] = torch.randn(3)
    one = open_checkpoint(write(before, kinds[0], tmp_path / "before"))
    other = open_checkpoint(write(after, kinds[1], tmp_path / "after"))
    report = diff(one, other)
    assert {tensor.name for tensor in report.tensors} == before.keys() | after.keys()
    for tensor in report.tensors:
        check(tensor, before.get(tensor.name), after.get(tensor.name))
    assert report.exit_code == 1
    assert diff(one, one).exit_code == 0
    check_values(one, before)


def check_values(checkpoint: Checkpoint, tensors: dict[str, Tensor]) -> None:
    validation = validate(checkpoint)
    bad = {(problem.name, problem.what) for problem in validation.problems}
    with open_weights(checkpoint) as weights:
        for info in checkpoint.tensors:
            numbers = doubles(tensors[info.name])
            assert ((info.name, "NaN") in bad) == bool(numbers.isnan().any())
            assert ((info.name, "Inf") in bad) == bool((numbers.isinf() & ~numbers.isnan()).any())
            stats = tensor_stats(weights, info)
            numbers = numbers.abs() if numbers.is_complex() else numbers
            assert stats.nan == int(numbers.isnan().sum())
            assert stats.zeros == int((numbers == 0).sum())
            if stats.nan:
                assert stats.first_nan == tuple(numbers.isnan().nonzero()[0].tolist())
            finite = numbers[numbers.isfinite()]
            if not finite.numel() or float(finite.abs().max()) > 1e100:
                continue
            scale = float(finite.abs().max())
            assert stats.min == pytest.approx(float(finite.min()), rel=1e-6)
            assert stats.max == pytest.approx(float(finite.max()), rel=1e-6)
            assert stats.mean == pytest.approx(float(finite.mean()), rel=1e-5, abs=1e-6 * scale)
            if finite.numel() > 1:
                assert stats.std == pytest.approx(float(finite.std()), rel=1e-4, abs=1e-7 * scale)
            if stats.histogram:
                assert sum(stats.histogram) == finite.numel()
                assert all(count >= 0 for count in stats.histogram)
            if stats.rows is not None and finite.numel() == numbers.numel():
                norms = numbers.flatten(1).norm(dim=1)
                assert stats.rows.max == pytest.approx(float(norms.max()), rel=1e-4)
                assert stats.rows.min == pytest.approx(float(norms.min()), rel=1e-4)
                if stats.columns is not None:
                    assert stats.columns.max == pytest.approx(float(numbers.norm(dim=0).max()), rel=1e-4)


@pytest.mark.filterwarnings("ignore:.*")
@pytest.mark.parametrize("wide", ["complex64", "complex128", "complex32"])
@pytest.mark.parametrize("real", ["float32", "float64", "bfloat16", "int16", "bool"])
def test_numbers_that_became_complex_and_the_other_way_round(tmp_path, wide, real):
    numbers = torch.tensor([[1.0, -2.0, 0.0], [3.5, 0.25, 7.0]])
    plain = numbers > 0 if real == "bool" else numbers.to(getattr(torch, real))
    for name, imaginary, status in (("same", 0.0, "cast"), ("other", 0.5, "changed")):
        pairs = torch.complex(plain.double(), torch.full((2, 3), imaginary, dtype=torch.float64))
        both = {"plain": plain, "complex": pairs.to(getattr(torch, wide))}
        paths = {n: write({"w": t}, "zip", tmp_path / f"{name}-{n}") for n, t in both.items()}
        for sides in (paths.values(), reversed(paths.values())):
            found = diff(*map(open_checkpoint, sides)).tensors[0]
            assert (found.status, found.changed) == (status, 6 if imaginary else 0)
            assert found.max_delta in (None, pytest.approx(imaginary))
