"""Builds the name map of a file and a live model, as the library's own loading would fill it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from freezetui.checkpoint.types import TensorInfo
from freezetui.errors import ConfigError
from freezetui.freeze.name_map import LiveTensor, NameMap, Origin, Reshaped
from freezetui.freeze.peft_prefixes import is_added
from freezetui.models import peft_names, timm_names, torch_names, transformers_loading
from freezetui.models.ghosts import Ghost, ghost, ghost_of
from freezetui.models.live_names import Live, live_tensors, plain_names, same_tensor
from freezetui.models.places import Place, choose, find_places, named_places
from freezetui.recognition.adapters import lacks_base

#: Name -> (shape, dtype without `torch.`).
FileTensors = Mapping[str, tuple[Sequence[int], str]]


class _Loaded(NamedTuple):
    """What the library's loading makes of the file's tensors.

    Attributes:
        made: live name without wrappers -> ghost of what is loaded there.
        taken: id of a live tensor -> the file's names that the modules' hooks put there.
        dropped, filled: patterns of names that the library ignores, or computes itself.
        route, note: see `NameMap`.
    """

    made: Mapping[str, Ghost]
    taken: Mapping[int, frozenset[str]]
    dropped: Sequence[re.Pattern[str]] = ()
    filled: Sequence[re.Pattern[str]] = ()
    route: str = "torch"
    note: str = ""


def file_tensors(tensors: Iterable[TensorInfo]) -> dict[str, tuple[tuple[int, ...], str]]:
    """Return the tensors of a checkpoint in the form that `map_names` takes."""
    return {tensor.name: (tensor.shape, tensor.dtype) for tensor in tensors}


def map_names(model: nn.Module, tensors: FileTensors, root: str = "") -> NameMap:
    """Return which tensors of a file every live parameter and buffer is made of.

    Runs the library's own loading on meta tensors that remember their names. The model's data, versions
    and flags stay unchanged.

    Args:
        model: live or on meta, with any wrappers.
        tensors: the file's.
        root: which module the file's tensors belong to, e.g. "encoder", by names without wrappers' segments;
            "" finds it.

    Raises:
        ConfigError: there is no such root, the file fits in several places and none is named, or a lazy
            parameter has no shape yet.
    """
    refuse_lazy(model)
    ghosts = {name: ghost(name, shape, _dtype(dtype)) for name, (shape, dtype) in tensors.items()}
    if root:
        places: Iterable[Place] = named_places(model, root, tensors)
    else:
        if whole := peft_names.whole_state(model, ghosts):
            return paired(model, {live: file for file, live in whole.items()})
        adapters = peft_names.adapter_files(model, ghosts)
        pairs = max(adapters.values(), key=len, default={})
        if len(pairs) * 2 > len(ghosts):
            return _adapter_map(model, ghosts, pairs)
        places = find_places(model, tensors)
    return choose(model, places, lambda place: _map_at(model, ghosts, place), len(ghosts))


def refuse_lazy(model: nn.Module) -> None:
    """Raise a ConfigError if a lazy parameter has no shape yet."""
    lazy = next((row.name for row in live_tensors(model) if is_lazy(row.tensor)), None)
    if lazy is not None:
        raise ConfigError(
            f"{lazy} is a lazy parameter without a shape.",
            "Run one forward pass before applying a config.",
        )


def paired(model: nn.Module, files: Mapping[str, str], below: Origin = "outside") -> NameMap:
    """Return the map of a file whose tensors are known to be these live tensors.

    Args:
        model: live, with any wrappers.
        files: live name, wrappers included -> the file's name; everything tied to it shares it.
        below: "base" if it is an adapter's file; all else in the model is of another file then.
    """
    rows = list(live_tensors(model))
    shapes = {row.name: row.tensor for row in rows}
    ghosts = {file: ghost_of((file,), shapes[live]) for live, file in files.items()}
    found = _Found(rows, ghosts, {}, below)
    found.inside = set() if below == "base" else {row.name for row in rows}
    for live, file in files.items():
        found.add(live, (file,))
    return found.name_map(_Loaded({}, {}))


def _dtype(name: str) -> torch.dtype:
    dtype = getattr(torch, name, None)
    return dtype if isinstance(dtype, torch.dtype) else torch.float32


def _map_at(model: nn.Module, ghosts: Mapping[str, Ghost], place: Place) -> NameMap:
    """Return the map with the file's tensors at one place of the model."""
    start = len(place.file_prefix)
    there = {name[start:]: g for name, g in ghosts.items() if name.startswith(place.file_prefix)}
    rows = list(live_tensors(place.module, place.live_prefix))
    loaded = _load(place, there, rows)
    found = _Found(list(live_tensors(model)), ghosts, _ties(place, rows))
    found.fill(rows, loaded, there, place.live_prefix)
    found.holds_base = not lacks_base(there, found.unfilled())
    return found.name_map(loaded, place)


