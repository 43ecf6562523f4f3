"""Where in a live model a file's tensors live: the whole, or one module of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator
from difflib import get_close_matches
from typing import NamedTuple

from torch import nn

from freezetui.checkpoint.state_dict.wrappers import unwrap as unwrap_names
from freezetui.errors import ConfigError
from freezetui.freeze.name_map import NameMap
from freezetui.models.live_names import live_tensors, submodule, unwrap, wrapped
from freezetui.models.transformers_loading import is_pretrained_model

#: Names that are looked up to find a place, and places that are tried.
_MAX_SAMPLES = 60
_MAX_PLACES = 8


class Place(NamedTuple):
    """One way to lay the file's names over the live ones.

    Attributes:
        module: where the file's tensors would live, without wrappers.
        root: its path by names without wrappers; "" for the whole model.
        live_prefix: what the live names there begin with, wrappers included.
        file_prefix: what the file's names begin with and the live ones lack.
    """

    module: nn.Module
    root: str
    live_prefix: str
    file_prefix: str


def named_places(model: nn.Module, root: str, names: Collection[str]) -> list[Place]:
    """Return the ways to lay the file over the module at `root`, a path without wrappers' segments.

    Raises:
        ConfigError: the model has no such module.
    """
    found = submodule(model, root)
    if found is None:
        paths = [path for path, _ in model.named_modules() if path]
        near = get_close_matches(root, paths, n=3, cutoff=0.4)
        raise ConfigError(
            f"{type(unwrap(model)[0]).__name__} has no module {root!r}.",
            f"Closest: {', '.join(near)}." if near else "Leave root out to find the place.",
        )
    return [Place(found[0], root, found[1], prefix) for prefix in _file_prefixes(names)]


def find_places(model: nn.Module, names: Collection[str]) -> Iterator[Place]:
    """Yield the places to try, the whole model first, then modules by how many names end like theirs."""
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
    """Return the map of the one place where most of the file's tensors fit.

    Args:
        model: the live model.
        places: to try, the whole model first; not empty.
        map_at: makes the map of a place.
        total: how many tensors the file has.

    Raises:
        ConfigError: the file fits equally well in several places, and nowhere better.
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
    """What may have to come off the file's names: nothing, wrappers, leading segments that most share."""
    prefixes = ["", unwrap_names(list(names)).prefix]
    segments = next(iter(names), "").split(".")[:-1]
    for depth in range(1, len(segments) + 1):
        prefix = ".".join(segments[:depth]) + "."
        if sum(name.startswith(prefix) for name in names) * 5 < len(names) * 4:
            break
        prefixes.append(prefix)
    return list(dict.fromkeys(prefixes))


def _candidates(
    model: nn.Module, core: nn.Module, names: Collection[str], prefixes: list[str]
) -> list[tuple[str, str]]:
    """(root, file prefix) of modules, best first: models of transformers, then by vote of the names."""
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
    """The last two segments: enough to look a name up by how it ends."""
    return ".".join(name.split(".")[-2:]) if name.count(".") else name


def _pretrained(module: nn.Module, path: str = "") -> list[str]:
    """The outermost models of transformers in a module, by paths without wrappers."""
    found = []
    for key, child in module._modules.items():
        if child is None:
            continue
        inner = path if key == wrapped(module) else f"{path}.{key}".lstrip(".")
        found += [inner] if is_pretrained_model(child) else _pretrained(child, inner)
    return found
