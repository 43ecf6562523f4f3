"""Pickles in torch's archives: honest ones, what they would run, corrupt ones, and bombs."""

from __future__ import annotations

import struct
import zipfile
from collections.abc import Iterator

from support.untrusted.inputs import Input, Opens, Refused, drawn_shapes, incomplete, would_import, would_run
from support.untrusted.writers import (
    SYSTEM,
    VERSION,
    Call,
    Global,
    New,
    Raw,
    encoded,
    legacy,
    pickled,
    state_dict,
    storages,
    tensor,
    torch_file,
    zipped,
)

#: What a stranger plants: known from attacks, each with arguments that would leave a trace.
DANGEROUS = (
    "os.system", "posix.system", "nt.popen", "subprocess.Popen", "builtins.eval", "builtins.exec",
    "builtins.getattr", "__builtin__.apply", "importlib.import_module", "runpy.run_path", "torch.hub.load",
    "torch.ops.load_library", "torch.utils.model_zoo.load_url", "torch.utils._pytree.tree_map",
    "torch.storage._load_from_bytes", "numpy.load", "pydoc.pipepager", "webbrowser.open", "shutil.rmtree",
    "socket.create_connection", "ctypes.CDLL", "pickle.loads", "functools.partial", "types.FunctionType",
)  # fmt: skip
#: (module, name) where the name has dots, which protocol 4 and later follow.
DOTTED = (
    ("torch", "os.system"), ("torch", "serialization.os.system"), ("pathlib", "os.system"),
    ("numpy", "__builtins__"), ("collections", "OrderedDict.__class__"), ("canary_module", "os.system"),
)  # fmt: skip
HARMLESS = (
    "argparse.Namespace", "collections.OrderedDict", "collections.Counter", "uuid.UUID", "datetime.datetime",
    "types.SimpleNamespace", "pathlib.PosixPath", "decimal.Decimal", "fractions.Fraction",
    "omegaconf.dictconfig.DictConfig",
)  # fmt: skip


def _global(name: str) -> Global:
    return Global(*name.rpartition(".")[::2])


def honest() -> Iterator[Input]:
    """State_dicts by every protocol, alone, beside other things, framed, in both containers."""
    for protocol in (2, 3, 4, 5):
        for framed in (False, True) if protocol >= 4 else (False,):
            shapes = drawn_shapes(("zip", protocol, framed))
            name = f"protocol {protocol}{' framed' if framed else ''}"
            yield Input(f"zip {name}", {"model.pth": torch_file(shapes, protocol, framed)}, Opens(shapes))
            data = torch_file(shapes, protocol, framed, epoch=3, lr=None, path="x" * 300)
            yield Input(f"zip {name} training", {"model.pth": data}, Opens(shapes))
        shapes = drawn_shapes(("legacy", protocol))
        data = legacy(state_dict(shapes, in_legacy=True), storages(shapes), protocol)
        yield Input(f"legacy protocol {protocol}", {"model.pth": data}, Opens(shapes))
    shapes = drawn_shapes("deflated")
    data = zipped(pickled(state_dict(shapes)), storages(shapes), zipfile.ZIP_DEFLATED)
    yield Input("zip deflated", {"model.pth": data}, Opens(shapes))