def _load(place: Place, there: Mapping[str, Ghost], rows: Sequence[Live]) -> _Loaded:
    """Run the loading of the library that the module belongs to."""
    own = {row.plain: row.tensor for row in rows if row.role == "base"}
    plain = plain_names(there, rows, place.live_prefix)
    there = {plain[name]: value for name, value in there.items()}
    if transformers_loading.is_pretrained_model(place.module):
        done = transformers_loading.convert(place.module, there, own)
        route = f"transformers {transformers_loading.version()}"
        return _Loaded(_ghosts(done.made), {}, done.dropped, done.filled, route, done.note)
    made, route = there, "torch"
    if timm_names.is_timm_model(place.module):
        made, route = _ghosts(timm_names.filtered(place.module, there, own)), "timm"
    if not torch_names.loads_itself(place.module):
        return _Loaded(made, {}, route=route)
    real = {row.plain: row.name[len(place.live_prefix) :] for row in rows if row.role == "base"}
    ghosts = {real.get(name, name): value for name, value in made.items()}
    return _Loaded(made, torch_names.loaded(place.module, ghosts), route=route)


def _ghosts(tensors: Mapping[str, Tensor]) -> dict[str, Ghost]:
    return {name: tensor for name, tensor in tensors.items() if isinstance(tensor, Ghost)}


def _ties(place: Place, rows: Sequence[Live]) -> dict[str, str]:
    """Return live name -> the first live name of the same tensor, if a model on meta is not tied yet."""
    if not transformers_loading.is_pretrained_model(place.module):
        return {}
    names = {row.plain: row.name for row in rows if row.role == "base"}
    ties = transformers_loading.meta_ties(place.module)
    return {names[twin]: names[first] for twin, first in ties.items() if twin in names and first in names}


