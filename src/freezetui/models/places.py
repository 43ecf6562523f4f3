"""Finds where in a live model a file's tensors belong: the whole model, or one of its modules."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator
from difflib import get_close_matches
from typing import NamedTuple

from torch import nn

from freezetui.checkpoint.state_dict.wrappers import main_prefixes
from freezetui.checkpoint.state_dict.wrappers import unwrap as unwrap_names
from freezetui.errors import ConfigError
from freezetui.freeze.name_map import NameMap
from freezetui.models.live_names import live_tensors, submodule, unwrap, wrapped
from freezetui.models.transformers_loading import is_pretrained_model
from freezetui.text import listed

#: How many names are looked up to find a place, and how many places are tried.
_MAX_SAMPLES = 60
_MAX_PLACES = 8


class Place(NamedTuple):
    """One way to match the file's names to the live ones.

    Attributes:
        module: the module that the file's tensors would belong to, without wrappers.
        root: its path by names without wrappers; "" for the whole model.
        live_prefix: the prefix of the live names there, wrappers included.
        file_prefix: the prefix that only the file's names have.
    """

    module: nn.Module
    root: str
    live_prefix: str
    file_prefix: str


def named_places(model: nn.Module, root: str, names: Collection[str]) -> list[Place]:
    """Return the ways to match the file to the module at `root`, a path without wrappers' segments.

    Raises:
        ConfigError: the model has no such module.
    """
    found = submodule(model, root)
    if found is None:
        paths = [path for path, _ in model.named_modules() if path]
        near = get_close_matches(root, paths, n=3, cutoff=0.6)
        children = listed([name for name, _ in unwrap(model)[0].named_children()])
        raise ConfigError(
            f"{type(unwrap(model)[0]).__name__} has no module {root!r}.",
            f"Closest: {', '.join(near)}." if near else f"It has {children}. Leave root out to search.",
        )
    return [Place(found[0], root, found[1], prefix) for prefix in _file_prefixes(names)]


def find_places(model: nn.Module, names: Collection[str]) -> Iterator[Place]:
    """Yield the places to try: the whole model first, then modules by how many of their names match."""
    core, prefix = unwrap(model)
    prefixes = _file_prefixes(names)
    for file_prefix in prefixes:
        yield Place(core, "", prefix, file_prefix)
    tried = 0
    for root, file_prefix in _candidates(model, core, names, prefixes):
        found = submodule(model, root)
        if found is not None and tried < _MAX_PLACES:
            tried += 1
            yield Place(found[0], root, found[1], file_prefix)


def choose(
    model: nn.Module, places: Iterable[Place], map_at: Callable[[Place], NameMap], total: int
) -> NameMap:
    """Return the map of the place where most of the file's tensors fit.

    Args:
        model: the live model.
        places: candidates, the whole model first; not empty.
        map_at: returns the map of a place.
        total: how many tensors the file has.

    Raises:
        ConfigError: the file fits equally well in several places.
    """
    maps: list[NameMap] = []
    for place in places:
        found = map_at(place)
        fits = found.placed + len(found.dropped) == total
        known = is_pretrained_model(place.module) and found.placed * 2 > total
        if found.placed and not place.root and (fits or known):
            return found
        maps.append(found)
    best = max(maps, key=lambda found: found.placed)
    rivals = [found for found in maps if found.placed == best.placed and found.inverse != best.inverse]
    if rivals and best.root and best.placed * 4 >= total:
        roots = list(dict.fromkeys(found.root for found in (best, *rivals)))
        raise ConfigError(
            f"the file fits in several places of {type(unwrap(model)[0]).__name__}: {', '.join(roots)}.",
            f"Name one: root={roots[0]!r}.",
        )
    return maps[0] if rivals else best


def _file_prefixes(names: Collection[str]) -> list[str]:
    """Return prefixes to strip from the file's names: none, wrappers, leading segments that most share."""
    return list(dict.fromkeys(["", unwrap_names(list(names)).prefix, *main_prefixes(names)]))


def _candidates(
    model: nn.Module, core: nn.Module, names: Collection[str], prefixes: list[str]
) -> list[tuple[str, str]]:
    """Return (root, file prefix) pairs, best first: models of transformers, then by matching names."""
    inside = [] if is_pretrained_model(core) else _pretrained(core)
    found = [(root, prefix) for root in inside for prefix in prefixes[:2]]
    by_end: dict[str, list[str]] = {}
    for row in live_tensors(model):
        if row.role == "base":
            by_end.setdefault(_end(row.plain), []).append(row.plain)
    votes: Counter[tuple[str, str]] = Counter()
    for name in list(names)[:: max(1, len(names) // _MAX_SAMPLES)]:
        for prefix in prefixes:
            if not name.startswith(prefix):
                continue
            short = name[len(prefix) :]
            for plain in by_end.get(_end(short), ()):
                if plain.endswith(f".{short}"):
                    votes[plain[: -len(short) - 1], prefix] += 1
    return list(dict.fromkeys([*found, *(place for place, _ in votes.most_common())]))


def _end(name: str) -> str:
    """Return the last two segments, the key to look names up by their ends."""
    return ".".join(name.split(".")[-2:]) if name.count(".") else name


def _pretrained(module: nn.Module, path: str = "") -> list[str]:
    """Return the outermost models of transformers in a module, by paths without wrappers."""
    found = []
    for key, child in module._modules.items():
        if child is None:
            continue
        inner = path if key == wrapped(module) else f"{path}.{key}".lstrip(".")
        found += [inner] if is_pretrained_model(child) else _pretrained(child, inner)
    return found
