"""How much memory is free, in files as the kernel writes them."""

from __future__ import annotations

from pathlib import Path

import pytest

from freezetui.description.memory import free_bytes, has_room

GIB = 2**30


@pytest.fixture
def root(tmp_path: Path) -> Path:
    put(tmp_path, "proc/meminfo", f"MemTotal: 99 kB\nMemAvailable: {8 * GIB // 1024} kB\n")
    return tmp_path


def put(root: Path, name: str, text: str) -> None:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def test_the_machine_alone(root: Path) -> None:
    assert free_bytes(root) == 8 * GIB and has_room(root)
    put(root, "proc/meminfo", f"MemAvailable: {2 * GIB // 1024} kB\n")
    assert not has_room(root)


def test_a_group_of_version_2_and_those_above(root: Path) -> None:
    put(root, "proc/self/cgroup", "0::/jobs/mine\n")
    put(root, "sys/fs/cgroup/jobs/mine/memory.max", "max\n")
    put(root, "sys/fs/cgroup/jobs/mine/memory.current", "5\n")
    put(root, "sys/fs/cgroup/jobs/memory.max", f"{6 * GIB}\n")
    put(root, "sys/fs/cgroup/jobs/memory.current", f"{4 * GIB}\n")
    put(root, "sys/fs/cgroup/jobs/memory.stat", f"anon 1\ninactive_file {GIB // 2}\n")
    assert free_bytes(root) == 2 * GIB + GIB // 2 and not has_room(root)


def test_a_group_of_version_1_where_the_path_is_the_hosts(root: Path) -> None:
    put(root, "proc/self/cgroup", "5:cpu:/x\n4:memory:/docker/abc\n")
    put(root, "sys/fs/cgroup/memory/memory.limit_in_bytes", f"{4 * GIB}\n")
    put(root, "sys/fs/cgroup/memory/memory.usage_in_bytes", f"{GIB}\n")
    assert free_bytes(root) == 3 * GIB and has_room(root)


def test_where_the_system_does_not_say_nothing_starts_unasked(tmp_path: Path) -> None:
    assert free_bytes(tmp_path) is None and not has_room(tmp_path)
    put(tmp_path, "proc/meminfo", "nonsense\n")
    assert free_bytes(tmp_path) is None


def test_here() -> None:
    free = free_bytes()
    assert free is None or free > 0
