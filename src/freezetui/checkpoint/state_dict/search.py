"""Which of the nested dicts of a file is the state_dict."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, NamedTuple

from freezetui.checkpoint.pickles.stubs import Opaque, TensorStub
from freezetui.checkpoint.state_dict.modules import is_module
from freezetui.checkpoint.state_dict.tensor_reader import REBUILT
from freezetui.errors import CheckpointError
from freezetui.text import printable

#: Where the weights lie in the wild, what is wanted most first.
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
_NO_MODEL = ("optim", "scheduler", "scaler", "sampler", "rng", "hyper_parameters")
_COPY = re.compile(r"(^|[^a-z])ema([^a-z]|$)", re.IGNORECASE)
_MAX_DEPTH = 4
_MAX_LIST = 64
_CONTAINERS = (dict, list, tuple, Opaque)
#: A module counts as more tensors than any dict beside it holds; counting them would mean walking it.
_MANY = 2**40


class Candidate(NamedTuple):
    """A state_dict or a module.

    Attributes:
        key: leads to it, dotted; "" for the top level.
        value: the dict, or the module's stub.
        tensors: how many it holds itself.
        pure: a dict of nothing but tensors under text keys.
        scalars: all its tensors are scalars, as in a dict of metrics.
        above: the containers on the way to it, each with the key taken there.
    """

    key: str
    value: Any
    tensors: int
    pure: bool
    scalars: bool
    above: tuple[tuple[Any, Any], ...]


def find_candidates(root: Any) -> list[Candidate]:
    """Every dict that holds tensors under text keys, and every module, breadth first; optimizers left out."""
    found: list[Candidate] = []
    level: list[tuple[str, Any, tuple[tuple[Any, Any], ...]]] = [("", root, ())]
    weighed: dict[int, tuple[int, bool, bool]] = {}
    for _ in range(_MAX_DEPTH):
        below: list[tuple[str, Any, tuple[tuple[Any, Any], ...]]] = []
        for key, value, above in level:
            is_new = id(value) not in weighed
            if is_new:
                weighed[id(value)] = _weigh(value)
            tensors, pure, scalars = weighed[id(value)]
            if tensors:
                found.append(Candidate(key, value, tensors, pure, scalars, above))
            if is_new and not pure:
                below += [
                    (f"{key}.{name}" if key else str(name), item, (*above, (value, name)))
                    for name, item in _children(value)
                ]
        level = below
    return found


def _weigh(value: Any) -> tuple[int, bool, bool]:
    """How many tensors a container holds itself, whether nothing else, and whether they are all scalars."""
    if is_module(value):
        return _MANY, False, False
    if not isinstance(value, dict) or "param_groups" in value:
        return 0, False, False
    pure = {*map(type, value)} == {str} and {*map(type, value.values())} <= REBUILT
    tensors = (
        [*value.values()]
        if pure
        else [item for name, item in value.items() if type(item) in REBUILT and type(name) is str]
    )
    return len(tensors), pure, all(type(item) is TensorStub and item.size == () for item in tensors)


def choose(candidates: list[Candidate], key: str | None, source: str) -> Candidate:
    """The candidate under `key`, or the likeliest one; there must be one at least.

    Raises:
        CheckpointError: there is none under `key`.
    """
    if key is not None:
        for candidate in candidates:
            if candidate.key == key:
                return candidate
        keys = [candidate.key or "'' (the top level)" for candidate in worthwhile(candidates)]
        shown = ", ".join(map(printable, keys[:20]))
        raise CheckpointError(
            f"{source} has no state_dict under the key {key!r}.",
            f"Choose one of: {shown}.",
        )
    # Beside the weights, a checkpoint may hold a tensor or two of its own, such as the best accuracy.
    most_below: dict[int, int] = {}
    for candidate in candidates:
        for container, _ in candidate.above:
            most_below[id(container)] = max(most_below.get(id(container), 0), candidate.tensors)
    standing = [c for c in candidates if c.tensors >= most_below.get(id(c.value), 0)]
    standing = [c for c in standing if not c.scalars] or standing
    return min(standing, key=_rank)


def worthwhile(candidates: list[Candidate]) -> list[Candidate]:
    """Those that a person may want to choose: without dicts of scalars, unless there is nothing else."""
    return [candidate for candidate in candidates if not candidate.scalars] or candidates


def labels(candidates: list[Candidate]) -> list[str]:
    """Their keys, for people."""
    return [candidate.key or "(the top level)" for candidate in worthwhile(candidates)]


def _rank(candidate: Candidate) -> tuple[int, int, int, int]:
    """What is wanted most is least: the top level, a familiar key, near the top, many tensors."""
    taken = [str(key) for _, key in candidate.above]
    last = taken[-1] if taken else ""
    if any(_COPY.search(key) for key in taken[:-1]):  # what an EMA holds is no model, whatever its key
        last = "ema"
    return (len(taken) > 0, _RANKS.get(last, len(_KEYS)), len(taken), -candidate.tensors)


def _children(value: Any) -> list[tuple[Any, Any]]:
    """The containers in a container, by key or index, less what is certainly no model."""
    items: Iterable[tuple[Any, Any]] = ()
    if isinstance(value, dict):
        items = value.items()
    elif isinstance(value, list | tuple) and len(value) <= _MAX_LIST:
        items = enumerate(value)
    containers = [(name, item) for name, item in items if isinstance(item, _CONTAINERS)]
    return [(name, item) for name, item in containers if type(name) is int or _may_lead(name)]


def _may_lead(name: Any) -> bool:
    return type(name) is str and not any(word in name.lower() for word in _NO_MODEL)
