"""Writes pickles of every protocol, and the files around them, without torch and without pickle."""

from __future__ import annotations

import io
import json
import struct
import zipfile
from collections.abc import Mapping
from math import prod
from typing import Any, NamedTuple

from support.untrusted.inputs import Shapes

#: The first pickles of a file of torch before 1.6.
_MAGIC, VERSION = 0x1950A86A20F9469CFC6C, 1001
SYSTEM = {"protocol_version": VERSION, "little_endian": True, "type_sizes": {"short": 2}}


class Global(NamedTuple):
    """A global, by name."""

    module: str
    name: str


class Call(NamedTuple):
    """What a function returns."""

    function: Any
    arguments: tuple[Any, ...] = ()


class New(NamedTuple):
    """An instance, made without a call."""

    kind: Global
    state: Any


class Persistent(NamedTuple):
    """A storage."""

    pid: Any


class Raw(bytes):
    """Opcodes as they are."""


def encoded(value: Any, protocol: int) -> bytes:
    """Return the opcodes that make a value."""

    def inner(*values: Any) -> bytes:
        return b"".join(encoded(each, protocol) for each in values)

    match value:
        case Raw():
            return bytes(value)
        case None | True | False:
            return {None: b"N", True: b"\x88", False: b"\x89"}[value]
        case Global():
            if protocol >= 4:
                return inner(value.module, value.name) + b"\x93"
            return f"c{value.module}\n{value.name}\n".encode()
        case Call():
            return inner(value.function, tuple(value.arguments)) + b"R"
        case New():
            return inner(value.kind) + b")\x81" + inner(value.state) + b"b"
        case Persistent():
            return inner(value.pid) + b"Q"
        case int() if 0 <= value < 256:
            return b"K" + bytes([value])
        case int() if -(2**31) <= value < 2**31:
            return b"J" + struct.pack("<i", value)
        case int():
            length = value.bit_length() // 8 + 1
            return b"\x8a" + bytes([length]) + value.to_bytes(length, "little", signed=True)
        case str():
            text = value.encode("utf-8", "surrogatepass")
            if protocol >= 4 and len(text) < 256:
                return b"\x8c" + bytes([len(text)]) + text
            return b"X" + struct.pack("<I", len(text)) + text
        case bytes():
            return b"C" + bytes([len(value)]) + value
        case tuple() if len(value) < 4:
            return inner(*value) + (b")", b"\x85", b"\x86", b"\x87")[len(value)]
        case tuple():
            return b"(" + inner(*value) + b"t"
        case list():
            return b"](" + inner(*value) + b"e"
        case dict():
            return b"}(" + inner(*(each for pair in value.items() for each in pair)) + b"u"
    raise TypeError(type(value))


def pickled(value: Any, protocol: int = 2, framed: bool = False) -> bytes:
    """Return a whole pickle."""
    body = encoded(value, protocol) + b"."
    frame = b"\x95" + struct.pack("<Q", len(body)) if framed and protocol >= 4 else b""
    return b"\x80" + bytes([protocol]) + frame + body


def tensor(
    key: str,
    shape: tuple[int, ...],
    offset: int = 0,
    stride: tuple[int, ...] | None = None,
    stored: int | None = None,
    in_legacy: bool = False,
) -> Call:
    """Return a float32 tensor over its own storage, as torch pickles it; before 1.6 it could be a view."""
    if stride is None:
        stride = tuple(prod(shape[place + 1 :]) for place in range(len(shape)))
    count = prod(shape) if stored is None else stored
    storage = ("storage", Global("torch", "FloatStorage"), key, "cpu", count, *((None,) if in_legacy else ()))
    hooks = Call(Global("collections", "OrderedDict"))
    arguments = (Persistent(storage), offset, shape, stride, False, hooks)
    return Call(Global("torch._utils", "_rebuild_tensor_v2"), arguments)


def state_dict(shapes: Shapes, in_legacy: bool = False) -> dict[str, Any]:
    """Return the tensors of a model, each over a storage of its own, numbered."""
    numbered = enumerate(shapes.items())
    return {name: tensor(str(number), shape, in_legacy=in_legacy) for number, (name, shape) in numbered}


def storages(shapes: Shapes) -> dict[str, bytes]:
    """Return the bytes of each storage."""
    return {str(number): bytes(4 * prod(shape)) for number, shape in enumerate(shapes.values())}


