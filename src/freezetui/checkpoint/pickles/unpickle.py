"""The inert unpickler: reads a pickle as data. Nothing that it names is imported or called."""

from __future__ import annotations

import io
import pickle
from mmap import mmap
from typing import Any, BinaryIO, NamedTuple, cast

from freezetui.checkpoint.pickles.budget import BudgetedReader
from freezetui.checkpoint.pickles.checked_dict import CheckedDict
from freezetui.checkpoint.pickles.forgetting import FORGET, CannotForgetError, forgetting
from freezetui.checkpoint.pickles.globals import MAX_FOREIGN, is_dangerous, is_foreign
from freezetui.checkpoint.pickles.opaque import CLASS_MAKERS, Opaque, class_maker, opaque_class, own_class
from freezetui.checkpoint.pickles.opcodes import SAFE_DICT, made_safe, walk
from freezetui.checkpoint.pickles.stubs import (
    STORAGES,
    STUBS,
    UnreadStub,
    rebuilds_a_tensor,
)
from freezetui.checkpoint.types import ITEMSIZE
from freezetui.errors import DOWNLOAD_AGAIN, CheckpointError, TruncatedError
from freezetui.text import printable

_MAX_PICKLE = 2**29
_MAX_GLOBALS = 20_000
#: With a buffer, the C unpickler reads ahead; without one, every opcode would be a call of `read`.
_BUFFER = 1 << 16


class Unpickled(NamedTuple):
    """The contents of one pickle.

    Attributes:
        value: the object, made of stubs.
        end: the offset of the pickle's end in the data.
        foreign: "module.name" of the globals that `is_foreign`, those known from attacks first.
        called: those of them that the pickle calls.
        storages: legacy only: storage key -> (bytes per element, elements).
    """

    value: Any
    end: int
    foreign: tuple[str, ...]
    called: tuple[str, ...]
    storages: dict[str, tuple[int, int]]


def read_pickle(
    data: bytes | mmap,
    source: str,
    start: int = 0,
    legacy: bool = False,
    given_back: bool = False,
    forgetful: bool = False,
) -> Unpickled:
    """Return the contents of the pickle that starts at `start`.

    Args:
        source: the file, for messages.
        legacy: whether the pickle is one of the run written by torch before 1.6.
        given_back: whether a map from `read_mapped` is given back to the system while it is read.
        forgetful: whether to empty the memo of a long pickle on the way, which halves what it needs.

    Raises:
        CannotForgetError: it must be read again, not forgetful.
        CheckpointError: the pickle is corrupt, truncated, or needs too much memory or time.
    """
    forgotten: dict[int, bytes] = {}
    try:
        walked = walk(data, start)
        if walked.end - start > _MAX_PICKLE:
            raise MemoryError
        if forgetful:
            forgotten = forgetting(data, start, walked)
        given = data if given_back and isinstance(data, mmap) and not start else None
        raw = BudgetedReader(made_safe(data, start, walked, forgotten), given)
        stream = cast(BinaryIO, io.BufferedReader(raw, _BUFFER))
        unpickler = _LegacyUnpickler(stream) if legacy else _Unpickler(stream)
        value = unpickler.load()
    except EOFError:
        raise TruncatedError(f"{source} is truncated.", DOWNLOAD_AGAIN) from None
    except (MemoryError, RecursionError):
        raise CheckpointError(
            f"{source} takes far more memory or time to read than a file of this size should.",
            "It may be malicious.",
        ) from None
    except Exception as error:  # a corrupt stream can raise anything
        if forgotten:
            raise CannotForgetError from None
        problem = printable(f"{type(error).__name__}: {error}"[:120])
        raise CheckpointError(
            f"{source} contains a corrupt pickle ({problem}).", "Download or save the file again."
        ) from None
    return Unpickled(value, walked.end, *unpickler.named(), unpickler.storages)


class _Unpickler(pickle.Unpickler):
    # torch's persistent id is ("storage", type, key, device, elements): this returns the tuple itself, raises
    # for anything else, and saves a Python call for each of 100,000 tensors.
    persistent_load = ().__add__

    def __init__(self, stream: BinaryIO) -> None:
        super().__init__(stream, encoding="utf-8", errors="replace")
        self._globals: dict[tuple[str, str], Any] = {}
        self._class_maker = class_maker()
        self._kept: tuple[Any, ...] = ()
        self._foreign: list[tuple[str, Any]] = []
        self._dangerous: list[tuple[str, Any]] = []
        self.storages: dict[str, tuple[int, int]] = {}

    def find_class(self, module: str, name: str) -> Any:
        """Return the stub of a global, the same one each time."""
        if module == FORGET:
            return self._forget if name == "all" else self._kept[int(name)]
        known = self._globals.get((module, name))
        if known is None:
            if len(self._globals) >= _MAX_GLOBALS:
                raise pickle.UnpicklingError("too many different globals")
            known = self._globals[module, name] = self._stub(module, name)
        return known

    def _forget(self, *kept: Any) -> None:
        """Empty the memo; `kept` is asked for next."""
        self._kept = kept
        self.memo.clear()

    def _stub(self, module: str, name: str) -> Any:
        if (module, name) == SAFE_DICT:
            return CheckedDict
        if module.partition(".")[0] == "torch" and name in STORAGES:
            return STORAGES[name]
        stub = STUBS.get((module, name))
        if isinstance(stub, type) and issubclass(stub, Opaque):
            stub = own_class(stub)
        if stub is None and rebuilds_a_tensor(name):
            stub = UnreadStub
        elif stub is None:
            stub = opaque_class(module, name) if name not in CLASS_MAKERS else self._class_maker
        if is_foreign(module, name):
            # Each kind is limited separately, so that many harmless names cannot hide a dangerous one.
            found = self._dangerous if is_dangerous(f"{module}.{name}") else self._foreign
            if len(found) < MAX_FOREIGN:
                found.append((printable(f"{module}.{name}"[:200]), stub))
        return stub

    def named(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Return the foreign globals, and those of them that the pickle calls, the dangerous ones first."""
        found = self._dangerous + self._foreign
        called = (name for name, stub in found if getattr(stub, "called", True))
        return tuple(name for name, _ in found), tuple(called)


class _LegacyUnpickler(_Unpickler):
    """Reads the pickles of torch before 1.6, where a persistent id may also be a class."""

    def persistent_load(self, pid: Any) -> Any:
        """Return the class's stub for ("module", class, file, source text); record a storage's size."""
        if type(pid) is not tuple or len(pid) < 2:
            raise pickle.UnpicklingError("unknown persistent id")
        if pid[0] == "module":
            return pid[1]
        _, dtype, key, _, elements, *_ = pid
        if type(key) is str and type(dtype) is str and type(elements) is int:
            self.storages.setdefault(key, (ITEMSIZE.get(dtype, 0), elements))
        return pid
