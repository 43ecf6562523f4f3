"""safetensors and GGUF: honest ones, and headers that lie."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from typing import Any

from support.untrusted.inputs import Input, Opens, Refused, drawn_shapes
from support.untrusted.writers import entries, gguf, model_safetensors, safetensors

_DIGITS = b"9" * 5_000


def _entry(dtype: str = "F32", shape: Any = (1,), offsets: Any = (0, 4)) -> dict[str, Any]:
    return {"dtype": dtype, "shape": list(shape), "data_offsets": list(offsets)}


def honest() -> Iterator[Input]:
    """As the libraries write them, with metadata, escapes and odd names."""
    for number in range(5):
        shapes = drawn_shapes(("safetensors", number))
        yield Input(
            f"safetensors {number}",
            {"m.safetensors": model_safetensors(shapes)},
            Opens(shapes),
            "m.safetensors",
        )
        shapes = drawn_shapes(("gguf", number))
        yield Input(f"gguf {number}", {"m.gguf": gguf(shapes)}, Opens(shapes), "m.gguf")
    metadata = {"__metadata__": {"format": "pt", "shape": "x", "note": "\u202e\x1b[31m"}}
    shapes = {"a\x1b]0;owned\x07\u202e.weight": (2,), "\ud800": (1,)}
    data = safetensors(json.dumps(metadata | entries(shapes)).encode(), 12)
    del shapes["\ud800"]
    yield Input(
        "safetensors with half a character", {"m": data}, Refused("m has a .* safetensors header"), "m"
    )
    data = safetensors(metadata | entries(shapes), 8)
    yield Input("safetensors with escapes", {"m": data}, Opens(shapes), "m")
    for what, name in {"segments": "a." * 100_000, "characters": "a" * 500_000, "dots": "." * 5_000}.items():
        shapes = {name: (2,), "b.c": (1,)}
        data = model_safetensors(shapes)
        yield Input(f"safetensors with a name of many {what}", {"m": data}, Opens(shapes), "m")
    empty = safetensors({}, 0)
    told = ("^no tensors: the file was saved without weights$",)
    yield Input("safetensors without tensors", {"m": empty}, Opens({}, told), "m")


def headers() -> Iterator[Input]:
    """safetensors headers that lie."""
    entry, four = _entry(), bytes(4)
    raw = b'{"a": {"dtype": "F32", "shape": [%s], "data_offsets": [0, 4]}}'
    for name, data in {
        "a header of 2**62": safetensors({}, length=2**62),
        "a header past the end": safetensors({"a": entry}, length=10_000),
        "a header of no bytes": struct.pack("<Q", 0) + b"{" + four,
        "overlapping": safetensors({"a": entry, "b": _entry(offsets=(2, 6))}),
        "a hole": safetensors({"a": entry, "b": _entry(offsets=(8, 12))}),
        "backwards": safetensors({"a": _entry(offsets=(4, 0))}, 4),
        "negative sizes": safetensors({"a": _entry(shape=(-1, -1))}),
        "sizes that overflow": safetensors({"a": _entry(shape=(2**62, 4, 0), offsets=(0, 0))}, 0),
        "a size of 2**64": safetensors({"a": _entry(shape=(2**64,))}),
        "a wrong size": safetensors({"a": _entry(shape=(2,))}),
        "an unknown dtype": safetensors({"a": _entry("F7\x1b[31m")}),
        "bytes behind": safetensors({"a": entry}, 9),
        "truncated": safetensors({"a": _entry(shape=(9,), offsets=(0, 36))}, 9),
        "a list": safetensors(b"{[1, 2, 3]}     ", 0),
        "no shape": safetensors({"a": {"dtype": "F32", "data_offsets": [0, 4]}}),
        "no dtype": safetensors({"a": {"shape": [1], "data_offsets": [0, 4]}}),
        "no offsets": safetensors({"a": {"shape": [1], "dtype": "F32"}}, 4),
        "one offset": safetensors({"a": _entry(offsets=(0,))}, 4),
        "text for a shape": safetensors({"a": {**entry, "shape": "1"}}),
        "a shape of 2,000 sizes": safetensors({"a": _entry(shape=[1] * 2_000)}),
        "NaN": safetensors(raw % b"NaN", 4),
        "Infinity": safetensors(raw % b"Infinity", 4),
        "1e400": safetensors(raw % b"1e400", 4),
        "1.0": safetensors(raw % b"1.0", 4),
        "true": safetensors(raw % b"true", 4),
        "5,000 digits": safetensors(raw % _DIGITS, 4),
        "5,000 digits in an offset": safetensors((raw % b"1").replace(b"4]", _DIGITS + b"]"), 4),
        "5,000 digits behind an escape": safetensors(
            b'{"__metadata__": {"\\u0061": ' + _DIGITS + b"}, " + (raw % b"1")[1:], 4
        ),
        "deep": safetensors(b'{"a":' + b"[" * 100_000, 0),
        "deep metadata": safetensors(b'{"__metadata__":' + b"[" * 100_000, 0),
        "a name twice": safetensors((raw % b"1")[:-1] + b"," + (raw % b"1,1")[1:], 4),
        "a name twice by escapes": safetensors((raw % b"1")[:-1] + b',"\\u0061"' + (raw % b"1,1")[4:], 4),
        "no JSON": safetensors(b"{" + b"\xff" * 20, 0),
        "JSON that ends": safetensors(b'{"a": {"dtype": "F32", ', 0),
    }.items():  # fmt: skip
        yield Input(
            f"safetensors: {name}", {"m.safetensors": data}, Refused(r"m\.safetensors "), "m.safetensors"
        )


def metadata() -> Iterator[Input]:
    """GGUF headers that lie."""
    shapes = {"blk.0.attn_q.weight": (2, 3), "output.weight": (4,)}
    good = gguf(shapes)
    name = struct.pack("<Q", 2**62)
    for what, data in {
        "version 1": gguf(shapes, version=1),
        "2**60 tensors": gguf(shapes, tensors=2**60),
        "2**60 pairs": gguf(shapes, pairs=2**60),
        "type 77": gguf(shapes, type=77),
        "4,000,000,000 dimensions": gguf(shapes, dimensions=4_000_000_000),
        "a name of 2**62 bytes": good[:24] + name + good[32:],
        "a value of an unknown kind": good.replace(struct.pack("<IQ", 8, 5), struct.pack("<IQ", 99, 5)),
        "a name twice": gguf(shapes).replace(b"blk.0.attn_q.weight", b"output.weight\0\0\0\0\0\0").replace(
            struct.pack("<Q", 19) + b"output", struct.pack("<Q", 13) + b"output"),
        "truncated data": good[:-40],
        "a truncated header": good[:70],
        "a head alone": good[:20],
        "sizes of 2**63": gguf({"a": (2,)}).replace(struct.pack("<Q", 2), struct.pack("<Q", 2**63)),
    }.items():  # fmt: skip
        yield Input(f"gguf: {what}", {"m.gguf": data}, Refused(r"m\.gguf "), "m.gguf")
    told = ("^no tensors: the file contains only a vocabulary, or is corrupt$",)
    yield Input("gguf: no tensors", {"m.gguf": gguf({})}, Opens({}, told, checkable=False), "m.gguf")
