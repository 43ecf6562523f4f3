"""Finds the checkpoint whose names a config speaks of: from the live model, else from the file's header."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

from torch import nn

from freezetui.checkpoint.open import open_checkpoint
from freezetui.checkpoint.sources.urls import is_url
from freezetui.checkpoint.types import TensorInfo
from freezetui.config.schema import ConfigData, fingerprint
from freezetui.config.sync import differs
from freezetui.errors import CheckpointError, ConfigError, FreezeTuiError, PatternError
from freezetui.freeze.regexes import Budget
from freezetui.models.live_names import is_adapter, unwrap
from freezetui.models.name_map import file_tensors, map_names
from freezetui.models.saved_names import Saved, guesses

#: Seconds to read a header that nobody asked for.
_MAX_SECONDS = 2.0
_PASS_IT = "Pass the file that it was saved for: apply(model, checkpoint=PATH)."
_OTHER_NAMES = "If the checkpoint has other names than the model, pass it: apply(model, checkpoint=PATH)."


def find_source(
    config: ConfigData,
    model: nn.Module,
    stage: str | None,
    checkpoint: str | Path | None,
    root: str,
    strict: bool,
    budget: Budget,
) -> Saved:
    """Return the tensors that the config's rules speak of, and their map to the live model.

    In this order: the file that is passed; the live names as they are, and what `save_pretrained` would
    write, where the config's `expect` proves them; the header of the file that the config names, or of
    `model.name_or_path`. A config that records nothing goes by the live names.

    Raises:
        ConfigError: none of them is the file that the config was saved for.
        PatternError: a pattern matches nothing, or takes too long.
        CheckpointError: the file that is passed cannot be read.
    """
    root = root or config.model.root
    if checkpoint is not None:
        return _header(_opened(str(checkpoint)), model, root)
    why: list[FreezeTuiError] = []

    def accepted(tensors: Sequence[TensorInfo], lenient: bool = False) -> bool:
        try:
            difference = differs(config, stage, tensors, budget, lenient)
        except PatternError as error:
            why.append(error)
            return False
        if difference:
            why.append(ConfigError(f"the config does not fit this model: {difference}.", _PASS_IT))
        return not difference

    def proved(tensors: Sequence[TensorInfo]) -> bool:
        """Whether these are accepted, and what is frozen is evidence; nothing frozen is in every model."""
        wanted = config.model.fingerprint if _freezes_nothing(config, stage) else ""
        return (not wanted or wanted == fingerprint(tensors)) and accepted(tensors)

    found = None if root else next(guesses(model, proved), None)
    if found is not None:
        return found
    for path in _known_files(config, model):
        tensors = _read_quickly(path)
        if tensors and accepted(tensors, lenient=True):  # a rule may name what only the model has
            return _header(tensors, model, root)
    if not strict:
        return next(guesses(model))
    if not why and not root and not any(map(is_adapter, model.modules())):
        return next(guesses(model))
    if root:
        raise ConfigError(f"the checkpoint that belongs to {root} is not known.", _PASS_IT)
    if not why:
        raise ConfigError("the config records nothing that is frozen, and the model has adapters.", _PASS_IT)
    recorded = config.expect_for(stage) or config.expect
    if recorded is None or isinstance(why[0], ConfigError):
        raise why[0]
    raise PatternError(why[0].message, f"{why[0].hint} {_OTHER_NAMES}")


def _freezes_nothing(config: ConfigData, stage: str | None) -> bool:
    """Whether the config records that nothing is frozen."""
    recorded = [expect for part in (None, stage) if (expect := config.expect_for(part)) is not None]
    return bool(recorded) and not any(expect.frozen.tensors for expect in recorded)


def _header(tensors: Sequence[TensorInfo], model: nn.Module, root: str) -> Saved:
    return Saved(map_names(model, file_tensors(tensors), root), tuple(tensors))


def _opened(path: str) -> Sequence[TensorInfo]:
    return open_checkpoint([path]).tensors


def _known_files(config: ConfigData, model: nn.Module) -> Iterator[str]:
    """Yield the local files or directories that the config names, and that the model was loaded from."""
    core, _ = unwrap(model)
    for path in (config.model.checkpoint, getattr(core, "name_or_path", "")):
        if isinstance(path, str) and path and not is_url(path) and Path(path).exists():
            yield path


def _read_quickly(path: str) -> Sequence[TensorInfo]:
    """Return the tensors of a file; none if it is not a checkpoint, or takes too long."""
    result: list[TensorInfo] = []

    def read() -> None:
        try:
            result.extend(_opened(path))
        except CheckpointError:
            return

    thread = threading.Thread(target=read, daemon=True)
    thread.start()
    thread.join(_MAX_SECONDS)
    return [] if thread.is_alive() else result
