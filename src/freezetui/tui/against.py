"""Against: compares the open checkpoint with an earlier one, in a process of its own."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path

from freezetui.config.paths import default_path
from freezetui.errors import FreezeTuiError, from_os_error
from freezetui.session.comparison import Comparison
from freezetui.session.loading import run_in_thread
from freezetui.session.session import Session
from freezetui.tui.values import CancelledError, Work

#: Characters of the other checkpoint's path.
_MAX_SOURCE = 40


class Against:
    """The comparison with `--against`, from its start to `session.comparison`.

    Args:
        session: whose options name the other checkpoint.
    """

    def __init__(self, session: Session) -> None:
        self._session = session
        self._work: Work | None = None
        self._promise: Future[Comparison] = Future()
        self._problem = ""

    @property
    def source(self) -> str:
        """The other checkpoint, as the user named it; a long path without its directories."""
        source = self._session.options.against or ""
        return source if len(source) <= _MAX_SOURCE else f"…{source[1 - _MAX_SOURCE :]}"

    @property
    def running(self) -> bool:
        """Whether it is comparing now."""
        return self._work is not None

    def start(self, done: Callable[[], object]) -> None:
        """Compare, if that was asked for; `done` is called in the thread of the work."""
        if self._session.options.against is None or self.running:
            return
        work = self._work = Work()
        self._problem = self._session.not_compared = ""
        promise = self._promise = Future()
        promise.add_done_callback(lambda _: done())
        run_in_thread(promise, lambda: _compared(self._session, work))

    def cancel(self) -> None:
        """Stop comparing."""
        if self._work is not None:
            self._work.cancel()
            self._work, self._problem = None, "cancelled"

    def settle(self) -> bool:
        """Take in the result if it has arrived, or why there is none; return whether the session changed.

        Raises:
            Exception: an unexpected error of the thread.
        """
        if self._work is None or not self._promise.done():
            return False
        self._work = None
        try:
            self._session.comparison = self._promise.result()
        except (FreezeTuiError, OSError) as error:
            self._problem = str(from_os_error(error) if isinstance(error, OSError) else error)
            self._session.not_compared = self._problem
        except CancelledError:
            return False
        return True

    def texts(self) -> list[str]:
        """Return how far it is, or what was found, in one line: in full, then shorter; `!` has all of it."""
        if self._work is not None:
            return [f"{self._work.progress or 'comparing'}… (Esc: cancel)"]
        found = self._session.comparison
        if found is None:
            return [self._problem]
        parts = found.summary()
        moved, statistics = len(found.changed_frozen), len(found.changed_statistics)
        shorter = [", ".join(parts[:2])]
        if statistics:
            weights = moved - statistics
            shorter.append(f"✗ {weights:,} frozen and {statistics:,} statistics changed (x: next)")
        shorter.append(f"✗ {moved:,} frozen changed (x: next)" if moved else found.verdict())
        return [", ".join(parts), *(f"{text} (!)" for text in shorter)]


def config_beside(session: Session) -> Path | None:
    """Return the config next to the other checkpoint, if the open one has none."""
    other = session.options.against
    if other is None or session.config is not None:
        return None
    found = default_path(other)
    return found if os.path.isfile(found) else None  # noqa: PTH113 (its name may be too long)


def _compared(session: Session, work: Work) -> Comparison:
    from freezetui.tui.comparing import compared  # the first screen needs none

    return compared(session, work)