def foreign(trace: str) -> Iterator[Input]:
    """Globals, called and only named: `trace` is a command that would leave one."""
    for number, name in enumerate(DANGEROUS):
        protocol, shapes = 2 + number % 4, drawn_shapes(name)
        planted = _global(name) if number % 3 == 2 else Call(_global(name), (trace,))
        data = torch_file(shapes, protocol, number % 2 == 0, planted=planted)
        yield Input(f"global {name}", {"model.pth": data}, would_import(shapes, name))
        if number < 6:
            value = {"model": state_dict(shapes, in_legacy=True), "planted": planted}
            data = legacy(value, storages(shapes), min(protocol, 3))
            yield Input(f"legacy global {name}", {"model.pth": data}, would_import(shapes, name))
    shapes = drawn_shapes("preamble")
    good = legacy(state_dict(shapes, in_legacy=True), storages(shapes))
    for number, part in enumerate((VERSION, SYSTEM, list(storages(shapes)))):
        body = encoded(part, 2)
        planted = encoded(Call(Global("os", "system"), (trace,)), 2) + b"0"
        data = good.replace(body, planted + body, 1)
        name = f"os.system in pickle {number} of the preamble"
        yield Input(name, {"model.pth": data}, would_import(shapes, "os.system"))
    for module, name in DOTTED:
        shapes = drawn_shapes((module, name))
        data = torch_file(shapes, 4, planted=Call(Global(module, name), (trace,)))
        yield Input(
            f"dotted {module} + {name}", {"model.pth": data}, would_import(shapes, f"{module}.{name}")
        )
    for number, name in enumerate(HARMLESS):
        shapes = drawn_shapes(name)
        planted = Call(_global(name)) if number % 2 else New(_global(name), {"a": 1})
        data = torch_file(shapes, 2 + number % 4, planted=planted)
        yield Input(f"harmless {name}", {"model.pth": data}, Opens(shapes))
    for number in range(6):
        name, shapes = ("canary_module.run", "canary_module.Config")[number % 2], drawn_shapes(number)
        data = torch_file(shapes, 2 + number % 4, planted=Call(_global(name), (trace,)))
        yield Input(f"unknown call {number}", {"model.pth": data}, would_run(shapes, name))
        data = torch_file(shapes, 2 + number % 4, planted=New(_global(name), {"trace": trace}))
        yield Input(f"unknown instance {number}", {"model.pth": data}, Opens(shapes))
    shapes = drawn_shapes("behind many")
    many = [Global("canary_module", f"Harmless{number}") for number in range(120)]
    data = torch_file(shapes, 4, planted=[*many, Call(Global("os", "system"), (trace,))])
    yield Input("os.system behind 120 others", {"model.pth": data}, would_import(shapes, "os.system"))
    inst = Raw(b"(" + encoded(trace, 2) + b"ios\nsystem\n")
    yield Input(
        "os.system by INST",
        {"model.pth": torch_file(shapes, planted=inst)},
        would_import(shapes, "os.system"),
    )
    name = "torch._utils._rebuild_from_type_v2.__globals__"
    data = torch_file(shapes, 4, planted=Call(_global(name), (trace,)))
    yield Input("globals of a function", {"model.pth": data}, would_import(shapes, name))


