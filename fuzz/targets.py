"""What is fuzzed: bytes become a file, the file is opened, and only a CheckpointError may come of it."""

from __future__ import annotations

import io
import json
import os
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable
from pathlib import Path

from freezetui import FreezeConfig
from freezetui.checkpoint.open import open_checkpoint
from freezetui.checkpoint.types import TensorInfo
from freezetui.errors import CheckpointError, ConfigError, PatternError
from freezetui.freeze.patterns import Pattern
from freezetui.freeze.regexes import Budget
from freezetui.freeze.rules import matched
from freezetui.freeze.tree import ParamTree

sys.path.append(str(Path(__file__).resolve().parents[1] / "tests"))

from support.backtracking_patterns import Pattern as Backtracking

#: No input of a few kilobytes may take the processor longer.
MOST_SECONDS = 5
#: No message is longer.
MOST_SAID = 1_500
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


def whole(data: bytes, directory: Path) -> Path:
    """Write the bytes as the file."""
    path = directory / "model.pth"
    path.write_bytes(data)
    return path


def pickled(data: bytes, directory: Path) -> Path:
    """Write the bytes as the pickle in a zip of torch, which mutation alone would hardly ever hit."""
    with zipfile.ZipFile(directory / "model.pth", "w") as archive:
        archive.writestr("x/data.pkl", data)
    return directory / "model.pth"


def built(data: bytes, directory: Path) -> Path:
    """Every byte is a piece of a pickle, so that what is built is well-formed more often than not."""
    return pickled(b"\x80\x04" + b"".join(PIECES[byte % len(PIECES)] for byte in data) + b".", directory)


def header(data: bytes, directory: Path) -> Path:
    """Write the bytes as the header of a safetensors file with as much data as the seed's."""
    path = directory / "model.safetensors"
    path.write_bytes(len(data).to_bytes(8, "little") + data + bytes(SEED_BYTES))
    return path


def _write_safetensors(path: Path) -> None:
    """Write a file with one tensor, `a`."""
    text = json.dumps({"a": {"dtype": "U8", "shape": [2], "data_offsets": [0, 2]}}).encode()
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(len(text).to_bytes(8, "little") + text + bytes(2))


def index(data: bytes, directory: Path) -> Path:
    """Write the bytes as the index of a directory with one shard of safetensors and one of torch.save."""
    (directory / "model.safetensors.index.json").write_bytes(data)
    _write_safetensors(directory / "shard.safetensors")
    pickled(b"\x80\x02}(" + _text("weight") + PIECES[-2] + b"u.", directory).rename(directory / "shard.bin")
    return directory


def pipeline(data: bytes, directory: Path) -> Path:
    """Write the bytes as the index of a pipeline of two models."""
    name = "modules.json" if data.lstrip().startswith(b"[") else "model_index.json"
    (directory / name).write_bytes(data)
    for part in ("unet", "0_Dense"):
        _write_safetensors(directory / part / "model.safetensors")
    return directory


def description(data: bytes, directory: Path) -> Path:
    """Write the bytes as the `config.json` beside a model."""
    (directory / "config.json").write_bytes(data)
    _write_safetensors(directory / "model.safetensors")
    return directory


def metadata(data: bytes, directory: Path) -> Path:
    """Write the bytes as the `.metadata` of a distributed checkpoint."""
    (directory / ".metadata").write_bytes(data)
    return directory


TARGETS: dict[str, Callable[[bytes, Path], Path]] = {
    "whole": whole,
    "pickled": pickled,
    "built": built,
    "header": header,
    "index": index,
    "pipeline": pipeline,
    "description": description,
    "metadata": metadata,
}


def config_yaml(data: bytes, directory: Path) -> Path:
    """Write the bytes as a config in YAML."""
    path = directory / "model.freeze.yaml"
    path.write_bytes(data)
    return path


def config_json(data: bytes, directory: Path) -> Path:
    """Write the bytes as a config in JSON."""
    path = directory / "model.freeze.json"
    path.write_bytes(data)
    return path


def pattern(data: bytes, directory: Path) -> Path:
    """Write the bytes as a pattern in the first line, and the names of tensors in the others."""
    path = directory / "pattern.txt"
    path.write_bytes(data)
    return path


def _open_config(path: Path) -> None:
    """Read a config; what is read must be the same after it is written and read again."""
    config = FreezeConfig.load(path)
    again = path.with_name(f"again{path.suffix}")
    config.save(again)
    assert repr(FreezeConfig.load(again)) == repr(config)


#: So many repetitions and alternatives, and so long names, do not keep a backtracking matcher busy.
_MAX_SAFE_SIGNS, _MAX_SAFE_NAME, _MAX_SAFE_TEXT = 5, 40, 200
#: Where repetitions may be nested, or repeat alternatives, the time doubles with every character.
_MAX_NESTED_NAME = 12
#: Less than a config may take, so that the fuzzer gets on.
_MAX_REGEX_SECONDS = 0.1


