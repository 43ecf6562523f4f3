"""Finds the module of the file behind each live module: the one that holds exactly its tensors."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from freezetui.freeze.name_map import NameMap


def file_modules(names: NameMap, files: Sequence[str], paths: Sequence[str]) -> dict[str, str]:
    """Return live module path -> module path of the file, for modules with the same tensors.

    Of several modules with the same tensors, nested or tied, the one with the same path is taken, else one
    with the same name, else they are paired from the inside.

    Args:
        names: the map of the file and the live model.
        files: the names in the file.
        paths: of the live modules, those around others before them.
    """
    number = {name: i for i, name in enumerate(files)}
    by_tensors: dict[frozenset[int], list[str]] = {}
    stored = _contents((name, (i,)) for name, i in number.items())
    for path, inside in stored.items():
        by_tensors.setdefault(frozenset(inside), []).append(path)
    live = _contents(
        (tensor.name, tuple(number[file] for file in tensor.files if file in number)) for tensor in names.live
    )
    found = {path: path for path in paths if path in by_tensors.get(frozenset(live.get(path, ())), ())}
    taken = set(found)
    for path in reversed(paths):
        inside = live.get(path, set())
        alike = by_tensors.get(frozenset(inside), []) if inside and path not in found else []
        free = [candidate for candidate in alike if candidate not in taken]
        last = path.rpartition(".")[2]
        same = [c for c in free if c.rpartition(".")[2] == last] or free
        if same:
            found[path] = same[0]
            taken.add(same[0])
    for path in paths:  # where a tensor is tied to one elsewhere, both have more or fewer than the file says
        if (
            path not in found
            and path not in taken
            and not stored.get(path, set()).isdisjoint(live.get(path, ()))
        ):
            found[path] = path
    return found


def _contents(tensors: Iterable[tuple[str, tuple[int, ...]]]) -> dict[str, set[int]]:
    """Return module path -> the numbers of all tensors below it."""
    inside: dict[str, set[int]] = {}
    for name, numbers in tensors:
        path = name.rpartition(".")[0]
        while True:
            inside.setdefault(path, set()).update(numbers)
            if not path:
                break
            path = path.rpartition(".")[0]
    return inside
