"""What torch.load would import is told, and what is known from attacks is marked."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest
import torch
from torch import nn

from freezetui.checkpoint.open import open_checkpoint
from freezetui.checkpoint.pickles.globals import danger, is_dangerous, is_foreign, marked

BAD = [
    "os.system",
    "posix.system",
    "nt.popen",
    "subprocess.Popen",
    "builtins.eval",
    "__builtin__.eval",
    "builtins.getattr",
    "importlib.import_module",
    "runpy.run_path",
    "torch.hub.load",
    "torch.load",
    "torch.serialization.load",
    "torch.utils.cpp_extension.load",
    "torch.jit.unsupported_tensor_ops.execWithPrefix",
    "numpy.load",
    "numpy.testing._private.utils.runstring",
    "pickle.loads",
    "operator.attrgetter",
    "functools.partial",
    "webbrowser.open",
    "commands.getoutput",
]
HARMLESS = [
    "argparse.Namespace",
    "collections.OrderedDict",
    "torch._utils._rebuild_tensor_v2",
    "torch.nn.modules.linear.Linear",
    "torch.loadable",
    "osmnx.graph",
    "builtins.set",
    "pathlib.PosixPath",
    "my_project.models.Net",
]


@pytest.mark.parametrize("name", BAD)
def test_known_bad(name: str) -> None:
    module, _, attribute = name.rpartition(".")
    assert is_dangerous(name)
    assert is_foreign(module, attribute)
    assert name in danger((name,))
    assert marked(("a.b", name)) == [f"{name} (DANGEROUS)", "a.b"]


@pytest.mark.parametrize("name", HARMLESS)
def test_harmless(name: str) -> None:
    assert not is_dangerous(name)
    assert danger((name,)) == ""


PICKLES = {
    "GLOBAL": b"\x80\x02cos\nsystem\n.",
    "STACK_GLOBAL": b"\x80\x04\x8c\x02os\x8c\x06system\x93.",
    "INST": b"(ios\nsystem\n.",
    "a dotted name": b"\x80\x04\x8c\x02os\x8c\x0csystem.thing\x93.",
}


@pytest.mark.parametrize("form", PICKLES)
def test_every_opcode_that_names_one(tmp_path: Path, form: str) -> None:
    path = tmp_path / "x.pth"
    model = {"a": torch.ones(2)}
    torch.save(model, path)
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    # A dict of the state_dict and the global, put together by hand.
    pickled = members["x/data.pkl"]
    protocol, end = 2, 1
    members["x/data.pkl"] = b"\x80\x04}(X\x05\0\0\0model" + pickled[protocol:-end]
    members["x/data.pkl"] += b"X\x01\0\0\0x" + PICKLES[form].removeprefix(b"\x80\x02").removeprefix(
        b"\x80\x04"
    )
    members["x/data.pkl"] = members["x/data.pkl"][:-1] + b"u."
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    checkpoint = open_checkpoint(path)
    assert [tensor.name for tensor in checkpoint.tensors] == ["a"]
    assert checkpoint.foreign[0].startswith("os.system")
    assert "would import os.system" in checkpoint.warnings[0]


def test_what_torch_itself_saves_gives_no_warning(tmp_path: Path) -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))
    optimizer = torch.optim.AdamW(model.parameters())
    path = tmp_path / "x.pth"
    for value in (
        model.state_dict(),
        model,
        {"model": model.state_dict(), "optimizer": optimizer.state_dict()},
    ):
        torch.save(value, path)
        checkpoint = open_checkpoint(path)
        assert not checkpoint.foreign
        assert not checkpoint.warnings
