"""Elements read and rounded as torch does it."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from freezetui.checkpoint.types import ITEMSIZE
from freezetui.diff.counts import CodeCounts
from freezetui.diff.dtypes import CARRIERS, casts_to, is_floating, is_numeric, numbers_of, rounded_bits

NARROW = [
    "float8_e4m3fn",
    "float8_e5m2",
    "float8_e4m3fnuz",
    "float8_e5m2fnuz",
    "float8_e8m0fnu",
    "float16",
    "bfloat16",
]
SIGNED = {1: torch.int8, 2: torch.int16, 4: torch.int32, 8: torch.int64}


def all_codes(dtype: str) -> np.ndarray:
    itemsize = ITEMSIZE[dtype]
    return np.arange(256**itemsize).astype(CARRIERS[itemsize])


def as_torch(bits: np.ndarray, dtype: str) -> torch.Tensor:
    flat = torch.from_numpy(bits.view(f"i{bits.itemsize}").copy())
    return flat.view(getattr(torch, dtype))


def as_bits(tensor: torch.Tensor) -> np.ndarray:
    return tensor.view(SIGNED[tensor.itemsize]).numpy().view(f"u{tensor.itemsize}")


@pytest.mark.parametrize("dtype", NARROW)
def test_every_code_is_the_number_that_torch_reads(dtype):
    codes = all_codes(dtype)
    mine, theirs = numbers_of(codes, dtype), as_torch(codes, dtype).float().numpy()
    assert np.array_equal(np.isnan(mine), np.isnan(theirs))
    known = ~np.isnan(mine)
    assert np.array_equal(mine[known].view(np.uint32), theirs[known].view(np.uint32))  # the sign of 0, too


@pytest.mark.parametrize("dtype", NARROW)
def test_finite_and_special_numbers_are_read_at_any_place_and_length(dtype):
    """From an odd address, as in a file; without NaN and infinity another way is taken."""
    codes = all_codes(dtype)
    moved = np.empty(codes.nbytes + 1, np.uint8)[1:].view(codes.dtype)
    moved[:] = codes
    whole = numbers_of(codes, dtype)
    finite = np.flatnonzero(np.isfinite(whole))
    for part in (moved, moved[:0], moved[3:8], moved[finite], moved[finite[:1]]):
        expected = whole[part.astype(int)]
        assert np.array_equal(numbers_of(part, dtype), expected, equal_nan=True)


@pytest.mark.parametrize("carrier", [np.uint8, np.uint16])
def test_codes_are_counted_in_parts_of_any_length(carrier):
    codes = np.random.default_rng(0).integers(0, np.iinfo(carrier).max, 1001, carrier, endpoint=True)
    counts = CodeCounts(codes.dtype.name)
    for start, stop in ((0, 0), (0, 1), (1, 4), (4, 500), (500, 1001)):
        counts.add(codes[start:stop])
    assert np.array_equal(counts.counts(), np.bincount(codes, minlength=256**codes.itemsize))


@pytest.mark.parametrize("dtype", NARROW)
def test_a_cast_of_every_kind_of_float32_is_that_of_torch(dtype):
    """Every upper half, with lower halves around the ties of bfloat16; the narrower ties lie higher."""
    lower = np.array([0, 1, 0x4000, 0x7FFF, 0x8000, 0x8001, 0xFFFF], np.uint32)
    numbers = ((np.arange(65536, dtype=np.uint32) << 16)[:, None] | lower).reshape(-1).view(np.float32)
    theirs = as_bits(torch.from_numpy(numbers.copy()).to(getattr(torch, dtype)))
    assert casts_to(numbers, dtype, theirs).all()
    mine = rounded_bits(numbers, dtype)
    is_nan = np.isnan(numbers_of(theirs, dtype))
    wrong = (mine != theirs) & ~is_nan
    assert not wrong.any(), numbers[wrong][:5]


@pytest.mark.parametrize("dtype", NARROW)
def test_a_cast_and_back_is_nothing(dtype):
    codes = all_codes(dtype)
    numbers = numbers_of(codes, dtype)
    assert casts_to(numbers, dtype, codes).all()


@given(st.floats(width=64), st.sampled_from(["float32", *NARROW]))
def test_a_cast_of_doubles_is_that_of_torch(number, dtype):
    theirs = as_bits(torch.tensor([number], dtype=torch.float64).to(getattr(torch, dtype)))
    assert casts_to(np.array([number]), dtype, theirs).all()


@given(st.integers(-(2**63), 2**63 - 1), st.sampled_from(["float64", "float32", "float16", "bfloat16"]))
def test_a_cast_of_integers_is_that_of_torch(number, dtype):
    theirs = as_bits(torch.tensor([number]).to(getattr(torch, dtype)))
    assert casts_to(np.array([number]), dtype, theirs).all()


def test_a_neighbor_is_not_what_a_cast_gives():
    numbers = np.array([1.0, 448.0, 1e9, np.nan], np.float32)
    good = rounded_bits(numbers, "float8_e4m3fn")
    assert casts_to(numbers, "float8_e4m3fn", good).tolist() == [True] * 4
    assert casts_to(numbers, "float8_e4m3fn", good ^ 1).tolist() == [False, False, True, False]


def test_two_numbers_in_a_byte():
    assert numbers_of(np.array([0x21, 0xF8], np.uint8), "float4_e2m1fn_x2").tolist() == [0.5, 1.0, -0.0, -6.0]


def test_every_dtype_of_torch_that_is_not_quantized_is_a_number():
    known = {
        str(value).removeprefix("torch.") for value in vars(torch).values() if isinstance(value, torch.dtype)
    }
    left = {dtype for dtype in known if not is_numeric(dtype)}
    assert {dtype for dtype in left if not dtype.startswith(("q", "bits"))} == set()
    assert all(is_numeric(dtype) for dtype in known if is_floating(dtype))


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_every_half_is_the_number_that_torch_reads(dtype):
    bits = np.arange(1 << 16, dtype=np.uint16)
    numbers = numbers_of(bits, dtype)
    assert np.array_equal(
        numbers,
        torch.from_numpy(bits.view(np.int16)).view(getattr(torch, dtype)).float().numpy(),
        equal_nan=True,
    )