class _Found:
    """What is known about every live tensor; tied names share it.

    Args:
        rows: all of the model's.
        ghosts: by the file's names.
        ties: further live names of the same tensor -> its first.
        below: the origin of tensors outside the file's place in the model.
    """

    def __init__(
        self,
        rows: Sequence[Live],
        ghosts: Mapping[str, Ghost],
        ties: Mapping[str, str],
        below: Origin = "outside",
    ) -> None:
        self.rows, self.below = rows, below
        self.order = {name: i for i, name in enumerate(ghosts)}
        first: dict[object, str] = {}
        self.first = {row.name: first.setdefault(same_tensor(row.tensor), row.name) for row in rows}
        place = {row.name: i for i, row in enumerate(rows)}
        for pair in ties.items():
            early, late = sorted((self.first[name] for name in pair), key=place.__getitem__)
            self.first = {name: early if f == late else f for name, f in self.first.items()}
        self.files: dict[str, set[str]] = {}
        self.reshaped: dict[str, Reshaped] = {}
        self.original = {row.plain: row.name for row in rows if row.role == "base"}
        self.inside: set[str] = set()
        self.filled: set[str] = set()
        self.holds_base = True

    def add(self, live: str, files: Iterable[str]) -> None:
        """Record that a live tensor, and everything tied to it, is made of these files."""
        self.files.setdefault(self.first[live], set()).update(files)

    def fill(
        self, rows: Sequence[Live], loaded: _Loaded, there: Mapping[str, Ghost], prefix: str = ""
    ) -> None:
        """Assign the results of the library's loading to the live tensors of the place, at this prefix.

        The file of a model with a wrapper inside may have the wrapper's segments in its names, too.
        """
        mine = [row for row in rows if row.role == "base"]
        self.inside = {row.name for row in rows}
        for row in mine:
            taken, own = loaded.taken.get(id(row.tensor)), row.name.removeprefix(prefix)
            made = loaded.made.get(row.plain, loaded.made.get(own))
            if any(pattern.search(row.plain) for pattern in loaded.filled):
                self.filled.add(row.name)
            if taken:
                self.add(row.name, taken)
            elif made is not None and _fits(made, row):
                self.add(row.name, made.origins)
            elif made is not None:
                file = min(made.origins, key=self._place_in_file)
                self.reshaped[row.name] = Reshaped(row.name, file, row.shape, tuple(made.shape))
        used = {name for names in self.files.values() for name in names}
        used |= {shape.file for shape in self.reshaped.values()}
        unused = {name: g for name, g in there.items() if not g.origins & used}
        unfilled = [row for row in mine if self.first[row.name] not in self.files]
        plain = {row.plain for row in mine}
        again = torch_names.reparametrized(unfilled, unused, plain, there)
        for row in unfilled:
            for name in again.get(row.plain, ()):
                self.add(row.name, there[name].origins)
                self.reshaped.pop(row.name, None)

    def unfilled(self) -> Iterator[str]:
        """Yield the plain names of the place's parameters that the file has nothing for."""
        for row in self.rows:
            if row.name in self.inside and row.kind == "parameter" and self.first[row.name] not in self.files:
                yield row.plain

    def _place_in_file(self, name: str) -> int:
        return self.order.get(name, len(self.order))

    def name_map(self, loaded: _Loaded, place: Place | None = None) -> NameMap:
        """Return the map of everything that was filled so far."""
        copied = {self.original[r.plain] for r in self.rows if r.role == "copy" and r.plain in self.original}
        live = tuple(self._live(row, copied) for row in self.rows)
        placed = {file for tensor in live for file in tensor.files}
        reshaped = tuple(r for name, r in self.reshaped.items() if not self.files.get(self.first[name]))
        placed |= {r.file for r in reshaped}
        renamed = {file: name for name, value in loaded.made.items() for file in value.origins}
        left = [file for file in self.order if file not in placed]
        dropped = dict.fromkeys(f for f in left if any(p.search(renamed.get(f, f)) for p in loaded.dropped))
        return NameMap(
            live=live,
            dropped=tuple(dropped),
            unplaced=tuple(file for file in left if file not in dropped),
            reshaped=reshaped,
            root=place.root if place else "",
            prefix=place.file_prefix if place else "",
            route=loaded.route,
            notes=(loaded.note,) if loaded.note else (),
        )

    def _live(self, row: Live, copied: set[str]) -> LiveTensor:
        first = self.first[row.name]
        source = self.original.get(row.plain, "") if row.role == "copy" else ""
        files = self.files.get(first) or self.files.get(self.first.get(source, ""), set())
        return LiveTensor(
            name=row.name,
            kind=row.kind,
            shape=row.shape,
            files=tuple(sorted(files, key=self._place_in_file)),
            origin="file" if files else self._origin(row),
            clean=row.plain,
            tied_to="" if first == row.name else first,
            copy_of=source,
            replaced=row.name in copied,
        )

    def _origin(self, row: Live) -> Origin:
        """Return the origin of a tensor whose values are not in the file."""
        if row.role == "adapter" or (row.role == "copy" and self.below == "base"):
            return "adapter"
        if row.name not in self.inside:
            return self.below
        if row.name in self.filled:
            return "library"
        return "new" if self.holds_base or is_added(row.plain) else "base"


def _fits(made: Ghost, row: Live) -> bool:
    """Whether the shapes are equal; torch loads a vector of one element into a scalar."""
    return tuple(made.shape) == row.shape or (row.shape == () and tuple(made.shape) == (1,))


def _adapter_map(model: nn.Module, ghosts: Mapping[str, Ghost], pairs: Mapping[str, str]) -> NameMap:
    """Return the map of an adapter's file; the base model comes from another file."""
    found = _Found(list(live_tensors(model)), ghosts, {}, below="base")
    for file, live in pairs.items():
        found.add(live, (file,))
    return found.name_map(_Loaded({}, {}, route="peft"))
