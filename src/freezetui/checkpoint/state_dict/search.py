"""Finds the state_dict among the nested dicts of a file."""

from __future__ import annotations

import re
from collections.abc import Iterable, Set
from itertools import islice
from typing import Any, NamedTuple

from freezetui.checkpoint.pickles.opaque import Opaque
from freezetui.checkpoint.pickles.stubs import TensorStub
from freezetui.checkpoint.state_dict.arrays import ARRAYS
from freezetui.checkpoint.state_dict.modules import is_module
from freezetui.checkpoint.state_dict.nested import nested_tensors
from freezetui.checkpoint.state_dict.tensor_reader import REBUILT
from freezetui.errors import CheckpointError
from freezetui.text import printable

#: Common keys of the weights, the most likely first.
_KEYS = (
    "state_dict",
    "model_state_dict",
    "model",
    "module",
    "net",
    "params_ema",
    "params-ema",
    "params",
    "ema",
    "generator",
)
_RANKS = {key: rank for rank, key in enumerate(_KEYS)}
#: Keys of one whole model, whose parts Megatron stores as nested dicts.
_WHOLE = frozenset(("state_dict", "model_state_dict", "model", "module", "net"))
#: Words in keys of anything but a model: `optimizer_G`, `lrScheduler`, `cuda_rng_state`, but not `resampler`.
_NO_MODEL = re.compile(
    r"optims?\d*|optimi[sz]ers?[a-z0-9]?|(lr)?schedulers?\d*|(grad|amp|loss)?scalers?\d*|samplers?\d*|rngs?|hyperparameters"
)
#: Keys that Lightning and DeepSpeed write beside the model.
_NEVER = frozenset(("hyper_parameters", "frozen_param_fragments"))
_OPTIMIZER = re.compile(r"optims?\d*|optimi[sz]ers?[a-z0-9]?")
_WORDS = re.compile(r"[A-Z]?[a-z0-9]+|[A-Z]+(?![a-z])")
_COPY = r"(^|[^a-z])ema([^a-z]|$)"
_MAX_DEPTH = 16
#: Limits on the containers to visit: in one list, since a log may be a million dicts, and in total.
_MAX_LIST, _MAX_VISITED = 4096, 200_000
#: A longer key is not followed: its text would be in the keys of everything below it.
_MAX_KEY = 200
_CONTAINERS = (dict, list, tuple, Opaque)
#: A module counts as more tensors than any dict beside it; counting them would mean traversing it.
_MANY = 2**40

_Above = tuple[tuple[Any, Any], ...]


class Candidate(NamedTuple):
    """A state_dict or a module.

    Attributes:
        key: its dotted key; "" for the top level.
        value: the dict, or the module's stub.
        tensors: the number of its own tensors.
        pure: whether it is a dict of nothing but tensors under string keys.
        scalars: whether all its tensors are scalars, as in a dict of metrics.
        above: the containers on the path to it, each with the key taken there.
        part: whether it is part of a candidate above it, whose dicts are one model.
        arrays: whether it has NumPy arrays, not tensors.
    """

    key: str
    value: Any
    tensors: int
    pure: bool
    scalars: bool
    above: _Above
    part: bool = False
    arrays: bool = False


def find_candidates(root: Any) -> list[Candidate]:
    """Return every dict with tensors under string keys, and every module, breadth first, without optimizers.

    If there is none, follow keys that usually lead to no model; if that fails, find dicts of NumPy arrays.
    """
    for avoided, kinds in ((_NO_MODEL, REBUILT), (_OPTIMIZER, REBUILT), (_NO_MODEL, ARRAYS)):
        found = _Search(avoided, kinds).candidates(root)
        if found:
            return found
    return []


