"""Limits what an fsspec backend returns: no more than was requested, within the time that is left."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from freezetui.checkpoint.memory import resident
from freezetui.checkpoint.sources.base import MAX_FILES

#: Resident bytes that the process may gain during one request: a base, and per requested byte. Sixteen
#: headers are read and decoded at the same time.
_BASE_BYTES, _BYTES_PER_BYTE = 1 << 30, 8
_INTERVAL_S = 0.05

T = TypeVar("T")


class TooMuchError(Exception):
    """A backend returns more than was requested."""


def answer(ask: Callable[[], T], seconds: float, asked: int = 0) -> T:
    """Return what `ask` returns, or raise what it raises.

    A backend cannot be stopped: a request beyond its limits goes on in a daemon thread, until the program
    ends with the error that is raised here.

    Args:
        seconds: how long it may take.
        asked: how many bytes are requested.

    Raises:
        TimeoutError: it takes longer.
        TooMuchError: the process gains far more memory in the meantime than was requested.
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
            raise TooMuchError("the server sent more than was requested")
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
        raise TooMuchError("the server sent more than was requested")
    return data


def status(info: Any) -> dict[str, Any]:
    """Return a backend's description of a path, with a `type`, and a `size` in bytes or None."""
    described = dict(info) if isinstance(info, Mapping) else {}
    size = described.get("size")
    is_size = type(size) is int and 0 <= size < 2**63
    return {**described, "type": str(described.get("type")), "size": size if is_size else None}


def sizes(entries: Any) -> dict[str, int]:
    """Return the size in bytes of each file that a backend lists, by its name; 0 if it gives none."""
    found = {}
    for _, entry in zip(range(MAX_FILES), entries, strict=False):
        described = status(entry)
        if described["type"] == "file" and isinstance(described.get("name"), str):
            found[described["name"].rpartition("/")[2]] = described["size"] or 0
    return found
