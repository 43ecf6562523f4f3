"""Shared by all tests: the hypothesis profile, one thread, files written by torch, runs without torch."""

from __future__ import annotations

import gc
import importlib.util
import os
import re
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings

from freezetui.checkpoint.open import open_checkpoint
from freezetui.checkpoint.types import Checkpoint, TensorInfo

if TYPE_CHECKING:
    from torch import Tensor, nn

ROOT = Path(__file__).parents[1]
WITH_TORCH = importlib.util.find_spec("torch") is not None
#: An import at the top of a test file that brings torch.
_IMPORTS_TORCH = re.compile(
    r"^(?:from|import) (?:torch|torchvision|transformers|safetensors\.torch"
    r"|support\.(?:checkpoint_samples|describing|families|name_values|tiny_transformers)"
    r"|support import (?:.*, )?tiny_transformers|targets|freezetui\.(?:describer|engine|models|training)"
    r"|freezetui import .*Freeze(?:Config|Guard))\b",
    re.MULTILINE,
)

#: Growth of the process after which garbage is collected, and its size when that was done last.
_MAX_GARBAGE, _collected_at = 2**28, [0]
_STATM, _PAGE = Path("/proc/self/statm"), os.sysconf("SC_PAGE_SIZE")

settings.register_profile("freezetui", max_examples=60, deadline=None)
settings.register_profile("thorough", max_examples=1000, deadline=None)
#: For the gate, which must say the same twice of one commit: examples are drawn from the test's own name.
settings.register_profile("repeatable", settings.get_profile("freezetui"), derandomize=True)
settings.load_profile("freezetui")

# For the programs that tests start as well. Two cores are shared by all: torch's threads would only wait for
# each other. And without bytecode, each of them compiles freezetui at its start.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """With `-m "not torch"`, leave out files that import torch, and directories whose conftest does."""
    path = collection_path / "conftest.py" if collection_path.is_dir() else collection_path
    if "not torch" not in config.getoption("markexpr") or path.suffix != ".py" or not path.is_file():
        return None
    return True if _IMPORTS_TORCH.search(path.read_text("utf-8")) else None


@pytest.fixture(scope="session", autouse=True)
def _environment_of_this_run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Recent files, recovery files and the log of errors are not the developer's; in child processes too.

    Nor is the terminal: pictures say what tmux needs.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("TMUX", raising=False)
        patch.setenv("XDG_STATE_HOME", str(tmp_path_factory.mktemp("state")))
        yield


@pytest.fixture(autouse=True)
def _one_thread_and_a_seed() -> None:
    """Two cores are shared by all, and every test draws the same numbers."""
    if not WITH_TORCH:
        return
    import torch

    torch.set_num_threads(1)
    torch.manual_seed(0)


@pytest.fixture(autouse=True)
def _large_garbage_is_collected() -> Iterator[None]:
    """The collector counts objects and not bytes: models and graphs would stay for hundreds of tests."""
    yield
    if resident_bytes() > _collected_at[0] + _MAX_GARBAGE:
        gc.collect()
        _collected_at[0] = resident_bytes()


def resident_bytes() -> int:
    """Return how much memory this process occupies; 0 where the system does not say."""
    try:
        return int(_STATM.read_text("ascii").split()[1]) * _PAGE
    except FileNotFoundError:
        return 0


@pytest.fixture
def in_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Checks and descriptions run in this process, which has imported torch already."""
    from support.in_process import DescriberHere, EngineHere

    monkeypatch.setattr("freezetui.sanity.client.Engine", EngineHere)
    monkeypatch.setattr("freezetui.description.client.Describer", DescriberHere)


@pytest.fixture
def forked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Engines and describers are processes of their own, but forks of this one, which has imported torch."""
    from support.forked import SUBPROCESS

    monkeypatch.setattr("freezetui.sanity.client.subprocess", SUBPROCESS)
    monkeypatch.setattr("freezetui.description.client.subprocess", SUBPROCESS)


@pytest.fixture(scope="session")
def make_catalog() -> ModuleType:
    """The script that makes the shipped index."""
    spec = importlib.util.spec_from_file_location("make_catalog", ROOT / "scripts" / "make_catalog.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def save(tmp_path: Path) -> Callable[..., Checkpoint]:
    """Writes a model to a file, or a state_dict with torch.save, and opens it."""

    def write(what: nn.Module | dict[str, Tensor], name: str = "model.pth") -> Checkpoint:
        import torch
        from safetensors.torch import save_model
        from torch import nn

        path = tmp_path / name
        if isinstance(what, nn.Module) and name.endswith(".safetensors"):
            save_model(what, str(path))
        else:
            torch.save(what.state_dict() if isinstance(what, nn.Module) else what, path)
        return open_checkpoint(str(path))

    return write


@pytest.fixture(scope="session")
def infos() -> Callable[[Iterable[tuple[str, Tensor]]], list[TensorInfo]]:
    """A state_dict's items as a header tells them."""
    return lambda state: [
        TensorInfo(name, tuple(t.shape), str(t.dtype).removeprefix("torch.")) for name, t in state
    ]