class _Search:
    """One traversal of the containers of a file.

    Args:
        avoided: matches words of keys that are not followed.
        kinds: what counts as a tensor.
    """

    def __init__(self, avoided: re.Pattern[str], kinds: Set[type]) -> None:
        self._avoided, self._kinds = avoided, kinds
        self._left = _MAX_VISITED

    def candidates(self, root: Any) -> list[Candidate]:
        """Return what may be the model, breadth first."""
        found: list[Candidate] = []
        level: list[tuple[str, Any, _Above, bool]] = [("", root, (), False)]
        weighed: dict[int, tuple[int, bool, bool]] = {}
        for _ in range(_MAX_DEPTH):
            below: list[tuple[str, Any, _Above, bool]] = []
            for key, value, above, part in level:
                is_new = id(value) not in weighed
                if is_new:
                    weighed[id(value)] = self._weigh(value)
                tensors, pure, scalars = weighed[id(value)]
                arrays = self._kinds is ARRAYS
                parts = nested_tensors(value, self._kinds) if not part and _is_model(above) else None
                if parts:
                    found.append(Candidate(key, parts, len(parts), True, False, above, arrays=arrays))
                elif tensors:
                    found.append(Candidate(key, value, tensors, pure, scalars, above, part, arrays))
                if is_new and not pure:
                    part, front = part or bool(parts), f"{key}." if key else ""
                    below += [
                        (f"{front}{name}", item, (*above, (value, name)), part)
                        for name, item in self._children(value)
                    ]
            level = below
        return found

    def _weigh(self, value: Any) -> tuple[int, bool, bool]:
        """Return the number of a container's own tensors, whether they are all it has, and all scalars."""
        if is_module(value):
            return (_MANY, False, False) if self._kinds is REBUILT else (0, False, False)
        if not isinstance(value, dict) or "param_groups" in value:
            return 0, False, False
        pure = {*map(type, value)} == {str} and {*map(type, value.values())} <= self._kinds
        tensors = (
            [*value.values()]
            if pure
            else [item for name, item in value.items() if type(item) in self._kinds and type(name) is str]
        )
        return len(tensors), pure, all(type(item) is TensorStub and item.size == () for item in tensors)

    def _children(self, value: Any) -> list[tuple[Any, Any]]:
        """Return the containers in a container, by key or index, except what is certainly not a model."""
        items: Iterable[tuple[Any, Any]] = ()
        if isinstance(value, dict):
            items = value.items()
        elif isinstance(value, list | tuple):
            items = islice(enumerate(value), _MAX_LIST)
        containers = (
            (name, item)
            for name, item in items
            if isinstance(item, _CONTAINERS) and (type(name) is int or self._may_lead(name))
        )
        found = list(islice(containers, self._left))
        self._left -= len(found)
        return found

    def _may_lead(self, name: Any) -> bool:
        if type(name) is not str or len(name) > _MAX_KEY or name in _NEVER:
            return False
        return not any(self._avoided.fullmatch(word.lower()) for word in _WORDS.findall(name))


def _is_model(above: _Above) -> bool:
    """Whether the last key means a model, so that nested dicts are its parts."""
    return bool(above) and above[-1][1] in _WHOLE


def choose(candidates: list[Candidate], key: str | None, source: str) -> Candidate:
    """Return the candidate under `key`, or the most likely one; there must be at least one.

    Raises:
        CheckpointError: there is none under `key`.
    """
    if key is not None:
        for candidate in candidates:
            if candidate.key == key:
                return candidate
        keys = [candidate.key or "'' (top level)" for candidate in worthwhile(candidates)]
        shown = ", ".join(map(printable, keys[:20]))
        raise CheckpointError(
            f"{source} has no state_dict under the key {printable(repr(key[:_MAX_KEY]))}.",
            f"Choose one of: {shown}.",
        )
    # A checkpoint may have a tensor or two of its own beside the weights, such as the best accuracy.
    most_below: dict[int, int] = {}
    for candidate in candidates:
        for container, _ in candidate.above:
            most_below[id(container)] = max(most_below.get(id(container), 0), candidate.tensors)
    standing = [c for c in candidates if not c.part and c.tensors >= most_below.get(id(c.value), 0)]
    standing = [c for c in standing if not c.scalars] or standing
    return min(standing, key=_rank)


def worthwhile(candidates: list[Candidate]) -> list[Candidate]:
    """Return those that a user may want to choose: without dicts of scalars, unless there is nothing else."""
    whole = [candidate for candidate in candidates if not candidate.part]
    return [candidate for candidate in whole if not candidate.scalars] or whole


def labels(candidates: list[Candidate]) -> list[str]:
    """Return their keys, for display."""
    return [candidate.key or "'' (top level)" for candidate in worthwhile(candidates)]


def _rank(candidate: Candidate) -> tuple[int, int, int, int]:
    """Return a sort key, lowest for the most likely: top level, common key, near the top, many tensors."""
    taken = [str(key) for _, key in candidate.above]
    last = taken[-1] if taken else ""
    if any(re.search(_COPY, key, re.IGNORECASE) for key in taken[:-1]):
        # An EMA copy is not the model, whatever its key.
        last = "ema"
    return (len(taken) > 0, _RANKS.get(last, len(_KEYS)), len(taken), -candidate.tensors)
