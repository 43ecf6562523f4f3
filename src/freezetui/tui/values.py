"""Values: statistics of a tensor's values, read in a thread on demand; at most one tensor at a time."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, InvalidStateError
from contextlib import suppress
from threading import Event
from typing import TYPE_CHECKING

import msgspec

from freezetui.checkpoint.types import Checkpoint, TensorInfo
from freezetui.errors import CheckpointError, FreezeTuiError, from_os_error
from freezetui.session.loading import run_in_thread
from freezetui.text import printable

if TYPE_CHECKING:
    from freezetui.diff.stats_report import TensorStats

#: Results that are kept for when the cursor comes back.
_MAX_KEPT = 500


class CancelledError(Exception):
    """The result is no longer wanted."""


class Work:
    """Something that runs in a thread and can be cancelled.

    Attributes:
        progress: how far it is, for display.
        cancelled: whether the result is no longer wanted.
        stop: ends the work at once; else it ends at its next report of progress.
    """

    def __init__(self) -> None:
        self.progress, self.cancelled = "", False
        self.stop: Callable[[], object] | None = None

    def cancel(self) -> None:
        """End the work."""
        self.cancelled = True
        if self.stop is not None:
            self.stop()

    def report(self, text: str) -> None:
        """Take a progress message.

        Raises:
            CancelledError: nobody wants the result anymore.
        """
        if self.cancelled:
            raise CancelledError
        self.progress = text


class Values:
    """The statistics of the tensors that the user asked for.

    Args:
        checkpoint: the open one.

    Attributes:
        not_finite: tensors found to have NaN or infinite values, with how many.
    """

    def __init__(self, checkpoint: Checkpoint) -> None:
        # What is missing is reported with the tensor that lacks it.
        self._checkpoint = msgspec.structs.replace(checkpoint, incomplete="")
        self._known: dict[str, list[str]] = {}
        self.not_finite: dict[str, str] = {}
        self._brief: dict[str, str] = {}
        self._running: tuple[str, Work] | None = None

    @property
    def running(self) -> str:
        """The name of the tensor that is being read; "" if none is."""
        return self._running[0] if self._running else ""

    def start(self, tensor: TensorInfo, done: Callable[[], object]) -> None:
        """Read a tensor in place of the one being read; `done` is called in the thread of the work."""
        self.cancel()
        self._known.pop(tensor.name, None)
        work = Work()
        self._running = tensor.name, work
        promise: Future[TensorStats] = Future()
        promise.add_done_callback(lambda _: done())
        self._promise = promise
        run_in_thread(promise, lambda: _read(self._checkpoint, tensor, work, promise))

    def cancel(self) -> None:
        """End what is being read, if anything is."""
        if self._running:
            self._running[1].cancel()
            self._running = None

    def hide(self, name: str) -> bool:
        """Forget a tensor's statistics; return whether there were any."""
        return self._known.pop(name, None) is not None

    def settle(self) -> None:
        """Take in the result, if it has arrived and is still wanted.

        Raises:
            Exception: an unexpected error of the thread.
        """
        if self._running is None or not self._promise.done():
            return
        name, _ = self._running
        self._running = None
        from freezetui.formatting.values import brief_line, value_lines

        try:
            stats = self._promise.result()
        except (FreezeTuiError, OSError) as error:
            problem = from_os_error(error) if isinstance(error, OSError) else error
            lines, brief = [str(problem)], str(problem)
        else:
            lines, brief = list(value_lines(stats)), brief_line(stats)
            if stats.nan or stats.inf:
                self.not_finite[name] = f"{stats.nan:,} NaN, {stats.inf:,} inf"
        self._known[name] = [printable(line) for line in lines]
        self._brief[name] = printable(brief)
        for old in list(self._known)[:-_MAX_KEPT]:
            del self._known[old]

    def lines(self, name: str) -> list[str]:
        """Return the statistics of a tensor, or how far reading it is; [] if nobody asked for them."""
        if self._running and self._running[0] == name:
            return [f"{self._running[1].progress or 'reading values'}… (V: cancel)"]
        return self._known.get(name, [])

    def brief(self, name: str) -> str:
        """Return the same in one line; "" if nobody asked."""
        known = self._brief.get(name, "") if name in self._known else ""
        return known or " ".join(self.lines(name))


def _read(
    checkpoint: Checkpoint, tensor: TensorInfo, work: Work, promise: Future[TensorStats]
) -> TensorStats:
    """Return the statistics of a tensor. numpy is imported here: the first screen needs none.

    Args:
        promise: is broken if the file is truncated meanwhile; this thread then never returns.
    """
    from freezetui.checkpoint.storage import open_weights
    from freezetui.diff.rewritten import ending_if_truncated
    from freezetui.diff.stats import tensor_stats

    def give_up(message: str) -> None:
        with suppress(InvalidStateError):  # nobody waits anymore
            promise.set_exception(CheckpointError(message))
        Event().wait()  # there is nothing to return to: the bytes are gone

    work.report("reading values")
    with ending_if_truncated(give_up), open_weights(checkpoint, urls=True) as weights:
        return tensor_stats(weights, tensor, work.report)
