"""`--python`: the check and the describer under an interpreter that does not have freezetui."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
import venv
from pathlib import Path

import pytest
import torch
from torch import nn

from freezetui import bootstrap
from freezetui.config.schema import ConfigData
from freezetui.description.client import Describer
from freezetui.errors import EngineError, FreezeTuiError
from freezetui.freeze.rules import Rule
from freezetui.model_spec import ModelSpec
from freezetui.sanity.client import run_check
from freezetui.sanity.protocol import CheckRequest
from support.describing import described

ROOT = Path(__file__).resolve().parents[2]
VGG = ROOT / "sample_ckpts" / "vgg_digits.pth"
#: What freezetui may import in another environment must not include these.
OURS = {
    *("textual", "rich", "click", "ruamel", "ruamel.yaml", "xxhash", "regex"),
    *("hypothesis", "pytest", "_pytest", "importlinter"),
}


def environment(folder: Path, without: set[str]) -> str:
    """Return the Python of an environment with what this one has, without freezetui and those packages."""
    venv.create(folder, with_pip=False, symlinks=True)
    python = folder / "bin" / "python"
    there = subprocess.check_output(
        [python, "-c", "import site; print(site.getsitepackages()[0])"], text=True
    )
    for entry in Path(torch.__file__).resolve().parents[1].iterdir():
        name = entry.name.partition("-")[0].partition(".")[0]
        if "freezetui" not in entry.name and name not in without and entry.suffix != ".pth":
            (Path(there.strip()) / entry.name).symlink_to(entry)
    return str(python)


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> str:
    return environment(tmp_path_factory.mktemp("training") / "env", OURS)


@pytest.fixture(autouse=True)
def _no_pythonpath(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PYTHONPATH", raising=False)


MODEL = """
    from torch import nn

    def build():
        for name in ("xxhash", "textual", "ruamel"):
            try:
                __import__(name)
            except ImportError:
                continue
            raise RuntimeError(f"{name} came from another environment")
        import only_here
        assert only_here.VALUE == 7
        return nn.Linear(4, 3)
"""


def test_the_check_runs_there_with_its_packages_only(python: str, tmp_path: Path) -> None:
    site = subprocess.check_output([python, "-c", "import site; print(site.getsitepackages()[0])"], text=True)
    (Path(site.strip()) / "only_here.py").write_text("VALUE = 7\n")
    torch.save(nn.Linear(4, 3).state_dict(), tmp_path / "linear.pth")
    (tmp_path / "model.py").write_text(textwrap.dedent(MODEL))
    request = CheckRequest(
        checkpoint=str(tmp_path / "linear.pth"),
        model=ModelSpec(f"{tmp_path / 'model.py'}:build", input=(4,)),
        config=ConfigData(rules=(Rule("freeze", "bias"),)),
        device="cpu",
        steps=2,
    )
    report = run_check(request, python=python, timeout=200)
    assert (report.verdict, report.forward, report.frozen.held) == ("held", True, 1)
    with pytest.raises(EngineError, match="xxhash came from another environment"):
        run_check(request, timeout=200)


def test_the_describer_runs_there(python: str) -> None:
    describer = Describer(python)
    try:
        assert described(describer, VGG).model == "VGG"
        command = Path(f"/proc/{describer.pid}/cmdline").read_bytes().split(b"\0")[0].decode()
        assert command == python
    finally:
        describer.close()


def test_what_is_missing_is_named_with_the_command(tmp_path: Path) -> None:
    bare = environment(tmp_path / "env", {*OURS, "msgspec", "torch"})
    says = rf"{bare} lacks msgspec and torch.* Run: {bare} -m pip install msgspec torch$"
    describer = Describer(bare)
    try:
        with pytest.raises(EngineError, match=says):
            described(describer, VGG)
        with pytest.raises(EngineError, match=says):
            run_check(CheckRequest(checkpoint=str(VGG)), python=bare, timeout=60)
    finally:
        describer.close()


def test_an_option_wins_over_the_variable(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert bootstrap.interpreter(None) == ""
    monkeypatch.setenv(bootstrap.VARIABLE, "/no/such/python")
    assert bootstrap.interpreter(sys.executable) == sys.executable
    with pytest.raises(FreezeTuiError, match="'/no/such/python' is not a Python interpreter"):
        bootstrap.interpreter(None)
    (tmp_path / "python").write_text("not executable")
    with pytest.raises(FreezeTuiError, match="is not a Python interpreter"):
        bootstrap.interpreter(str(tmp_path / "python"))


def test_only_what_is_for_this_python_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONHOME", "/here")
    monkeypatch.setenv("MINE", "1")
    assert bootstrap.environment("")["PYTHONHOME"] == "/here"
    other = bootstrap.environment("/there/python", MORE="2")
    assert "PYTHONHOME" not in other and (other["MINE"], other["MORE"]) == ("1", "2")


def test_a_file_in_the_working_directory_is_never_imported(tmp_path: Path) -> None:
    (tmp_path / "torch.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\n")
    (tmp_path / "json.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\n")
    command = bootstrap.command("freezetui.describer.main", arguments=["1"])
    done = subprocess.run(
        command, cwd=tmp_path, input=b"", capture_output=True, timeout=100, env={**os.environ}
    )
    assert not (tmp_path / "ran").exists() and done.stdout == b""
