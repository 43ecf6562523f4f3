"""Finds the checkpoint whose names a config speaks of: from the live model, else from the file's header."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

from torch import nn

from freezetui.checkpoint.open import open_checkpoint
from freezetui.checkpoint.sources.urls import is_url
from freezetui.checkpoint.state_dict.buffers import BufferDetector
from freezetui.checkpoint.types import TensorInfo
from freezetui.config.schema import ConfigData, fingerprint
from freezetui.config.sync import differs
from freezetui.errors import CheckpointError, ConfigError, FreezeTuiError, PatternError
from freezetui.freeze.peft_prefixes import is_added
from freezetui.freeze.regexes import Budget
from freezetui.models.live_names import is_adapter, live_tensors, unwrap
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
    evidence = _Evidence(config, stage, budget)
    found = None if root else _proven(model, evidence)
    if found is not None:
        return found
    for path, key in _known_files(config, model):
        tensors = _read_quickly(path, key)
        if tensors and evidence.accepts(tensors, lenient=True):  # a rule may name what only the model has
            return _header(tensors, model, root)
    may_be_live = not evidence.against and not root and not _has_adapters(model)
    if may_be_live or not strict:
        return next(guesses(model))
    raise evidence.refusal(root)


def _proven(model: nn.Module, evidence: _Evidence) -> Saved | None:
    """Return the guess that the config proves.

    A model with adapters may have been saved in several ways, and in one with a parameter called as buffers
    are, the file's reader saw less: a guess with all names and shapes is preferred. Where the adapters are
    not PEFT's, what was saved beside them, such as a head, is not known.
    """
    first: Saved | None = None
    for guess in guesses(model, evidence.proves):
        if evidence.is_exact(guess.tensors):
            return guess
        if not _has_adapters(model):
            if not _has_presumed(guess.tensors):
                return first or guess
            first = first or guess
            continue
        is_part = any(tensor.origin == "base" for tensor in guess.names.live)
        if _is_pefts(model) or not is_part:
            first = first or guess
    return first


def _has_adapters(model: nn.Module) -> bool:
    return _is_pefts(model) or any(is_added(row.plain) for row in live_tensors(model))


def _has_presumed(tensors: Sequence[TensorInfo]) -> bool:
    """Whether one of these parameters is a buffer to the reader of a file."""
    kinds = BufferDetector([tensor.name for tensor in tensors])
    return any(t.kind == "parameter" and kinds.kind(t.name, t.dtype)[0] == "buffer" for t in tensors)


def _is_pefts(model: nn.Module) -> bool:
    return any(map(is_adapter, model.modules()))


class _Evidence:
    """Whether tensors are those of the checkpoint that a config was saved for.

    Attributes:
        against: what was wrong with those that were looked at.
    """

    def __init__(self, config: ConfigData, stage: str | None, budget: Budget) -> None:
        self._config, self._stage, self._budget = config, stage, budget
        self._recorded = [e for part in (None, stage) if (e := config.expect_for(part)) is not None]
        self.against: list[FreezeTuiError] = []

    def accepts(self, tensors: Sequence[TensorInfo], lenient: bool = False) -> bool:
        """Whether the rules freeze in them what the config records; see `differs`."""
        try:
            difference = differs(self._config, self._stage, tensors, self._budget, lenient)
        except PatternError as error:
            self.against.append(error)
            return False
        if difference:
            self.against.append(ConfigError(f"the config does not fit this model: {difference}.", _PASS_IT))
        return not difference

    def proves(self, tensors: Sequence[TensorInfo]) -> bool:
        """Whether they are accepted, and what is frozen is evidence; nothing frozen is in every model."""
        freezes_nothing = self._recorded and not any(expect.frozen.tensors for expect in self._recorded)
        wanted = self._config.model.fingerprint if freezes_nothing else ""
        return (not wanted or wanted == fingerprint(tensors)) and self.accepts(tensors)

    def is_exact(self, tensors: Sequence[TensorInfo]) -> bool:
        """Whether all their names and shapes are those of the checkpoint."""
        return self._config.model.fingerprint == fingerprint(tensors)

    def refusal(self, root: str) -> FreezeTuiError:
        """Return the error if no checkpoint was found."""
        if root:
            return ConfigError(f"the checkpoint that belongs to {root} is not known.", _PASS_IT)
        if not self.against:
            why = "the config records nothing that is frozen, and the model has adapters."
            return ConfigError(why, _PASS_IT)
        first = self.against[0]
        if isinstance(first, ConfigError) or not self._recorded:
            return first
        return PatternError(first.message, f"{first.hint} {_OTHER_NAMES}")


def _header(tensors: Sequence[TensorInfo], model: nn.Module, root: str) -> Saved:
    return Saved(map_names(model, file_tensors(tensors), root), tuple(tensors))


def _opened(path: str, key: str = "") -> Sequence[TensorInfo]:
    return open_checkpoint([path], key=key or None).tensors


def _known_files(config: ConfigData, model: nn.Module) -> Iterator[tuple[str, str]]:
    """Yield the local files or directories that the config names, and that the model was loaded from.

    Each comes with the key of its state_dict, "" if that is not known.
    """
    core, _ = unwrap(model)
    named = (config.model.checkpoint, config.model.key), (getattr(core, "name_or_path", ""), "")
    for path, key in named:
        if isinstance(path, str) and path and not is_url(path) and Path(path).exists():
            yield path, key


def _read_quickly(path: str, key: str) -> Sequence[TensorInfo]:
    """Return the tensors of a file; none if it is not a checkpoint, or takes too long."""
    result: list[TensorInfo] = []

    def read() -> None:
        try:
            result.extend(_opened(path, key))
        except CheckpointError:
            return

    thread = threading.Thread(target=read, daemon=True)
    thread.start()
    thread.join(_MAX_SECONDS)
    return [] if thread.is_alive() else result
