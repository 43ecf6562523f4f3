"""Maps the tensors of PEFT's adapter files to live parameters."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator, Mapping
from importlib import import_module

from torch import nn

from freezetui.checkpoint.state_dict.wrappers import unwrap
from freezetui.models.ghosts import Ghost, ghost_of, origins_of
from freezetui.models.live_names import Live, ancestry, live_tensors


def adapter_files(model: nn.Module, files: Mapping[str, Ghost]) -> dict[str, dict[str, str]]:
    """Return, per adapter of the model, which live name each tensor of an adapter file has.

    PEFT's own `get_peft_model_state_dict` says how it would save each live parameter.

    Args:
        model: the live model, wrappers included.
        files: by the file's names.

    Returns:
        adapter -> file name -> live name, without adapters that know none of the names.
    """
    found = {}
    for prefix, peft in _peft_models(model):
        rows = list(live_tensors(peft))
        for adapter in peft.peft_config:  # type: ignore[union-attr]
            saved = next(_saved(peft, rows, adapter, (True, False)), {})
            read = unwrap(list(saved)).names  # the reader takes "base_model.model." off
            saved |= dict(zip(read, saved.values(), strict=True))
            pairs = {file: prefix + name for file, name in saved.items() if file in files}
            pairs |= _prompt(peft, prefix, rows, files)
            if pairs:
                found[adapter] = pairs
    return found


def whole_state(model: nn.Module, files: Mapping[str, Ghost]) -> dict[str, str]:
    """Return file name -> live name for the state_dict of a model with its adapters; {} for another file."""
    rows = list(live_tensors(model))
    added = {row.name for row in rows if row.role != "base"}
    read = unwrap([row.name for row in rows]).names if added else ()
    pairs = {
        file: row.name
        for file, row in zip(read, rows, strict=False)
        if file in files and tuple(files[file].shape) == row.shape
    }
    of_adapters = added.intersection(pairs.values())
    return pairs if of_adapters and 2 * len(pairs) > len(files) else {}


def saved_adapters(model: nn.Module) -> Iterator[dict[str, str]]:
    """Yield, per adapter of the model, file name -> live name of what PEFT may have saved, as it is read.

    That is without the embeddings, as usual, and with them, as after new tokens.
    """
    for prefix, peft in _peft_models(model):
        rows = list(live_tensors(peft))
        for adapter in peft.peft_config:  # type: ignore[union-attr]
            for saved in _saved(peft, rows, adapter, (False, True)):
                read = unwrap(list(saved)).names
                yield {file: prefix + name for file, name in zip(read, saved.values(), strict=True)}


def _peft_models(model: nn.Module) -> list[tuple[str, nn.Module]]:
    """Return the outermost PeftModels, each with the prefix of its names."""
    found: list[tuple[str, nn.Module]] = []
    for path, module in model.named_modules():
        inside = any(path.startswith(prefix) for prefix, _ in found)
        if "PeftModel" in ancestry(module) and not inside:
            found.append((f"{path}." if path else "", module))
    return found


def _saved(
    peft: nn.Module, rows: Iterable[Live], adapter: str, embeddings: Iterable[bool]
) -> Iterator[dict[str, str]]:
    """Yield file name -> live name, as PEFT saves this adapter, without or with the embeddings."""
    ghosts = {row.name: ghost_of((row.name,), row.tensor) for row in rows}
    save = import_module("peft").get_peft_model_state_dict
    for also in embeddings:  # "auto" would ask the hub
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                saved = save(peft, state_dict=ghosts, adapter_name=adapter, save_embedding_layers=also)
        except Exception:  # not supported by this PEFT method, or by this model
            continue
        if found := {f: next(iter(origins_of(value))) for f, value in saved.items() if origins_of(value)}:
            yield found


def _prompt(peft: nn.Module, prefix: str, rows: Iterable[Live], files: Mapping[str, Ghost]) -> dict[str, str]:
    """Return the learned prompts, which PEFT saves as the output of their embedding."""
    file = files.get("prompt_embeddings")
    if file is None:
        return {}
    names = [r.name for r in rows if r.name.startswith("prompt_encoder.") and r.tensor.shape == file.shape]
    return {"prompt_embeddings": prefix + names[0]} if len(names) == 1 else {}
