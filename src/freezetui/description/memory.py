"""How much memory is free: the smaller of the machine's and the control group's."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

#: What must be free for the describer to start on its own.
MIN_FREE_BYTES = 3 * 2**30
_ROOT = Path("/")


def has_room(root: Path = _ROOT) -> bool:
    """Whether enough memory is free to start the describer unasked; False if that is not known."""
    free = free_bytes(root)
    return free is not None and free >= MIN_FREE_BYTES


def free_bytes(root: Path = _ROOT) -> int | None:
    """Return how many bytes a new process can take without swapping; None if the system does not say.

    Args:
        root: below which `proc` and `sys` are.
    """
    try:
        lines = (root / "proc/meminfo").read_text("ascii", "replace").splitlines()
    except OSError:
        return None
    fields = dict(line.split(":", 1) for line in lines if ":" in line)
    try:
        machine = int(fields["MemAvailable"].split()[0]) * 1024
    except (KeyError, ValueError, IndexError):
        return None
    return max(0, min([machine, *_left_in_groups(root)]))


def _left_in_groups(root: Path) -> Iterator[int]:
    """Yield what each control group above this process leaves free; version 2 and version 1."""
    for version, directory in _groups(root):
        names = ("memory.max", "memory.current", "inactive_file")
        if version == 1:
            names = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
        limit, used = _number(directory / names[0]), _number(directory / names[1])
        if limit is not None and used is not None:
            yield limit - used + _cache(directory / "memory.stat", names[2])


def _groups(root: Path) -> Iterator[tuple[int, Path]]:
    """Yield the control groups of this process, each with those above it, and their version."""
    try:
        lines = (root / "proc/self/cgroup").read_text("utf-8", "replace").splitlines()
    except OSError:
        lines = []
    for line in lines:
        number, controllers, path = [*line.split(":", 2), "", ""][:3]
        if number == "0" and not controllers:
            version, mount = 2, root / "sys/fs/cgroup"
        elif "memory" in controllers.split(","):
            version, mount = 1, root / "sys/fs/cgroup/memory"
        else:
            continue
        parts = [part for part in path.split("/") if part not in ("", "..")]
        # In a container the path may be the host's, while the mount is the container's own group.
        for depth in range(len(parts), -1, -1):
            yield version, mount.joinpath(*parts[:depth])


def _number(path: Path) -> int | None:
    """Return the number in a file; None without one, as for the limit "max"."""
    try:
        return int(path.read_text("ascii", "replace"))
    except (OSError, ValueError):
        return None


def _cache(path: Path, name: str) -> int:
    """Return the bytes of files' pages that the kernel would drop first."""
    try:
        lines = path.read_text("ascii", "replace").splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith(f"{name} ")), 0)
