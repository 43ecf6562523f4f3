"""What the tests of what a script imports share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture
def process_group(tmp_path: Path) -> Iterator[None]:
    """One process that is a group of its own, as FSDP asks for."""
    from torch import distributed

    distributed.init_process_group("gloo", init_method=f"file://{tmp_path / 'store'}", rank=0, world_size=1)
    yield
    distributed.destroy_process_group()
