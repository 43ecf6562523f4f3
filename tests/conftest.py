"""What all tests share: the hypothesis profile, one thread, and files written by torch."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterable
from pathlib import Path
from types import ModuleType

import pytest
import torch
from hypothesis import settings
from safetensors.torch import save_model
from torch import Tensor, nn

from freezetui.checkpoint.open import open_checkpoint
from freezetui.checkpoint.types import Checkpoint, TensorInfo

ROOT = Path(__file__).parents[1]


settings.register_profile("freezetui", max_examples=150, deadline=None)
settings.load_profile("freezetui")


@pytest.fixture(autouse=True)
def _one_thread_and_a_seed() -> None:
    """Two cores are shared by all, and every test draws the same numbers."""
    torch.set_num_threads(1)
    torch.manual_seed(0)


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
