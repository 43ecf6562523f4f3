"""What a backend of fsspec returns: no more than was asked for, within the time that is left."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from freezetui.checkpoint.memory import resident
from freezetui.checkpoint.sources.base import MAX_FILES

#: Memory that the process may gain while one answer is awaited: a base, and for each byte that was asked for.
#: Sixteen headers are read and decoded at the same time.
_BASE_BYTES, _BYTES_PER_BYTE = 1 << 30, 8
_INTERVAL_S = 0.05

T = TypeVar("T")


class TooMuchError(Exception):
    """A backend returns more than it was asked for."""


def answer(ask: Callable[[], T], seconds: float, asked: int = 0) -> T:
    """Return what `ask` returns, or raise what it raises.

    A backend cannot be stopped: what takes too long or too much is left behind in a daemon thread, and the
    error that is raised here ends the program.

    Args:
        seconds: it may take.
        asked: the bytes that were asked for.

    Raises:
        TimeoutError: it takes longer.
        TooMuchError: the process gains far more memory meanwhile than was asked for.
    """
    returned: list[T] = []
    raised: list[BaseException] = []

    def work() -> None:
        try:
            returned.append(ask())
        except BaseException as error:
            raised.append(error)

    limit = resident() + _BASE_BYTES + _BYTES_PER_BYTE * asked
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    while thread.is_alive():
        thread.join(min(_INTERVAL_S, max(seconds, 0.0)))
        seconds -= _INTERVAL_S
        if resident() > limit:
            raise TooMuchError("the server sends more than was asked for")
        if seconds < 0 and thread.is_alive():
            raise TimeoutError
    if raised:
        raise raised[0]
    return returned[0]


def exactly(file: Any, start: int, stop: int) -> bytes:
    """Return the bytes of an open file from `start` to `stop`; fewer if there are fewer.

    Raises:
        TooMuchError: the backend returns more.
    """
    file.seek(start)
    data = bytes(file.read(stop - start))
    if len(data) > stop - start:
        raise TooMuchError("the server sends more than was asked for")
    return data


def status(info: Any) -> dict[str, Any]:
    """Return what a backend says of a path, with a `type`, and a `size` that is a size or None."""
    told = dict(info) if isinstance(info, Mapping) else {}
    size = told.get("size")
    is_size = type(size) is int and 0 <= size < 2**63
    return {**told, "type": str(told.get("type")), "size": size if is_size else None}


def sizes(entries: Any) -> dict[str, int]:
    """Return the bytes of each file that a backend lists, by its name; 0 if it does not say."""
    found = {}
    for _, entry in zip(range(MAX_FILES), entries, strict=False):
        told = status(entry)
        if told["type"] == "file" and isinstance(told.get("name"), str):
            found[told["name"].rpartition("/")[2]] = told["size"] or 0
    return found