def _open_pattern(path: Path) -> None:
    """Match a pattern, and compare with the first implementation and with `re` where these end in time."""
    text, *lines = path.read_bytes().decode("utf-8", "replace").split("\n")
    names = list(dict.fromkeys(lines))[:50]
    tree = ParamTree([TensorInfo(name, (1,), "float32", "parameter") for name in names])
    spans = Pattern(text, Budget(_MAX_REGEX_SECONDS)).spans(tree)
    got = {tree.tensors[i].name for start, stop in spans for i in range(start, stop)}
    nested = "|" in text or sum(map(text.count, "*+?{")) > 1
    safe = sum(map(text.count, "*+?{|(")) <= _MAX_SAFE_SIGNS and max(map(len, names), default=0) <= (
        _MAX_NESTED_NAME if nested else _MAX_SAFE_NAME
    )
    safe = safe and len(text) <= _MAX_SAFE_TEXT
    if safe and text.isascii() and "".join(names).isascii() and not ("\\." in text and "**" in text):
        assert got == {name for name in names if Backtracking(text).matches(name)}
    matched(text, tree, Budget(_MAX_REGEX_SECONDS))


#: What is opened by something else than `open_checkpoint`.
OPENED: dict[str, Callable[[Path], None]] = {
    "config_yaml": _open_config,
    "config_json": _open_config,
    "pattern": _open_pattern,
}
TARGETS |= {"config_yaml": config_yaml, "config_json": config_json, "pattern": pattern}

#: Real files that take long to make lie in the corpus under this name.
SEED_FILES = "seed-*"


def attempt(target: str, data: bytes) -> str:
    """Open what the target makes of the bytes; why it was refused, or "" where it was opened.

    Raises:
        AssertionError: it took too long, or the error is not one clear line.
    """
    started = time.process_time()
    with tempfile.TemporaryDirectory(dir=_memory()) as directory:
        path = TARGETS[target](data, Path(directory))
        refusal = ""
        try:
            checkpoint = OPENED[target](path) if target in OPENED else open_checkpoint(path)
        except (CheckpointError, ConfigError, PatternError) as error:
            refusal = str(error)
            assert refusal.isprintable(), ascii(refusal)
            assert error.hint
            assert len(refusal) < MOST_SAID
        else:
            for tensor in checkpoint.tensors if checkpoint else ():
                assert tensor.elements >= 0
                assert tensor.bytes >= 0
                assert isinstance(tensor.name, str)
                _ = tensor.untrainable_reason
            assert "".join(checkpoint.warnings if checkpoint else ()).isprintable()
    assert time.process_time() - started < MOST_SECONDS
    return refusal


CONFIG = """freezetui: 1
model:
  checkpoint: vgg16.pth  # the first
  architecture: torchvision:vgg16
  arguments: {num_classes: 1000}
  input: [3, 224, 224]
default: train
rules:
  - freeze: features
  - train: "features.{24..28}"
norm_statistics: freeze
expect:
  frozen: {tensors: 20, elements: 7635264}
  trainable: {tensors: 12, elements: 130722280}
stages:
  - {name: classifier, epochs: 5}
  - name: everything
    rules:
      - train: "**"
    lr_scale: 0.1
"""
CONFIG_JSON = """{"freezetui": 1, "model": {"checkpoint": "a.pth", "arguments": {"n": [1, null, true, 0.5]}},
 "default": "freeze", "rules": [{"train": "a.*"}, {"freeze": "re:.*\\\\.b"}], "stages": [{"name": "s"}]}"""
NAMES = (
    "layers.0.weight\nlayers.0.bias\nlayers.10.q_proj.weight\nlayers.11.k_proj.weight\nhead.weight\na\nb.c"
)
PATTERNS = (
    "layers.{0..10}.*", "**.{q,k}_proj", "{layers.0,head}.weight", "re:layers\\.[0-9]+\\..*", "a",
    "re:(?:a|layers)\\b.*", "**.bias", "\\*{a,b*}**", "b*.c",
)  # fmt: skip


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
        b'{"metadata": {"total_size": 2}, "weight_map": {"a": "shard.safetensors", "b": "other.safetensors",'
        b' "weight": "shard.bin"}}'
    )
    found["pipeline"] = [
        b'{"_class_name": "P", "unet": ["diffusers", "U"], "vae": [null, null], "x": true}',
        b'[{"idx": 0, "path": "0_Dense"}, {"path": ""}, {"path": "1_Pooling"}]',
    ]
    found["description"] = [
        b'{"architectures": ["LlamaForCausalLM"], "vocab_size": 32000}',
        b'{"architecture": "resnet18.a1_in1k", "num_classes": 1000, "_class_name": "UNet2DConditionModel"}',
    ]
    found["config_yaml"] = [CONFIG.encode()]
    found["config_json"] = [CONFIG_JSON.encode()]
    found["pattern"] = [f"{text}\n{NAMES}".encode() for text in PATTERNS]
    for target in TARGETS:
        files = sorted((Path(__file__).parent / "corpus" / target).glob(SEED_FILES))
        found[target] += [file.read_bytes() for file in files]
    return found


def _memory() -> str | None:
    """Return a directory in memory, if there is one."""
    return "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
