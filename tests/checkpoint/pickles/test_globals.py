"""What torch.load would import is told, and what is known from attacks is marked."""

from __future__ import annotations

import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest
import torch
from torch import _weights_only_unpickler, nn

from freezetui.checkpoint.open import open_checkpoint
from freezetui.checkpoint.pickles import known_globals
from freezetui.checkpoint.pickles.globals import danger, is_dangerous, is_foreign, marked
from freezetui.checkpoint.pickles.known_globals import parsed
from freezetui.checkpoint.pickles.opaque import Opaque, opaque_class
from freezetui.checkpoint.pickles.torch_globals import TORCH_GLOBALS
from freezetui.checkpoint.pickles.unpickle import read_pickle

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
    "torch.os.system",
    "torch.serialization.os.system",
    "pathlib.os.system",
    "my_project.models.os.system",
    "collections.OrderedDict.__class__",
    "numpy.__builtins__",
    "numpy.core.__builtins__.eval",
    "torch.storage._load_from_bytes",
    "torch.ops.load_library",
    "torch.hub.download_url_to_file",
    "torch.utils.model_zoo.load_url",
    "torch.utils._pytree.tree_map",
    "torch.utils._pytree.importlib.import_module",
    "torch.fx.graph_module._forward_from_src",
    "torch.fx.graph_module.reduce_graph_module",
    "pydoc.pipepager",
    "uuid._get_command_stdout",
    "types.FunctionType",
    "pathlib.Path.unlink",
    "numpy.ctypeslib.load_library",
]
HARMLESS = [
    "argparse.Namespace",
    "collections.OrderedDict",
    "torch._utils._rebuild_tensor_v2",
    "torch.nn.modules.linear.Linear",
    "builtins.set",
    "__builtin__.set",
    "pathlib.PosixPath",
    "uuid.UUID",
    "types.SimpleNamespace",
    "datetime.datetime",
    "fractions.Fraction",
    "decimal.Decimal",
    "numpy.core.multiarray.scalar",
    "numpy._core.multiarray._reconstruct",
    "numpy.random._pickle.__randomstate_ctor",
    "omegaconf.dictconfig.DictConfig",
    "torch.float8_e4m3fn",
    "torch._C._nn.gelu",
    "torch.optim.adamw.AdamW",
]
#: Of these nothing is known, however familiar their beginnings are.
UNKNOWN = [
    "torch.loadable",
    "torch.nn.modules.linear.Linear.forward",
    "torch.nn.modules.module.warnings.warn",
    "osmnx.graph",
    "my_project.models.Net",
    "my_project.trace.Net",
    "my_project.types.Config",
    "datetime.sys2",
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
    module, _, attribute = name.rpartition(".")
    assert not is_dangerous(name)
    assert not is_foreign(module, attribute)
    assert danger((name,)) == ""


@pytest.mark.parametrize("name", UNKNOWN)
def test_all_else_is_told(name: str) -> None:
    module, _, attribute = name.rpartition(".")
    assert not is_dangerous(name)
    assert is_foreign(module, attribute)


def test_what_weights_only_allows_is_harmless() -> None:
    allowed = [name.rpartition(".") for name in _weights_only_unpickler._get_allowed_globals()]
    assert len(allowed) > 100
    assert not [name for module, _, name in allowed if is_foreign(module, name)]


def test_no_harmless_name_is_known_from_attacks() -> None:
    """Each list would hide the other."""
    names = {*parsed(known_globals.DATA), *parsed(TORCH_GLOBALS)}
    bad = {*parsed(known_globals.BAD_NAMES)}
    assert not names & bad
    assert not [name for name in names if any(name.startswith(f"{each}.") for each in bad)]


PICKLES = {
    "GLOBAL": b"\x80\x02cos\nsystem\n.",
    "STACK_GLOBAL": b"\x80\x04\x8c\x02os\x8c\x06system\x93.",
    "INST": b"(ios\nsystem\n.",
    "a dotted name": b"\x80\x04\x8c\x02os\x8c\x0csystem.thing\x93.",
    "behind torch": b"\x80\x04\x8c\x05torch\x8c\x09os.system\x93.",
    "behind torch's module": b"\x80\x04\x8c\x05torch\x8c\x17serialization.os.system\x93.",
    "behind many others": b"\x80\x02"
    + b"".join(b"cmany\nHarmless%d\n0" % number for number in range(120))
    + b"cos\nsystem\n.",
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
    assert "os.system" in checkpoint.foreign[0]
    assert "os.system" in checkpoint.warnings[0].partition("would import ")[2]
    assert len(checkpoint.foreign) <= 101


def test_what_a_pickle_calls_is_told_from_what_it_only_names(write: Callable[..., Path]) -> None:
    """An instance of a class is made without a call; an enum's member, and any function, with one."""
    module = sys.modules["gone_things"] = ModuleType("gone_things")
    exec("import enum\nclass Config: pass\nclass Mode(enum.Enum):\n    FAST = 1", module.__dict__)
    try:
        path = write({"model": {"a": torch.ones(2)}, "config": module.Config(), "mode": module.Mode.FAST})
    finally:
        del sys.modules["gone_things"]
    checkpoint = open_checkpoint(path)
    assert set(checkpoint.foreign) == {"gone_things.Config", "gone_things.Mode"}
    assert len(checkpoint.warnings) == 1
    assert "torch.load would run gone_things.Mode, with" in checkpoint.warnings[0]


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


def test_what_one_file_calls_is_not_called_in_the_next():
    Opaque()
    called, named = opaque_class("a", "f"), opaque_class("b", "C")
    called()
    assert (called.called, named.called, opaque_class("a", "f").called) == (True, False, False)


@pytest.mark.parametrize(
    "name",
    ["torch.fx.graph_module reduce_graph_module", "torch._dynamo.eval_frame OptimizedModule",
     "torch.storage _load_from_bytes"],
)  # fmt: skip
def test_what_one_file_calls_of_torchs_own_is_not_called_in_the_next(name: str) -> None:
    """The stubs of these functions are shared by all files."""
    named = b"\x80\x02c" + name.replace(" ", "\n").encode() + b"\n"
    called = [read_pickle(named + call + b".", "x").called for call in (b"(tR", b"")]
    assert called == [(name.replace(" ", "."),), ()]
