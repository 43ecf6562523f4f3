"""Guesses the file names that a model would be saved under; a fingerprint confirms the guess."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

from torch import nn

from freezetui.checkpoint.state_dict.buffers import BufferDetector
from freezetui.checkpoint.types import TensorInfo
from freezetui.config.schema import fingerprint
from freezetui.freeze.name_map import NameMap
from freezetui.models import transformers_loading
from freezetui.models.ghosts import Ghost, ghost_of
from freezetui.models.live_names import Live, live_tensors, same_tensor, unwrap
from freezetui.models.name_map import file_tensors, map_names


class Saved(NamedTuple):
    """The file that a live model came from, reconstructed from the model alone.

    Attributes:
        names: the map to the file that a save would write.
        tensors: the tensors of that file.
    """

    names: NameMap
    tensors: tuple[TensorInfo, ...]


def saved_names(model: nn.Module, proves: Callable[[Iterable[TensorInfo]], bool]) -> Saved | None:
    """Return the first reverse map that `proves` accepts; None if it accepts none.

    Tried are the names that `save_pretrained` writes, those without the prefix of the base model (GPT-2's
    file), and the names of the state_dict; each with one name of every tie, and with all of them.

    Args:
        model: live, with any wrappers.
        proves: whether these are the tensors of the file, e.g. by a fingerprint over names and shapes.
    """
    for ghosts in _guesses(model):
        tensors = _tensors(ghosts)
        if proves(tensors):
            return Saved(map_names(model, file_tensors(tensors)), tensors)
    return None


def proved_by(wanted: str) -> Callable[[Iterable[TensorInfo]], bool]:
    """Return the test for `saved_names` that compares with a config's `model.fingerprint`."""
    return lambda tensors: fingerprint(tensors) == wanted


def _guesses(model: nn.Module) -> Iterable[dict[str, Ghost]]:
    """Yield the files that a save might have written, the likeliest first."""
    core, prefix = unwrap(model)
    rows = [row for row in live_tensors(core, prefix) if row.role == "base"]
    once = _each_once(core, rows)
    every = {row.plain: ghost_of((row.plain,), row.tensor) for row in rows}
    if transformers_loading.is_pretrained_model(core):
        for ghosts in (once, every):
            saved = _saved(core, ghosts)
            yield from (saved, _without_prefix(core, saved))
    yield once
    yield every


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


def _tensors(ghosts: Mapping[str, Ghost]) -> tuple[TensorInfo, ...]:
    """Return the tensors of the file, with kinds guessed as its reader does: fingerprints depend on them."""
    kinds = BufferDetector(ghosts)
    tensors = []
    for name, value in ghosts.items():
        dtype = str(value.dtype).removeprefix("torch.")
        kind, guessed = kinds.kind(name, dtype)
        tensors.append(TensorInfo(name, tuple(value.shape), dtype, kind, guessed=guessed))
    return tuple(tensors)
