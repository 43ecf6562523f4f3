"""Guesses the file that a live model came from, from the model alone; a fingerprint confirms the guess."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from torch import nn

from freezetui.checkpoint.state_dict.buffers import BufferDetector
from freezetui.checkpoint.state_dict.wrappers import unwrap as unwrap_names
from freezetui.checkpoint.types import Kind, StorageKey, TensorInfo
from freezetui.freeze.name_map import NameMap, Origin
from freezetui.freeze.peft_prefixes import is_added
from freezetui.models import peft_names, transformers_loading
from freezetui.models.ghosts import Ghost, ghost_of
from freezetui.models.live_names import Live, live_tensors, same_tensor, unwrap
from freezetui.models.name_map import file_tensors, map_names, paired, refuse_lazy


class Saved(NamedTuple):
    """The file that a live model may have come from.

    Attributes:
        names: the map to that file.
        tensors: the tensors of that file.
    """

    names: NameMap
    tensors: tuple[TensorInfo, ...]


def guesses(
    model: nn.Module, accepted: Callable[[Sequence[TensorInfo]], bool] = lambda tensors: True
) -> Iterator[Saved]:
    """Yield the accepted guesses, the likeliest first; the first of all is the live names as they are.

    Tried are the live names as they are, without and with what PEFT added, those of adapters alone, then
    the names that `save_pretrained` writes, and those without the prefix of the base model (GPT-2's file);
    each with all names of every tie, and with one.

    Args:
        model: live, with any wrappers.
        accepted: whether these are the tensors of the file, e.g. by a fingerprint over names and shapes.

    Raises:
        ConfigError: a lazy parameter has no shape yet.
    """
    refuse_lazy(model)
    every = list(live_tensors(model))
    rows = [row for row in every if row.role == "base"]
    yield from _with_names(model, rows, _spellings(rows), accepted)
    if len(rows) < len(every):
        names = unwrap_names([row.name for row in every]).names
        yield from _with_names(model, every, [names], accepted)
    added = [row for row in rows if is_added(row.plain)]  # what loralib's lora_state_dict saves
    if 0 < len(added) < len(rows):
        yield from _with_names(model, added, _spellings(added), accepted, "base")
    for pairs in peft_names.saved_adapters(model):
        shapes = {row.name: row for row in every}
        tensors = tuple(_tensor(shapes[live], file, "parameter", file) for file, live in pairs.items())
        if accepted(tensors):
            yield Saved(paired(model, {live: file for file, live in pairs.items()}, "base"), tensors)
    for ghosts in _written(model):
        tensors = _as_read(ghosts)
        if accepted(tensors):
            yield Saved(map_names(model, file_tensors(tensors)), tensors)


def _with_names(
    model: nn.Module,
    rows: Sequence[Live],
    spellings: Iterable[Sequence[str]],
    accepted: Callable[[Sequence[TensorInfo]], bool],
    below: Origin = "outside",
) -> Iterator[Saved]:
    """Yield the accepted files that hold these rows, under one of the spellings of their names."""
    for names in spellings:
        for tensors in _as_they_are(rows, names):
            if accepted(tensors):
                kept = {tensor.name for tensor in tensors}
                pairs = {row.name: name for row, name in zip(rows, names, strict=True) if name in kept}
                yield Saved(paired(model, pairs, below), tensors)


def _spellings(rows: Sequence[Live]) -> Iterator[Sequence[str]]:
    """Yield the names without wrappers' segments: by the wrappers' classes, then as the reader does."""
    plain = [row.plain for row in rows]
    if len(set(plain)) == len(plain):
        yield plain
    read = unwrap_names([row.name for row in rows]).names
    if list(read) != plain:
        yield read


def _as_they_are(rows: Sequence[Live], names: Sequence[str]) -> Iterator[tuple[TensorInfo, ...]]:
    """Yield the tensors under these names: tied, as copies, each once; with true kinds and the reader's."""
    first: dict[object, str] = {}
    owners = [first.setdefault(same_tensor(row.tensor), name) for row, name in zip(rows, names, strict=True)]
    detector = BufferDetector(names)
    true = [row.kind for row in rows]
    read = [detector.kind(name, _dtype(row))[0] for row, name in zip(rows, names, strict=True)]
    for kinds in (true,) if read == true else (true, read):
        columns = list(zip(rows, names, kinds, owners, strict=True))
        yield tuple(_tensor(row, name, kind, owner) for row, name, kind, owner in columns)
        if len(first) < len(rows):
            yield tuple(_tensor(row, name, kind, name) for row, name, kind, _ in columns)
            yield tuple(_tensor(row, name, kind, name) for row, name, kind, o in columns if name == o)


def _tensor(row: Live, name: str, kind: Kind, owner: str) -> TensorInfo:
    """Return one tensor of a guess; those with one owner are tied."""
    flag, guessed = row.tensor.requires_grad, kind != row.kind
    return TensorInfo(name, row.shape, _dtype(row), kind, flag, StorageKey(owner), guessed)


def _dtype(row: Live) -> str:
    return str(row.tensor.dtype).removeprefix("torch.")


def _written(model: nn.Module) -> Iterable[dict[str, Ghost]]:
    """Yield the files that `save_pretrained` might have written, the likeliest first."""
    core, prefix = unwrap(model)
    if not transformers_loading.is_pretrained_model(core):
        return
    rows = [row for row in live_tensors(core, prefix) if row.role == "base"]
    every = {row.plain: ghost_of((row.plain,), row.tensor) for row in rows}
    for ghosts in (_each_once(core, rows), every):
        saved = _saved(core, ghosts)
        yield from (saved, _without_prefix(core, saved))


def _saved(core: Any, ghosts: Mapping[str, Ghost]) -> dict[str, Ghost]:
    """Return the names that `save_pretrained` writes; unchanged if the conversions cannot be reverted."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return {n: g for n, g in transformers_loading.saved(core, ghosts).items() if isinstance(g, Ghost)}
    except Exception:  # private: any version may have changed it in any way
        return dict(ghosts)


def _without_prefix(core: Any, saved: Mapping[str, Ghost]) -> dict[str, Ghost]:
    """Strip the base model's prefix, for a base model's file that was loaded into a model with a head."""
    prefix = f"{core.base_model_prefix}."
    return {name.removeprefix(prefix): value for name, value in saved.items()}


def _each_once(core: nn.Module, rows: Iterable[Live]) -> dict[str, Ghost]:
    """Return one ghost per tensor, under the name that a save keeps: not one tied to another by the class."""
    tied = transformers_loading.tied_away(core)
    first: dict[object, str] = {}
    for row in sorted(rows, key=lambda row: tied(row.plain)):  # stable: order of registration otherwise
        first.setdefault(same_tensor(row.tensor), row.plain)
    kept = set(first.values())
    return {row.plain: ghost_of((row.plain,), row.tensor) for row in rows if row.plain in kept}


def _as_read(ghosts: Mapping[str, Ghost]) -> tuple[TensorInfo, ...]:
    """Return the tensors of the file, with kinds guessed as its reader does: fingerprints depend on them."""
    kinds = BufferDetector(ghosts)
    tensors = []
    for name, value in ghosts.items():
        dtype = str(value.dtype).removeprefix("torch.")
        kind, guessed = kinds.kind(name, dtype)
        tensors.append(TensorInfo(name, tuple(value.shape), dtype, kind, guessed=guessed))
    return tuple(tensors)
