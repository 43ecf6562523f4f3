"""What is fuzzed: bytes become a file, the file is opened, and only a CheckpointError may come of it."""

from __future__ import annotations

import io
import json
import os
import tempfile
import time
import zipfile
from collections.abc import Callable
from pathlib import Path

from freezetui.checkpoint.open import open_checkpoint
from freezetui.errors import CheckpointError

#: No input of a few kilobytes may take longer.
MOST_SECONDS = 5
#: Of the tensors of the safetensors seed.
SEED_BYTES = 92


def _text(value: str) -> bytes:
    return b"X" + len(value).to_bytes(4, "little") + value.encode("utf-8", "surrogatepass")


def _named(module: str, name: str) -> bytes:
    return f"c{module}\n{name}\n".encode()


#: Opcodes, and what a state_dict is made of.
PIECES: tuple[bytes, ...] = (
    *(bytes([opcode]) for opcode in b"()]}N\x88\x89lteRsuabo0\x8f\x90\x91\x93\x94\x81\x85\x86\x87Q12"),
    *(bytes([opcode, index]) for opcode in b"hq" for index in range(4)),
    *(b"K" + bytes([number]) for number in range(3)),
    *(_text(value) for value in ("storage", "0", "cpu", "weight", "a.b", "model", "_metadata", "\ud800\x1b")),
    *(_named("torch", name) for name in ("FloatStorage", "LongStorage", "Size", "float8_e4m3fn", "device")),
    *(_named("torch._utils", f"_rebuild_{name}") for name in ("tensor_v2", "tensor_v3", "parameter")),
    *(_named("torch._utils", f"_rebuild_{n}") for n in ("qtensor", "sparse_tensor", "wrapper_subclass")),
    _named("torch._tensor", "_rebuild_from_type_v2"),
    _named("torch.nn.modules.linear", "Linear"),
    _named("collections", "OrderedDict"),
    _named("__torch__.net", "Net"),
    _named("os", "system"),
    # A tensor, and an empty dict of a module's.
    b"(" + _text("storage") + _named("torch", "FloatStorage") + _text("0") + _text("cpu") + b"K\4tQ",
    _named("torch._utils", "_rebuild_tensor_v2") + b"((" + _text("storage") + _named("torch", "FloatStorage")
    + _text("0") + _text("cpu") + b"K\4tQK\0K\2\x85K\1\x85\x89}tR",
    _text("_parameters") + b"}" + _text("_modules") + b"}" + _text("_buffers") + b"}",
)  # fmt: skip


def whole(data: bytes, folder: Path) -> Path:
    """The bytes are the file."""
    path = folder / "model.pth"
    path.write_bytes(data)
    return path


def pickled(data: bytes, folder: Path) -> Path:
    """The bytes are the pickle in a zip as torch writes it, which mutation alone would hardly ever hit."""
    with zipfile.ZipFile(folder / "model.pth", "w") as archive:
        archive.writestr("x/data.pkl", data)
    return folder / "model.pth"


def built(data: bytes, folder: Path) -> Path:
    """Every byte is a piece of a pickle, so that what is built is well-formed more often than not."""
    return pickled(b"\x80\x04" + b"".join(PIECES[byte % len(PIECES)] for byte in data) + b".", folder)


def header(data: bytes, folder: Path) -> Path:
    """The bytes are the header of a safetensors file with as much data as the seed's."""
    path = folder / "model.safetensors"
    path.write_bytes(len(data).to_bytes(8, "little") + data + bytes(SEED_BYTES))
    return path


def index(data: bytes, folder: Path) -> Path:
    """The bytes are the index of a folder with one shard."""
    (folder / "model.safetensors.index.json").write_bytes(data)
    entry = {"a": {"dtype": "U8", "shape": [2], "data_offsets": [0, 2]}}
    text = json.dumps(entry).encode()
    (folder / "shard.safetensors").write_bytes(len(text).to_bytes(8, "little") + text + bytes(2))
    return folder


def metadata(data: bytes, folder: Path) -> Path:
    """The bytes are the `.metadata` of a distributed checkpoint."""
    (folder / ".metadata").write_bytes(data)
    return folder


TARGETS: dict[str, Callable[[bytes, Path], Path]] = {
    "whole": whole,
    "pickled": pickled,
    "built": built,
    "header": header,
    "index": index,
    "metadata": metadata,
}

#: Real files that take long to make lie in the corpus under this name.
SEED_FILES = "seed-*"


def attempt(target: str, data: bytes) -> str:
    """Open what the target makes of the bytes; why it was refused, or "" where it was opened.

    Raises:
        AssertionError: it took too long, or the error is not one clear line.
    """
    started = time.monotonic()
    with tempfile.TemporaryDirectory(dir=_memory()) as folder:
        path = TARGETS[target](data, Path(folder))
        try:
            checkpoint = open_checkpoint(path)
        except CheckpointError as error:
            refusal = str(error)
            assert refusal.isprintable(), ascii(refusal)
            assert error.hint
        else:
            refusal = ""
            for tensor in checkpoint.tensors:
                assert tensor.elements >= 0
                assert tensor.bytes >= 0
                assert isinstance(tensor.name, str)
                _ = tensor.untrainable_reason
            assert "".join(checkpoint.warnings).isprintable()
    assert time.monotonic() - started < MOST_SECONDS
    return refusal


def seeds() -> dict[str, list[bytes]]:
    """Small real inputs for each target, written by torch and safetensors."""
    import torch
    from safetensors.torch import save
    from torch import nn

    model = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3))
    optimizer = torch.optim.AdamW(model.parameters())
    values = [model.state_dict(), model, {"model": model.state_dict(), "optimizer": optimizer.state_dict()}]
    found: dict[str, list[bytes]] = {target: [] for target in TARGETS}
    for value in values:
        for zipped in (True, False):
            stream = io.BytesIO()
            torch.save(value, stream, _use_new_zipfile_serialization=zipped)
            found["whole"].append(stream.getvalue())
        with zipfile.ZipFile(io.BytesIO(found["whole"][-2])) as archive:
            name = next(name for name in archive.namelist() if name.endswith("data.pkl"))
            found["pickled"].append(archive.read(name))
    safe = save(dict(model.state_dict()))
    state = (b"}", b"(", _text("weight"), PIECES[-2], b"u")
    found["built"] = [bytes(range(len(PIECES))), bytes(map(PIECES.index, state))]
    found["whole"].append(safe)
    found["header"].append(safe[8 : 8 + int.from_bytes(safe[:8], "little")])
    found["index"].append(
        b'{"metadata": {}, "weight_map": {"a": "shard.safetensors", "b": "other.safetensors"}}'
    )
    for target in TARGETS:
        files = sorted((Path(__file__).parent / "corpus" / target).glob(SEED_FILES))
        found[target] += [file.read_bytes() for file in files]
    return found


def _memory() -> str | None:
    """A folder in memory, where there is one."""
    return "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
