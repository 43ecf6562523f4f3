"""Summaries of the non-weight entries of a checkpoint: optimizer, epoch and the like."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from freezetui import numbers
from freezetui.checkpoint.pickles.checked_dict import OddKey
from freezetui.checkpoint.pickles.opaque import Opaque
from freezetui.checkpoint.state_dict.arrays import ARRAYS
from freezetui.checkpoint.state_dict.buffers import BufferDetector
from freezetui.checkpoint.state_dict.quantized import is_packed
from freezetui.checkpoint.state_dict.search import Candidate
from freezetui.checkpoint.state_dict.tensor_reader import REBUILT, TensorReader
from freezetui.checkpoint.types import SkippedEntry
from freezetui.text import printable

_MAX_ENTRIES = 100
_MAX_VISITED = 2_000_000
_MAX_LENGTH = 60
_CONTAINERS = (dict, list, tuple, Opaque)


class Summary:
    """Describes values; all descriptions of one summary share one budget of visits."""

    def __init__(self) -> None:
        self._reader = TensorReader(BufferDetector(()))
        self._left = _MAX_VISITED

    def skipped(self, chosen: Candidate) -> tuple[SkippedEntry, ...]:
        """Return the entries beside the chosen dict at each level, and what is not a tensor inside it."""
        entries: list[tuple[str, Any]] = []
        prefix = ""
        for container, taken in chosen.above:
            items = container.items() if isinstance(container, dict) else enumerate(container)
            entries += [(prefix + _label(key), value) for key, value in items if key is not taken]
            prefix += f"{taken}."
        if isinstance(chosen.value, dict) and not chosen.pure:
            items = chosen.value.items()
            entries += [
                (prefix + _label(k), v)
                for k, v in items
                if type(k) is not str or (type(v) not in REBUILT and not is_packed(k, v))
            ]
        skipped = [SkippedEntry(key, self.what(value)) for key, value in entries[:_MAX_ENTRIES]]
        if len(entries) > _MAX_ENTRIES:
            skipped.append(SkippedEntry("...", f"{len(entries) - _MAX_ENTRIES:,} more"))
        return tuple(skipped)

    def what(self, value: Any) -> str:
        """Return a value in a few words: its tensors and their bytes if it has any."""
        if value is None or isinstance(value, bool | float) or (type(value) is int and abs(value) < 10**30):
            return str(value)
        if isinstance(value, type) and issubclass(value, Opaque):  # a dtype, a class
            return printable(f"{value.__module__}.{value.__name__}"[:200])
        if isinstance(value, str):
            return printable(repr(value[:_MAX_LENGTH]))
        if type(value) in ARRAYS:
            return self._reader.described(value)
        if type(value) not in REBUILT and not isinstance(
            value, dict | list | tuple | set | frozenset | Opaque
        ):
            return f"{type(value).__name__} value"
        tensors, nbytes = self._tally(value)
        if tensors:
            return f"{numbers.plural(tensors, 'tensor')}, {numbers.size(nbytes)}"
        if isinstance(value, Opaque):
            return printable(f"{type(value).__module__}.{type(value).__name__}"[:200]) + " object"
        kind = "dict" if isinstance(value, dict) else type(value).__name__
        return f"{kind} of {numbers.plural(len(value), 'entry', 'entries')}"

    def _tally(self, root: Any) -> tuple[int, int]:
        """Return the number of tensors in a value, and their bytes."""
        tensors = nbytes = 0
        stack: list[Any] = [(root,)]
        seen: set[int] = set()
        while stack and self._left > 0:
            parts = _parts(stack.pop())
            self._left -= 1 + len(parts)
            for part in parts:
                if type(part) in REBUILT:
                    tensors += 1
                    nbytes += self._reader.nbytes(part)
                elif isinstance(part, _CONTAINERS) and id(part) not in seen:
                    seen.add(id(part))
                    stack.append(part)
        return tensors, nbytes


def _parts(container: Any) -> Collection[Any]:
    if isinstance(container, dict):
        return container.values()
    return (container.state, container.args, container.items) if isinstance(container, Opaque) else container


def _label(key: Any) -> str:
    """Return a dict's key for display; keys may be anything, and huge."""
    if type(key) is str or (type(key) is int and abs(key) < 10**30):
        return printable(str(key)[:200])
    return printable(f"({key.kind if isinstance(key, OddKey) else type(key).__name__})")
