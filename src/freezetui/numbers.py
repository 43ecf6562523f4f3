"""Counts, sizes and shares, formatted for display."""

from __future__ import annotations

from collections.abc import Sequence


def count(value: int) -> str:
    """Return a count, exact below ten thousand, else with two decimals: "9,216", "14.71 M", "7.24 B"."""
    if value < 10_000:
        return f"{value:,}"
    for limit, divisor, unit in ((999_995, 1e3, "K"), (999_995_000, 1e6, "M"), (999_995e6, 1e9, "B")):
        if value < limit:
            return f"{value / divisor:.2f} {unit}"
    return f"{value / 1e12:.2f} T" if value < 1e18 else f"{value:.2e}"


def size(nbytes: int) -> str:
    """Return a number of bytes in binary units: "512 B", "9.0 MiB", "528 MiB"."""
    value = float(nbytes)
    for unit in ("B", "KiB", "MiB", "GiB", "TiB"):
        if value < 1023.5 or unit == "TiB":
            break
        value /= 1024
    if unit == "B" or value >= 99.95:
        return f"{value:.0f} {unit}"
    return f"{value:.1f} {unit}"


def percent(share: float) -> str:
    """Return a share from 0 to 1 in at most four characters; "0%" and "100%" only where exact."""
    if share <= 0:
        return "0%"
    if share >= 1:
        return "100%"
    rounded = round(share * 100)
    return "<1%" if rounded < 1 else ">99%" if rounded > 99 else f"{rounded}%"


def shape(dimensions: Sequence[int]) -> str:
    """Return a shape as "512x512x3x3"; "scalar" for ()."""
    return "x".join(map(str, dimensions)) or "scalar"


def plural(number: int, noun: str, nouns: str = "") -> str:
    """Return a number with its noun: "1 tensor", "1,024 tensors"; `nouns` is an irregular plural."""
    return f"{number:,} {noun if number == 1 else nouns or noun + 's'}"


def duration(seconds: float) -> str:
    """Return a duration as "0.42 s", "12 s" or "3 min 5 s"."""
    if seconds < 60:
        return f"{seconds:.2g} s" if seconds < 10 else f"{seconds:.0f} s"
    return f"{int(seconds) // 60} min {int(seconds) % 60} s"
