"""Reads and rounds torch's dtypes with numpy, with the same bits as torch."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

#: Itemsize -> an unsigned dtype of this width; numpy has none of 16 bytes.
CARRIERS = {1: np.uint8, 2: np.uint16, 4: np.uint32, 8: np.uint64, 16: np.complex128}

#: Dtypes that numpy also has.
_NATIVE: dict[str, Any] = {
    **{f"float{bits}": f"f{bits // 8}" for bits in (32, 64)},
    **{f"int{bits}": f"i{bits // 8}" for bits in (8, 16, 32, 64)},
    **{f"uint{bits}": f"u{bits // 8}" for bits in (8, 16, 32, 64)},
    **{f"int{bits}": "i1" for bits in range(1, 8)},
    **{f"uint{bits}": "u1" for bits in range(1, 8)},
    "bool": "u1",
    "complex64": "c8",
    "complex128": "c16",
}
#: One-byte dtypes: bits of the exponent and of the mantissa, the exponent's bias, and how NaN is encoded.
_FP8 = {
    "float8_e4m3fn": (4, 3, 7, "all ones"),
    "float8_e5m2": (5, 2, 15, "ieee"),
    "float8_e4m3fnuz": (4, 3, 8, "minus zero"),
    "float8_e5m2fnuz": (5, 2, 16, "minus zero"),
}
_FP16 = (5, 10, 15, "ieee")
#: Larger numbers are nearer to 480, which float8_e4m3fn does not have, than to its largest value.
_MAX_E4M3FN = 464.0
_E8M0 = "float8_e8m0fnu"
_FP4 = "float4_e2m1fn_x2"
_FP4_VALUES = (0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0)
_HALVES = {"complex32": "float16", "bcomplex32": "bfloat16"}
#: Complex dtype -> the dtype of its two parts.
COMPONENTS = {"complex64": "float32", "complex128": "float64", **_HALVES}


@cache
def is_numeric(dtype: str) -> bool:
    """Whether elements of this dtype can be read as numbers."""
    return (
        dtype in _NATIVE or dtype in _FP8 or dtype in _HALVES or dtype in ("float16", "bfloat16", _E8M0, _FP4)
    )


@cache
def is_floating(dtype: str) -> bool:
    """Whether it is a real floating point dtype that others can be rounded to."""
    return dtype.startswith(("float", "bfloat")) and is_numeric(dtype) and dtype != _FP4


def numbers_of(bits: Array, dtype: str) -> Array:
    """Return elements as numbers: floats of 32 or 64 bits, complex numbers, or integers.

    Args:
        bits: one dimension without gaps, of the carrier that is as wide as an element.

    Returns:
        As many numbers; twice as many for float4_e2m1fn_x2, the low half of each byte first.
    """
    if dtype in _NATIVE:
        native: Array = bits.view(_NATIVE[dtype])
        return native
    if dtype == "bfloat16":
        return np.asarray((bits.astype(np.uint32) << np.uint32(16)).view(np.float32))
    if dtype in _HALVES:
        return numbers_of(bits.view(np.uint16), _HALVES[dtype]).view(np.complex64)
    if dtype == _FP4:
        return np.take(fp4_table().view(np.complex64).reshape(-1), bits).view(np.float32)
    return np.take(fp8_table(dtype), bits) if dtype == _E8M0 else _widened(bits, dtype)


def codes_of(bits: Array, dtype: str) -> Array:
    """Return one code for each number: the bits unchanged, unless there are two numbers in a byte."""
    return np.stack((bits & 15, bits >> 4), axis=1).reshape(-1) if dtype == _FP4 else bits


def rounded_bits(numbers: Array, dtype: str) -> Array:
    """Return the bits of numbers cast to a real floating point dtype; ties round to even.

    As in torch, dtypes narrower than float32 are cast via float32. Numbers that are too large become
    infinite, NaN in the `fnuz` dtypes, and the largest value of float8_e4m3fn. The bits of NaN may differ.
    """
    if dtype == "float64":
        return numbers.astype(np.float64).view(np.uint64)
    with np.errstate(over="ignore", invalid="ignore"):
        single: Array = np.ascontiguousarray(numbers, np.float32)
        if dtype == "float32":
            return single.view(np.uint32)
        if dtype == "float16":
            return single.astype(np.float16).view(np.uint16)
    if dtype == "bfloat16":
        return _to_bfloat16(single)
    return _to_e8m0(single) if dtype == _E8M0 else _to_fp8(single, dtype)


def casts_to(numbers: Array, dtype: str, bits: Array) -> Array:
    """Return where a cast of numbers to a real floating point dtype gives these bits; all NaNs are equal.

    Numbers too large for float8_e4m3fn became NaN in older versions of torch: both are accepted.
    """
    cast = rounded_bits(numbers, dtype)
    same: Array = cast == bits
    if not same.all():
        is_nan = np.isnan(numbers_of(bits, dtype))
        same |= is_nan & np.isnan(numbers_of(cast, dtype))
        if dtype == "float8_e4m3fn":
            same |= is_nan & (np.abs(numbers) >= _MAX_E4M3FN)
    return same


def _to_bfloat16(single: Array) -> Array:
    bits = single.view(np.uint32)
    half = np.uint32(0x7FFF) + ((bits >> np.uint32(16)) & np.uint32(1))
    rounded: Array = ((bits + half) >> np.uint32(16)).astype(np.uint16)
    rounded[np.isnan(single)] = 0x7FC0
    return rounded


def _widened(bits: Array, dtype: str) -> Array:
    """Return elements of float16 or of a signed one-byte dtype as float32.

    Shifts the sign and the rest to where float32 has them, and scales by the difference of the biases: exact,
    and three times as fast as a table or as numpy's cast. Infinity and NaN are taken from the table.
    """
    exponent, mantissa, bias, kind = _FP16 if dtype == "float16" else _FP8[dtype]
    wide = bits.view(f"i{bits.itemsize}").astype(np.int32)
    wide <<= np.int32(23 - mantissa)
    wide &= np.int32((1 << 23 + exponent) - 1 - (1 << 31))
    numbers = wide.view(np.float32)
    numbers *= np.float32(2.0 ** (127 - bias))
    if not bits.size:
        return numbers
    sign = bits.dtype.type(1 << exponent + mantissa)
    if kind == "minus zero":
        special = bits == sign
    else:
        first = sign - 1 if kind == "all ones" else sign - (1 << mantissa)
        left = bits & (sign - 1)
        if left.max() < first:
            return numbers
        special = left >= first
    if special.any():
        table = _half_table() if dtype == "float16" else fp8_table(dtype)
        numbers[special] = table[bits[special]]
    return numbers


@cache
def _half_table() -> Array:
    """Return the float32 value of each of the 65,536 codes of float16."""
    return np.arange(1 << 16, dtype=np.uint16).view(np.float16).astype(np.float32)


@cache
def fp8_table(dtype: str) -> Array:
    """Return the float32 value of each of the 256 codes of a one-byte dtype."""
    if dtype == _E8M0:
        values = np.ldexp(1.0, np.arange(255) - 127).astype(np.float32)
        return np.append(values, np.float32(np.nan))
    kind = _FP8[dtype][3]
    half = _magnitudes(dtype)[:128].astype(np.float32)
    if kind == "all ones":
        half[127] = np.nan
    elif kind == "ieee":
        half[124], half[125:] = np.inf, np.nan
    values = np.concatenate((half, -half))
    if kind == "minus zero":
        values[128] = np.nan
    return values


@cache
def fp4_table() -> Array:
    """Return the two float32 values in each byte of float4_e2m1fn_x2."""
    nibbles = np.array([*_FP4_VALUES, *(-value for value in _FP4_VALUES)], np.float32)
    codes = np.arange(256)
    return np.stack((nibbles[codes & 15], nibbles[codes >> 4]), axis=1)


@cache
def _magnitudes(dtype: str) -> Array:
    """Return the float64 values of the codes 0 to 128 if none of them meant infinity or NaN."""
    _, mantissa, bias, _ = _FP8[dtype]
    codes = np.arange(129)
    exponent, fraction = codes >> mantissa, codes & ((1 << mantissa) - 1)
    is_normal = exponent > 0
    significand = fraction / (1 << mantissa) + is_normal
    return np.asarray(np.ldexp(significand, np.maximum(exponent, 1) - bias))


@cache
def _thresholds(dtype: str) -> Array:
    """Return the float32 from which a magnitude rounds to the next code; ties round to the even one."""
    values = _magnitudes(dtype)
    last = {"all ones": 126, "ieee": 124, "minus zero": 128}[_FP8[dtype][3]]
    middles = ((values[:-1] + values[1:]) / 2).astype(np.float32)[:last]
    is_odd = (np.arange(1, last + 1) & 1).astype(bool)
    return np.where(is_odd, np.nextafter(middles, np.float32(np.inf)), middles)


def _to_fp8(single: Array, dtype: str) -> Array:
    kind = _FP8[dtype][3]
    codes = np.searchsorted(_thresholds(dtype), np.abs(single), side="right").astype(np.uint8)
    signs = np.signbit(single)
    if kind == "minus zero":
        signs &= codes != 0
    codes |= signs.astype(np.uint8) << np.uint8(7)
    codes[np.isnan(single)] = 128 if kind == "minus zero" else 127
    return codes


def _to_e8m0(single: Array) -> Array:
    """Return the exponent, rounded up from the middle; the sign is lost, and 255 is NaN."""
    bits = single.view(np.uint32) & np.uint32(0x7FFFFFFF)
    exponent, fraction = bits >> np.uint32(23), bits & np.uint32(0x7FFFFF)
    middle = np.uint32(0x400000)
    up = np.where(exponent > 0, fraction >= middle, fraction > middle) & (exponent < 255)
    return np.asarray((exponent + up).astype(np.uint8))