def zipped(data: bytes, held: Mapping[str, bytes], method: int = zipfile.ZIP_STORED) -> bytes:
    """Return a file as torch writes it, from its pickle and its storages."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", method) as archive:
        members = {"data.pkl": data, **{f"data/{key}": content for key, content in held.items()}}
        for name, content in (members | {"version": b"3\n"}).items():
            archive.writestr(zipfile.ZipInfo(f"x/{name}"), content, method)
    return stream.getvalue()


def legacy(value: Any, held: Mapping[str, bytes], protocol: int = 2) -> bytes:
    """Return a file as torch before 1.6 wrote it."""
    pickles = (pickled(each, protocol) for each in (_MAGIC, VERSION, SYSTEM, value, list(held)))
    return b"".join(pickles) + b"".join(
        struct.pack("<Q", len(content) // 4) + content for content in held.values()
    )


def torch_file(shapes: Shapes, protocol: int = 2, framed: bool = False, **more: Any) -> bytes:
    """Return a zip with a state_dict under "model", and more beside it; alone where there is no more."""
    state = state_dict(shapes)
    value = {"model": state, **more} if more else state
    return zipped(pickled(value, protocol, framed), storages(shapes))


def entries(shapes: Shapes) -> dict[str, Any]:
    """Return the header of a safetensors file."""
    found, start = {}, 0
    for name, shape in shapes.items():
        stop = start + 4 * prod(shape)
        found[name] = {"dtype": "F32", "shape": list(shape), "data_offsets": [start, stop]}
        start = stop
    return found


def safetensors(header: Any, room: int | None = None, length: int | None = None) -> bytes:
    """Return a safetensors file: a header as text, bytes or values, and as many zeros as it needs."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    if room is None:
        offsets = [entry["data_offsets"] for entry in header.values() if "data_offsets" in entry]
        room = max((stop for _, stop in offsets), default=0)
    return struct.pack("<Q", len(text) if length is None else length) + text + bytes(room)


def model_safetensors(shapes: Shapes) -> bytes:
    """Return the safetensors file of a model."""
    return safetensors(entries(shapes))


def gguf(shapes: Shapes, **other: int) -> bytes:
    """Return a GGUF file of float32 tensors; `other` says tensors, pairs, version, type, dimensions anew."""
    told = {"version": 3, "tensors": len(shapes), "pairs": 1, "type": 0, **other}
    head = struct.pack("<4sIQQ", b"GGUF", told["version"], told["tensors"], told["pairs"])
    head += _text("general.architecture") + struct.pack("<I", 8) + _text("llama")
    start = 0
    for name, shape in shapes.items():
        head += _text(name) + struct.pack("<I", other.get("dimensions", len(shape)))
        head += struct.pack(f"<{len(shape)}Q", *reversed(shape)) + struct.pack("<IQ", told["type"], start)
        start += -(-4 * prod(shape) // 32) * 32
    return head + bytes(-len(head) % 32) + bytes(start)


def _text(text: str) -> bytes:
    data = text.encode()
    return struct.pack("<Q", len(data)) + data


def dcp(shapes: Shapes, protocol: int = 4, **more: Any) -> dict[str, bytes]:
    """Return a directory of torch.distributed.checkpoint: a file of pieces, each 100 bytes and its data."""
    there = Global("torch.distributed.checkpoint.metadata", "")
    tensors, stored, start = {}, [], 0
    for name, shape in shapes.items():
        # float32, no layout: what the properties' state holds first is the dtype.
        properties = New(
            there._replace(name="TensorProperties"),
            (Global("torch", "float32"), Raw(b"N"), False, Raw(b"N"), False),
        )
        chunk = New(there._replace(name="ChunkStorageMetadata"), {"offsets": (), "sizes": ()})
        told = {"properties": properties, "size": Call(Global("torch", "Size"), (shape,)), "chunks": [chunk]}
        tensors[name] = New(there._replace(name="TensorStorageMetadata"), told)
        place = New(there._replace(name="MetadataIndex"), {"fqn": name, "offset": None, "index": 0})
        length = 100 + 4 * prod(shape)
        info = {"relative_path": "__0_0.distcp", "offset": start, "length": length}
        stored += [place, New(Global("torch.distributed.checkpoint.filesystem", "_StorageInfo"), info)]
        start += length
    pairs = Raw(b"}(" + b"".join(encoded(each, protocol) for each in stored) + b"u")
    state = {"state_dict_metadata": tensors, "planner_data": None, "storage_data": pairs, **more}
    metadata = pickled(New(there._replace(name="Metadata"), state), protocol)
    return {".metadata": metadata, "__0_0.distcp": bytes(start)}
