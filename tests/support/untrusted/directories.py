"""Directories: pieces of torch.distributed.checkpoint, shards and their index, pipelines, a config.json."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping

from support.untrusted.inputs import (
    FIFO,
    Input,
    Opens,
    Refused,
    Shapes,
    drawn_shapes,
    incomplete,
    would_import,
)
from support.untrusted.writers import Call, Global, dcp, entries, model_safetensors, safetensors, torch_file

_INDEX, _SINGLE = "model.safetensors.index.json", "model.safetensors"
_DIGITS = "9" * 5_000
#: Names of shards that are not in the index's directory.
ELSEWHERE = (
    *("../s1.safetensors", "/etc/passwd", "a/../../s1.safetensors", "C:\\s1", "..\\s1"),
    *("s1\0", "", "a//b", "\x1b[31m/.."),
)


def pieces(trace: str) -> Iterator[Input]:
    """torch.distributed.checkpoint."""
    join = ()
    for protocol in (2, 3, 4, 5):
        shapes = drawn_shapes(("dcp", protocol))
        yield Input(f"dcp protocol {protocol}", dcp(shapes, protocol), Opens(shapes, join), ".")
    shapes = {"a": (3,), "b": (4, 5)}
    good = dcp(shapes)
    only = {".metadata": good[".metadata"]}
    yield Input("dcp without its pieces", only, incomplete(shapes, "a", "b"), ".")
    short = {**good, "__0_0.distcp": good["__0_0.distcp"][:-1]}
    yield Input("dcp with a short file", short, incomplete(shapes, "b"), ".")
    yield Input("dcp with an empty file", {**good, "__0_0.distcp": b""}, incomplete(shapes, "a", "b"), ".")
    device = {**only, "__0_0.distcp": "/dev/zero"}
    yield Input("dcp with a device for a file", device, incomplete(shapes, "a", "b"), ".")
    large = {".metadata": dcp({"a": (3_000,)})[".metadata"], "__0_0.distcp": bytes(200)}
    yield Input("dcp with a tensor larger than its piece", large, incomplete({"a": (3_000,)}, "a"), ".")
    for number, called in enumerate(
        (Global("os", "system"), Global("pathlib", "os.system"), Global("posix", "system"))
    ):
        planted = dcp(shapes, 4, planted=Call(called, (trace,)))
        outcome = would_import(shapes, f"{called.module}.{called.name}")
        yield Input(f"dcp that would run {number}", planted, Opens(shapes, outcome.warnings), ".")
    for part in (1, 4, 7, 9):
        cut = {**good, ".metadata": good[".metadata"][: len(good[".metadata"]) * part // 10]}
        yield Input(f"dcp metadata cut at {part}0 percent", cut, Refused(r"\.metadata "), ".")
    yield Input("dcp with a FIFO for metadata", {".metadata": FIFO}, Refused("is not a regular file"), ".")


def _shards(
    where: Mapping[str, str], held: Mapping[str, Shapes], front: bytes = b""
) -> dict[str, bytes | str]:
    files: dict[str, bytes | str] = {name: model_safetensors(shapes) for name, shapes in held.items()}
    return {_INDEX: front + json.dumps({"weight_map": where}).encode(), **files}


def shards() -> Iterator[Input]:
    """Shards and their index."""
    first, second = {"a.weight": (2, 3), "b": (1,)}, {"c.weight": (4,)}
    whole = {**first, **second}
    where = {**dict.fromkeys(first, "s1.safetensors"), **dict.fromkeys(second, "s2.safetensors")}
    held = {"s1.safetensors": first, "s2.safetensors": second}
    for opened in (".", _INDEX):
        yield Input(f"shards by {opened}", _shards(where, held), Opens(whole), opened)
    yield Input("an index with a BOM", _shards(where, held, b"\xef\xbb\xbf"), Opens(whole), ".")
    one = _shards(where, {"s1.safetensors": first})
    yield Input("a missing shard", one, Opens(first, (r"^missing: s2\.safetensors, with 1 tensor",)), ".")
    both = {"s1.safetensors": first, "s2.safetensors": {**second, "b": (7,)}}
    told = ("in several shards, read from the one that the index names: b$",)
    yield Input("a name in two shards", _shards(where, both), Opens(whole, told), ".")
    extra = {**where, "nowhere": "s2.safetensors"}
    told = (r"^the index lists 1 tensor that no shard contains: nowhere$",)
    yield Input("a name in no shard", _shards(extra, held), Opens(whole, told), ".")
    numbered = {
        f"model-0000{n}-of-00002.safetensors": model_safetensors(s) for n, s in ((1, first), (2, second))
    }
    yield Input("shards without an index", numbered, Opens(whole), ".")
    for name in ELSEWHERE:
        files = {"in/" + k: v for k, v in _shards({**where, "x": name}, held).items()}
        refused = Refused(r"names a shard outside its ")
        yield Input(
            f"an index that leads to {name!r}",
            {**files, "s1.safetensors": model_safetensors({"x": (1,)})},
            refused,
            "in",
        )
    for what, text in {
        "5,000 digits": f'{{"weight_map": {{"a": {_DIGITS}}}}}',
        "NaN": '{"weight_map": {"a": NaN}}',
        "a list": '{"weight_map": ["a"]}',
        "a number": '{"weight_map": {"a": 1}}',
        "null": '{"weight_map": null}',
        "nothing": "{}",
        "deep": '{"weight_map": ' + '{"a":' * 100_000,
        "cut": '{"weight_map": {"a": "s1',
        "half a character": '{"weight_map": {"\\ud800": "\\ud800"}}',
        "names of 5,000": '{"weight_map": {"a": "%s"}}' % ("s" * 5_000),
    }.items():
        files = {**_shards(where, held), _INDEX: text.encode("utf-8", "surrogatepass")}
        yield Input(f"an index of {what}", files, Refused(r"index\.json "), ".")
    digits = f'{{"size": {_DIGITS}, "weight_map": {json.dumps(where)}}}'.encode()
    yield Input(
        "an index with 5,000 digits beside", {**_shards(where, held), _INDEX: digits}, Opens(whole), "."
    )
    for what, special in (("a device", "/dev/zero"), ("a FIFO", FIFO)):
        yield Input(
            f"an index that is {what}",
            {**_shards(where, held), _INDEX: special},
            Refused("is not a regular file"),
            ".",
        )
        files = {**_shards(where, held), "s2.safetensors": special}
        yield Input(f"a shard that is {what}", files, Refused("is not a regular file"), ".")
    corrupt = {**_shards(where, held), "s2.safetensors": b"\x10\0\0\0\0\0\0\0{"}
    yield Input("a corrupt shard", corrupt, Refused(r"s2\.safetensors "), ".")
    bins = {
        "pytorch_model.bin.index.json": json.dumps({"weight_map": dict.fromkeys(first, "p.bin")}).encode(),
        "p.bin": torch_file(first),
    }
    yield Input("shards that are pickles", bins, Opens(first), ".")


def pipelines() -> Iterator[Input]:
    """Directories of several models."""
    unet, vae = {"conv.weight": (2, 2)}, {"conv.weight": (3,)}
    files = {
        "unet/diffusion_pytorch_model.safetensors": model_safetensors(unet),
        "vae/model.safetensors": model_safetensors(vae),
    }
    whole = {"unet.conv.weight": (2, 2), "vae.conv.weight": (3,)}
    index = {
        "_class_name": "P",
        "unet": ["diffusers", "U"],
        "vae": ["diffusers", "V"],
        "scheduler": ["a", "b"],
    }
    named = {**files, "model_index.json": json.dumps(index).encode()}
    yield Input("a pipeline", named, Opens(whole), ".")
    yield Input(
        "a pipeline with a BOM",
        {**named, "model_index.json": b"\xef\xbb\xbf" + named["model_index.json"]},
        Opens(whole),
        ".",
    )
    modules = {
        "0_Transformer/model.safetensors": model_safetensors(unet),
        "modules.json": b'[{"path": "0_Transformer"}, {"path": "1_Pooling"}]',
    }
    yield Input("sentence-transformers", modules, Opens({"0_Transformer.conv.weight": (2, 2)}), ".")
    for what, text in {
        "5,000 digits": f'{{"unet": {_DIGITS}}}',
        "NaN": '{"unet": NaN}',
        "deep": "[" * 100_000,
        "a number": "3",
        "paths elsewhere": '{"../unet": ["a"], "/etc": ["a"], "..": ["a"], ".": ["a"]}',
        "1e400": '{"a": 1e400}',
        "paths that are none": '[{"path": 3}, {"path": null}, {"path": "../unet"}, {"path": ["a"]}, 7]',
        "nothing": "",
    }.items():
        name = "modules.json" if text.startswith("[{") else "model_index.json"
        yield Input(
            f"a pipeline's index of {what}",
            {f"in/{k}": v for k, v in {**files, name: text.encode()}.items()},
            Refused("contains no checkpoint|is empty"),
            "in",
        )
    yield Input(
        "a pipeline's index that is a FIFO",
        {**files, "model_index.json": FIFO},
        Refused("is not a regular file"),
        ".",
    )
    broken = {**named, "unet/diffusion_pytorch_model.safetensors": safetensors(entries(unet), 3)}
    yield Input("a pipeline with a corrupt part", broken, Refused("unet"), ".")


def config_json() -> Iterator[Input]:
    """Yield a `config.json` beside a model: it is used where it can be, and never refuses the model."""
    shapes = {"a.weight": (2, 3)}
    for what, content in {
        "5,000 digits": b'{"num_classes": ' + _DIGITS.encode() + b"}",
        "NaN": b'{"a": NaN}',
        "1e400": b'{"a": 1e400}',
        "deep": b"[" * 100_000,
        "no text": b"\xff\xfe\0",
        "a list": b"[]",
        "a device": "/dev/zero",
        "a FIFO": FIFO,
        "a path": b'{"architectures": ["os.system"], "architecture": "../x", "_class_name": "a b"}',
        "escapes": b'{"architectures": ["\\u001b[31m"]}',
        "a long name": b'{"architectures": ["' + b"A" * 5_000 + b'"]}',
    }.items():
        files = {_SINGLE: model_safetensors(shapes), "config.json": content}
        yield Input(f"a config.json of {what}", files, Opens(shapes), ".")