def corrupt() -> Iterator[Input]:
    """Tensors whose bytes are not all there, and archives that end early."""
    shapes = {"a.weight": (3,), "b.weight": (4, 5), "c.weight": (2,)}
    held = storages(shapes)
    for key, left in (("1", None), ("1", 0), ("1", 79), ("0", 11), ("2", None)):
        kept = {k: v[:left] if k == key else v for k, v in held.items() if k != key or left is not None}
        name = list(shapes)[int(key)]
        data = zipped(pickled(state_dict(shapes)), kept)
        yield Input(f"storage {key} with {left} bytes", {"model.pth": data}, incomplete(shapes, name))
    both = zipped(pickled(state_dict(shapes)), {"1": held["1"]})
    yield Input("two storages missing", {"model.pth": both}, incomplete(shapes, "a.weight", "c.weight"))
    for number, (shape, offset, stride, stored) in enumerate([
        ((1024, 1024, 1024), 0, None, 4),
        ((1024, 1024, 1024), 0, None, 2**30),
        ((4,), 1, (1,), 4),
        ((2, 2), 0, (3, 1), 4),
        ((2, 2), 2**62, (2, 1), 4),
        ((2**62,), 0, (0,), 4),
    ]):  # fmt: skip
        data = zipped(pickled({"w": tensor("0", shape, offset, stride, stored)}), {"0": bytes(16)})
        outcome = Opens({"w": shape}) if stride == (0,) else incomplete({"w": shape}, "w")
        yield Input(f"a tensor beyond its storage {number}", {"model.pth": data}, outcome)
    for number, (shape, offset, stride) in enumerate([((-4,), 0, (1,)), ((4,), 0, (-1,)), ((4,), -1, (1,))]):
        data = zipped(pickled({"w": tensor("0", shape, offset, stride, 4)}), {"0": bytes(16)})
        told = "^1 tensor of an unsupported type"
        outcome = incomplete({"w": (0,)}, "w", among=(told,))
        yield Input(f"a tensor that cannot be {number}", {"model.pth": data}, outcome)
    shapes = drawn_shapes("truncated")
    whole = {
        "zip": torch_file(shapes),
        "legacy": legacy(state_dict(shapes, in_legacy=True), storages(shapes)),
    }
    for container, data in whole.items():
        for part in (1, 3, 5, 7, 9, 10):
            cut = data[: max(len(data) * part // 10 - 1, 20)]
            yield Input(f"{container} cut at {part}0 percent", {"model.pth": cut}, Refused("model.pth"))


def archives() -> Iterator[Input]:
    """Zips that mean ill, or that are something else."""
    data = pickled(state_dict({"a": (2,)}))
    good = zipped(data, {"0": bytes(8)})
    bomb = zipped(b"\x80\x02](" + b"N" * 2**25 + b"e.", {}, zipfile.ZIP_DEFLATED)
    yield Input("a packed bomb", {"model.pth": bomb}, Refused("a pickle of 33,554,438 bytes"))
    encrypted = bytearray(good)
    for sign, at in ((b"PK\3\4", 6), (b"PK\1\2", 8)):
        start = -1
        while (start := encrypted.find(sign, start + 1)) >= 0:
            encrypted[start + at] |= 1
    yield Input("encrypted", {"model.pth": bytes(encrypted)}, Refused("is an encrypted zip"))
    renamed = zipped(data, {"0": bytes(8)}).replace(b"x/version", b"x/verslon")
    yield Input("a member of another name", {"model.pth": renamed}, Opens({"a": (2,)}))
    yield Input(
        "a zip without a pickle",
        {"model.pth": good.replace(b"data.pkl", b"date.pkl")},
        Refused("no data.pkl"),
    )
    yield Input("an empty zip", {"model.pth": b"PK\5\6" + bytes(18)}, Refused("model.pth"))
    for what, head in {
        "gzip": b"\x1f\x8b\x08" + bytes(40), "xz": b"\xfd7zXZ\0" + bytes(40), "html": b"<!DOCTYPE html>",
        "lfs": b"version https://git-lfs.github.com/spec/v1\noid sha256:0", "zeros": bytes(5000),
        "hdf5": b"\x89HDF\r\n\x1a\n" + bytes(40), "text": b"hello\n", "nothing": b"",
    }.items():  # fmt: skip
        yield Input(f"not a checkpoint: {what}", {"model.pth": head}, Refused("model.pth"))
    yield Input("a FIFO", {"model.pth": "a FIFO"}, Refused("is not a regular file"))
    yield Input("a link to a device", {"model.pth": "/dev/zero"}, Refused("is not a regular file"))
    yield Input("a link to itself", {"model.pth": "model.pth"}, Refused("symbolic links"))
    yield Input("a missing file", {}, Refused("does not exist"))


def bombs() -> Iterator[Input]:
    """Few bytes that would take all memory or time; each is refused, or the rest is shown."""
    wide = (2**61 - 1).to_bytes(9, "little")
    for name, body in {
        "a memo index of 2**31": b"\x80\x02}r\xff\xff\xff\x7f.",
        "a memo index in text": b"\x80\x02}p999999999999\n.",
        "a string of 2**62 bytes": b"\x80\x04\x8d" + struct.pack("<Q", 2**62) + b"a.",
        "bytes of 2**40": b"\x80\x05\x96" + struct.pack("<Q", 2**40) + b"a.",
        "a frame of 2**60": b"\x80\x04\x95" + struct.pack("<Q", 2**60) + b"}.",
        "an integer of 2**31 bytes": b"\x80\x02\x8b" + struct.pack("<i", 2**31 - 1) + b"a.",
        "an integer of 5,000 digits in text": b"\x80\x02I" + b"9" * 5000 + b"\n.",
        "lists 100,000 deep": b"\x80\x02" + b"]" * 100_000 + b"a" * 99_999 + b".",
        "tuples 100,000 deep": b"\x80\x02)" + b"\x85" * 100_000 + b".",
        "doubling": b"\x80\x02]q\x00" + b"(h\x00h\x00lq\x00" * 60 + b".",
        "a protocol of 200": b"\x80\xc8}.",
        "no stop": b"\x80\x02}",
        "an empty stack": b"\x80\x02.",
        "marks alone": b"\x80\x02" + b"(" * 1000 + b".",
        "an unknown opcode": b"\x80\x02\xff.",
        "extension registry": b"\x80\x02\x82\x01.",
        "integers that collide": b"\x80\x02}(" + (b"\x8a\x09" + wide + b"N") * 20_000 + b"u.",
        "1,100,000 empty sets": b"\x80\x04](" + b"\x8f" * 1_100_000 + b"e.",
        "an empty dict": b"\x80\x02}.",
        "a number": b"\x80\x02K\x07.",
    }.items():
        said = Refused(r"model\.pth ")
        yield Input(f"bomb: {name}", {"model.pth": zipped(body, {})}, said)
        if len(body) < 1000:
            magic = legacy({}, {})
            at = magic.index(pickled({}))
            data = magic[:at] + body + magic[at + len(pickled({})) :]
            yield Input(f"legacy bomb: {name}", {"model.pth": data}, Refused(r"model\.pth"))
    shapes = {"a": (2,)}
    looped = Raw(b")q\x00" + b"0(h\x00h\x00tq\x00" * 60)
    data = torch_file(shapes, planted=looped)
    yield Input("a tuple that hashes for ever, as a value", {"model.pth": data}, Opens(shapes))
    data = torch_file(shapes, planted=Raw(b"}" + looped + b"K\x01s"))
    yield Input("a tuple that hashes for ever, as a key", {"model.pth": data}, Opens(shapes))
