"""Runs jobs on many bytes in a few threads, with progress; numpy releases the GIL while it computes."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from itertools import islice
from typing import NamedTuple, TypeVar

#: Receives short progress messages.
Progress = Callable[[str], None]

T = TypeVar("T")

_MAX_THREADS = 8
#: Queued jobs per thread.
_AHEAD = 4


class Job(NamedTuple):
    """A piece of work, and the number of bytes it reads."""

    work: Callable[[], None]
    nbytes: int


def run_jobs(jobs: Iterable[Job], total: int, what: str, progress: Progress) -> None:
    """Run all jobs; an error in one stops all of them, and so does Ctrl+C.

    Args:
        total: bytes of all jobs together.
        what: for the progress message, e.g. "comparing".
    """
    threads = thread_count()
    pool = ThreadPoolExecutor(threads)
    done = 0
    try:
        for nbytes in _results(pool, iter(jobs), threads * _AHEAD):
            done += nbytes
            progress(f"{what} {done / max(total, 1):.0%}")
    finally:
        pool.shutdown(cancel_futures=True)


def _results(pool: ThreadPoolExecutor, jobs: Iterator[Job], ahead: int) -> Iterator[int]:
    """Yield the bytes of each job as it ends; only a few are queued at any time."""
    running: dict[Future[None], int] = {}
    while True:
        for job in islice(jobs, ahead - len(running)):
            running[pool.submit(job.work)] = job.nbytes
        if not running:
            return
        for future in wait(running, return_when=FIRST_COMPLETED).done:
            future.result()
            yield running.pop(future)


def thread_count() -> int:
    """Return how many threads to use on this machine."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(_MAX_THREADS, allowed)


def spans(elements: int, step: int) -> Iterator[tuple[int, int]]:
    """Yield `0 .. elements` in pieces of `step`, as half-open ranges."""
    for start in range(0, elements, step):
        yield start, min(start + step, elements)
