"""Runs jobs on many bytes in a few threads, with progress; numpy releases the GIL while it computes."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Iterator
from queue import SimpleQueue
from threading import Lock, Thread
from typing import NamedTuple

#: Receives short progress messages.
Progress = Callable[[str], None]

_MAX_THREADS = 8
#: Fewer bytes than this are processed faster without threads.
_MAX_ALONE = 1 << 18
#: Seconds between two switches of the interpreter's lock.
_SWITCH = 0.0005


class Job(NamedTuple):
    """A piece of work, and the number of bytes it reads."""

    work: Callable[[], None]
    nbytes: int


def run_jobs(jobs: Iterable[Job], total: int, what: str, progress: Progress, in_order: bool = False) -> None:
    """Run all jobs; an error in one stops all of them, and so does Ctrl+C.

    Args:
        total: bytes of all jobs together.
        what: for the progress message, e.g. "comparing".
        in_order: in one thread; an error does not wait for it, since it may be waiting for a server.
    """
    if total <= _MAX_ALONE:
        for job in jobs:
            job.work()
        return
    # Jobs run without the interpreter's lock for a millisecond at a time: one that holds it, such as an
    # import, must not keep the others waiting for longer than that.
    interval = sys.getswitchinterval()
    sys.setswitchinterval(_SWITCH)
    crew = _Crew(iter(jobs), 1 if in_order else thread_count())
    done = 0
    try:
        for nbytes in crew.results():
            done += nbytes
            progress(f"{what} {done / max(total, 1):.0%}")
    finally:
        crew.stop(wait=not in_order)
        sys.setswitchinterval(interval)


class _Crew:
    """A few threads that take jobs from one list.

    Not concurrent.futures, whose import takes as long as it takes to compare a hundred megabytes.
    """

    def __init__(self, jobs: Iterator[Job], threads: int) -> None:
        self._jobs, self._lock, self._stopped = jobs, Lock(), False
        self._done: SimpleQueue[int | BaseException | None] = SimpleQueue()
        self._threads = [Thread(target=self._work, daemon=True) for _ in range(threads)]
        for thread in self._threads:
            thread.start()

    def results(self) -> Iterator[int]:
        """Yield the bytes of each job as it ends; raise what a job raised."""
        at_work = len(self._threads)
        while at_work:
            result = self._done.get()
            if isinstance(result, BaseException):
                raise result
            if result is None:
                at_work -= 1
            else:
                yield result

    def stop(self, wait: bool) -> None:
        """Start no further job, and wait for those that are running if asked to."""
        self._stopped = True
        for thread in self._threads if wait else ():
            thread.join()

    def _work(self) -> None:
        try:
            while (job := self._next()) is not None:
                job.work()
                self._done.put(job.nbytes)
        except BaseException as error:  # raised in the waiting thread
            self._done.put(error)
        else:
            self._done.put(None)

    def _next(self) -> Job | None:
        with self._lock:
            return None if self._stopped else next(self._jobs, None)


def thread_count() -> int:
    """Return how many threads to use on this machine."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(_MAX_THREADS, allowed)


def spans(elements: int, step: int) -> Iterator[tuple[int, int]]:
    """Yield `0 .. elements` in pieces of `step`, as half-open ranges."""
    for start in range(0, elements, step):
        yield start, min(start + step, elements)
