"""Changes an input by what the error about it says, until the model accepts it or the attempts run out."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from inspect import Parameter, signature
from math import gcd, prod
from time import monotonic
from typing import Any

from torch import nn

from freezetui.models.inputs.draws import Candidate, Draw, changed, draws_of
from freezetui.models.inputs.hints import Hint, hint_of
from freezetui.models.inputs.own_inputs import drawn_by_name
from freezetui.models.inputs.trial import Failure

#: Bounds of one search: forward passes, seconds, and elements of one input's example.
_MAX_RUNS, _MAX_SECONDS, _MAX_ELEMENTS = 60, 8.0, 4_000_000

_VARIABLE = (Parameter.VAR_POSITIONAL, Parameter.VAR_KEYWORD)

#: Which dimensions of which draws are changed together.
_Place = tuple[tuple[int, ...], tuple[int, ...]]


class Mender:
    """Mends candidates for one model.

    Args:
        model: whose optional arguments may be missing.
        fails: runs a candidate; None if it is accepted.
        until: the point in time (`time.monotonic`) at which to stop.
    """

    def __init__(
        self, model: nn.Module, fails: Callable[[Candidate], Failure | None], until: float | None = None
    ) -> None:
        self._model, self._fails = model, fails
        self._until = min(until or float("inf"), monotonic() + _MAX_SECONDS)
        self._left = _MAX_RUNS
        self._seen: set[str] = set()

    def mend(self, candidate: Candidate, failure: Failure) -> Candidate | None:
        """Return a candidate that is accepted, or None."""
        while True:
            better = self._improved(candidate, failure)
            if better is None:
                return None
            candidate, next_failure = better
            if next_failure is None:
                return candidate
            failure = next_failure

    def _improved(self, candidate: Candidate, failure: Failure) -> tuple[Candidate, Failure | None] | None:
        """Return a changed candidate that gets further."""
        hint = hint_of(failure.error)
        if hint.kind == "sizes":
            found = self._solved(candidate, failure, hint)
            if found is not None:
                return found
        other_error = None
        for other in self._others(candidate, hint):
            result = self._run(other)
            if result is _STOP:
                break
            if result is None or result.entered > failure.entered:
                return other, result
            if other_error is None and self._is_better(result, failure, hint):
                other_error = other, result
        return other_error

    def _is_better(self, result: Any, failure: Failure, hint: Hint) -> bool:
        if result.entered != failure.entered:
            return False
        changed_kind = hint.kind == "higher" or hint_of(result.error).kind != hint.kind
        return changed_kind and str(result.error) != str(failure.error)

    def _run(self, candidate: Candidate) -> Any:
        """Return the failure, None if it is accepted, or `_STOP`; each candidate runs once."""
        key = repr((candidate.args, candidate.kwargs))
        if self._left <= 0 or monotonic() > self._until:
            return _STOP
        large = any(_elements(draw) > _MAX_ELEMENTS for draw in draws_of((candidate.args, candidate.kwargs)))
        if key in self._seen or large:
            return Failure(ValueError(), -1)
        self._seen.add(key)
        self._left -= 1
        return self._fails(candidate)

    def _others(self, candidate: Candidate, hint: Hint) -> Iterator[Candidate]:
        """Yield the candidates that a hint without sizes suggests."""
        draws = list(draws_of((candidate.args, candidate.kwargs)))
        if hint.kind == "missing":
            yield from self._completed(candidate, hint.name)
        if hint.kind == "key":
            yield from _keyed(self._model, candidate, hint.name)
        if hint.kind == "bound":
            every = changed((candidate.args, candidate.kwargs), _small)
            yield Candidate(*every)
        for i, draw in enumerate(draws):
            for other in _variants(self._model, draw, hint):
                yield _with(candidate, i, other)

    def _completed(self, candidate: Candidate, message: str) -> Iterator[Candidate]:
        """Yield the candidate with one more of the optional inputs; one that the message names first."""
        parameters = list(signature(self._model.forward).parameters.values())
        later = parameters[len(candidate.args) :]
        absent = [p for p in later if p.name not in candidate.kwargs and p.kind not in _VARIABLE]
        names = [p.name for p in absent if p.default in (None, Parameter.empty)]
        names.sort(key=lambda each: re.search(rf"\b{each}\b", message) is None)
        for each in names[:8]:
            for draw in drawn_by_name(self._model, each)[:2]:
                yield candidate._replace(kwargs={**candidate.kwargs, each: draw})

    def _solved(
        self, candidate: Candidate, failure: Failure, hint: Hint
    ) -> tuple[Candidate, Failure | None] | None:
        """Return the candidate with one size changed so that the two sizes of the hint are equal."""
        draws = list(draws_of((candidate.args, candidate.kwargs)))
        for place in _places(draws, hint):
            numbers, axes = place
            size = draws[numbers[0]].shape[axes[0]]
            guesses = [hint.right] if size == hint.left else [hint.left] if size == hint.right else []
            for guess in guesses:
                other = _sized(candidate, place, guess)
                result = self._run(other)
                if result is _STOP:
                    return None
                if result is None or result.entered > failure.entered:
                    return other, result
            found = self._bisected(candidate, place, size, failure, hint)
            if found is not None:
                return found
        return None

    def _bisected(
        self, candidate: Candidate, place: _Place, size: int, failure: Failure, hint: Hint
    ) -> tuple[Candidate, Failure | None] | None:
        """Search one size; the difference of the hint's sizes grows or falls with it, or does not change."""
        difference = hint.left - hint.right
        known = {size: difference}

        def at(n: int) -> tuple[Candidate, Any]:
            other = _sized(candidate, place, n)
            result = self._run(other)
            if result is not None and result is not _STOP and result.entered == failure.entered:
                found = hint_of(result.error)
                if found.kind == "sizes":
                    known[n] = found.left - found.right
            return other, result

        def done(result: Any) -> bool:
            return result is None or (result is not _STOP and result.entered > failure.entered)

        step = max(1, size // 2)
        for n in (size + step, max(1, size - step)):
            other, result = at(n)
            if done(result):
                return other, result
            if result is _STOP:
                return None
            if known.get(n, difference) != difference:
                break
        else:
            return None
        for _ in range(14):
            chosen = _next(known)
            if chosen is None:
                return None
            other, result = at(chosen)
            if done(result):
                return other, result
            if result is _STOP or chosen not in known:
                return None
        return None


_STOP: Any = object()


def _next(known: dict[int, int]) -> int | None:
    """Return the size to try next, given size -> difference: by bisection, else by the slope."""
    below = [n for n, d in known.items() if d < 0]
    above = [n for n, d in known.items() if d > 0]
    if below and above:
        one, other = min(((a, b) for a in below for b in above), key=lambda pair: abs(pair[0] - pair[1]))
        if abs(one - other) <= 1:
            return None
        linear = one - known[one] * (other - one) / (known[other] - known[one])
        low, high = sorted((one, other))
        return min(high - 1, max(low + 1, round(linear)))
    (first, d1), (second, d2) = sorted(known.items(), key=lambda pair: abs(pair[1]))[:2]
    if d1 == d2:
        return None
    guess = round(first - d1 * (second - first) / (d2 - d1))
    guess = max(1, min(guess, 4 * max(first, second)))
    return None if guess in known else guess


def _places(draws: list[Draw], hint: Hint) -> list[_Place]:
    """Return the sizes that may be changed: those that are in the message first, squares before sides.

    Inputs of the same shape change together, then each alone.
    """
    places: list[_Place] = []
    for i, draw in enumerate(draws):
        rank = len(draw.shape)
        alike = tuple(j for j, other in enumerate(draws) if other.shape == draw.shape and rank)
        groups = [alike, (i,)] if len(alike) > 1 and alike[0] == i else [(i,)]
        for numbers in groups:
            if rank >= 3 and draw.kind in ("normal", "uniform") and len(set(draw.shape[1:])) == 1:
                places.append((numbers, tuple(range(1, rank))))
            places += [(numbers, (axis,)) for axis in reversed(range(rank))]
    sizes = (hint.left, hint.right)
    return sorted(places, key=lambda place: draws[place[0][0]].shape[place[1][0]] not in sizes)


def _sized(candidate: Candidate, place: _Place, size: int) -> Candidate:
    """Return the candidate with another size of some draws."""
    numbers, axes = place
    draws = list(draws_of((candidate.args, candidate.kwargs)))
    for number in numbers:
        draw = draws[number]
        for axis in axes:
            draw = draw.resized(axis, max(1, size))
        candidate = _with(candidate, number, draw)
    return candidate


def _keyed(model: nn.Module, candidate: Candidate, key: str) -> Iterator[Candidate]:
    """Yield the candidate with one more key in its first dict, or with a dict in place of its first input."""
    for draw in drawn_by_name(model, key)[:6]:
        for i, arg in enumerate(candidate.args):
            keys = {**arg, key: draw} if isinstance(arg, dict) else {key: draw}
            yield Candidate((*candidate.args[:i], keys, *candidate.args[i + 1 :]), candidate.kwargs)
            if isinstance(arg, dict):
                break


def _with(candidate: Candidate, number: int, other: Draw) -> Candidate:
    """Return the candidate with another draw at one place."""
    count = iter(range(1_000_000))
    args, kwargs = changed(
        (candidate.args, candidate.kwargs), lambda draw: other if next(count) == number else draw
    )
    return Candidate(args, kwargs)


def _variants(model: nn.Module, draw: Draw, hint: Hint) -> Iterator[Draw]:
    """Yield a draw as a hint wants it."""
    if hint.kind == "integers" and draw.kind != "integers":
        rows = [m.num_embeddings for m in model.modules() if isinstance(m, nn.Embedding)]
        yield replace(draw, kind="integers", high=min(rows, default=2), dtype=None)
    elif hint.kind == "floats" and draw.kind not in ("normal", "uniform"):
        yield replace(draw, kind="normal", dtype=None)
    elif hint.kind == "higher":
        yield replace(draw, shape=(1, *draw.shape))
        yield replace(draw, shape=(*draw.shape, 1))
        if draw.batch is None:
            yield replace(draw, batch=0)
        yield replace(draw, shape=(4, *draw.shape))
        yield replace(draw, shape=(16, *draw.shape))
    elif hint.kind == "lower" and draw.shape:
        yield replace(draw, shape=draw.shape[1:])
        yield replace(draw, shape=draw.shape[:-1])
        if draw.batch is not None:
            yield replace(draw, batch=None)
    elif hint.kind == "bound":
        if draw.kind == "integers" and draw.high > 2:
            yield replace(draw, high=2)
        for part in (2, 4, 8):
            if draw.shape and draw.shape[-1] >= 2 * part:
                yield draw.resized(-1, draw.shape[-1] // part)
    elif hint.kind == "sizes" and len(draw.shape) == 3 and draw.kind != "integers":  # channels last
        yield replace(draw, shape=(*draw.shape[1:], draw.shape[0]))
    elif hint.kind == "divisible":
        if hint.right and len(draw.shape) == 1:
            yield replace(draw, shape=(hint.right,))
        for size in (32, 64, 24, 48, 12, 128):
            rank = len(draw.shape)
            for axes in [range(1, rank)] if rank > 2 else [[axis] for axis in range(rank)]:
                other = draw
                for axis in axes:
                    other = other.resized(axis, size)
                yield other
        if hint.right:  # of a batch of two
            yield replace(draw, shape=(hint.right // gcd(max(1, hint.left // 2), hint.right), *draw.shape))


def _small(draw: Draw) -> Draw:
    return replace(draw, high=min(draw.high, 2), low=0) if draw.kind == "integers" else draw


def _elements(draw: Draw) -> int:
    return prod(draw.shape)
