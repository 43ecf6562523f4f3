"""ForkedReading: reads a checkpoint in a forked child, at the same time as this process imports its UI."""

from __future__ import annotations

import os
import signal
import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from operator import is_
from typing import NoReturn

import msgspec

from freezetui.checkpoint.columns import Columns
from freezetui.checkpoint.types import Checkpoint, TensorInfo
from freezetui.errors import CheckpointError, FreezeTuiError

#: Bytes before each message that say how long it is.
_LENGTH = 8
#: Tensors of a message: this process decodes one while the child encodes the next.
_CHUNK = 8192


class _Progress(msgspec.Struct, tag=True):
    text: str


class _Tensors(msgspec.Struct, tag=True):
    """Some tensors; `first` if those that have been sent before are not valid."""

    some: Sequence[TensorInfo]
    first: bool


class _Read(msgspec.Struct, tag=True):
    """The checkpoint, without the tensors that have been sent before it."""

    checkpoint: Checkpoint


class _Refused(msgspec.Struct, tag=True):
    message: str
    hint: str


class _Unexpected(msgspec.Struct, tag=True):
    """The child met an error that nobody foresaw, or cannot send what it has read."""


_Message = _Progress | _Tensors | _Read | _Refused | _Unexpected


def fork_reading(sources: Sequence[str], key: str | None) -> ForkedReading | None:
    """Start reading a checkpoint in a child; None where a process cannot be forked, or not safely.

    Args:
        sources, key: as for `open_checkpoint`.
    """
    if not hasattr(os, "fork") or threading.active_count() > 1:
        return None
    try:
        return ForkedReading(sources, key)
    except OSError:  # too many processes or open files
        return None


class ForkedReading:
    """A child that reads a checkpoint; it ends with this process, whatever ends it.

    Attributes:
        pid: of the child.
        columns: of the tensors that have arrived.

    Raises:
        OSError: the system refuses another process.
    """

    def __init__(self, sources: Sequence[str], key: str | None) -> None:
        self._sources, self._signal, self.columns = sources, "", Columns()
        self._socket, theirs = socket.socketpair()
        self.pid = os.fork()
        if self.pid == 0:
            self._socket.close()
            _serve(theirs, sources, key)
        theirs.close()

    def result(self, progress: Callable[[str], None]) -> Checkpoint | None:
        """Wait for the checkpoint; None if the child could not read it, for a reason to be seen here.

        Args:
            progress: as for `open_checkpoint`.

        Raises:
            FreezeTuiError: as `open_checkpoint`, or the child was killed.
        """
        try:
            while isinstance(message := self._receive(), _Progress | _Tensors):
                if isinstance(message, _Progress):
                    progress(message.text)
                else:
                    if message.first:
                        self.columns.clear()
                    self.columns.add(message.some)
        finally:
            self._socket.close()
            # It takes a moment to give back its memory, which nobody needs to wait for.
            ended = threading.Thread(target=self._reap, daemon=True)
            ended.start()
        if isinstance(message, _Refused):
            raise CheckpointError(message.message, message.hint)
        if message is None:
            ended.join()
            if self._signal:
                raise CheckpointError(
                    f"{', '.join(self._sources)}: the process that read it was ended by {self._signal}.",
                    "Look whether memory ran out.",
                )
        if not isinstance(message, _Read):
            return None
        return msgspec.structs.replace(message.checkpoint, tensors=tuple(self.columns.tensors))

    def _reap(self) -> None:
        _, status = os.waitpid(self.pid, 0)
        if os.WIFSIGNALED(status):
            self._signal = signal.Signals(os.WTERMSIG(status)).name

    def _receive(self) -> _Message | None:
        """Return the next message; None if the child has ended."""
        length = int.from_bytes(self._take(_LENGTH), "little")
        data = self._take(length)
        return msgspec.msgpack.decode(data, type=_Message) if data else None

    def _take(self, length: int) -> bytearray:
        """Return so many bytes; fewer if the child has ended."""
        taken = bytearray(length)
        size = 0
        # In one call: each one waits until the imports beside it give way to this thread.
        while size < length and (
            more := self._socket.recv_into(memoryview(taken)[size:], 0, socket.MSG_WAITALL)
        ):
            size += more
        return taken if size == length else bytearray()


def _serve(peer: socket.socket, sources: Sequence[str], key: str | None) -> NoReturn:
    """Read the checkpoint, send it, and end this process."""
    try:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # ends with its parent, which decides
        nowhere = os.open(os.devnull, os.O_RDWR)
        for standard in (0, 1, 2):
            os.dup2(nowhere, standard)
        threading.Thread(target=_end_with, args=(peer,), daemon=True).start()
        for message in _read(peer, sources, key):
            peer.sendall(message)
    finally:
        os._exit(0)


def _end_with(peer: socket.socket) -> None:
    """End this process as soon as the other one has."""
    peer.recv(1)
    os._exit(0)


def _read(peer: socket.socket, sources: Sequence[str], key: str | None) -> Iterator[bytes]:
    """Yield the messages that send the checkpoint, or say why not; send what is known earlier on the way."""
    from freezetui.checkpoint.open import open_checkpoint

    sent: list[TensorInfo] = []

    def tell(text: str) -> None:
        peer.sendall(_encode(_Progress(text)))

    def found(some: Sequence[TensorInfo]) -> None:
        peer.sendall(_encode(_Tensors(some, not sent)))
        sent.extend(some)

    try:
        checkpoint = open_checkpoint(sources, key=key, progress=tell, found=found)
        tensors = checkpoint.tensors
        if len(sent) != len(tensors) or not all(map(is_, sent, tensors)):
            for low in range(0, max(1, len(tensors)), _CHUNK):
                yield _encode(_Tensors(tensors[low : low + _CHUNK], not low))
        yield _encode(_Read(msgspec.structs.replace(checkpoint, tensors=())))
    except FreezeTuiError as error:
        yield _encode(_Refused(error.message, error.hint))
    except Exception:
        yield _encode(_Unexpected())


def _encode(message: _Message) -> bytes:
    data = msgspec.msgpack.encode(message)
    return len(data).to_bytes(_LENGTH, "little") + data
