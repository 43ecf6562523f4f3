"""Matches `re:` patterns: Python's `re` syntax, matched by the `regex` package, which has a timeout."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Sequence
from time import perf_counter, process_time

from freezetui.errors import PatternError
from freezetui.freeze.regex_syntax import Translation
from freezetui.text import printable, quoted, shortened

PREFIX = "re:"
_MAX_SECONDS = 2.0
#: Hints are useful only up to a number, and each takes as long as matching many patterns.
_MAX_SEARCHES = 20
_MAX_LENGTH = 10_000
_MAX_GROUPS = 1_000
#: Counted repetitions are expanded when compiled; this many items take 0.3 s.
_MAX_ITEMS = 50_000
#: Names up to this length need no timeout of their own if the expression is simple.
_MAX_UNTIMED = 200
#: Names without a timeout between two readings of the wall clock, and seconds between two readings of the CPU
#: clock: each reading takes as long as matching some names.
_NAMES_PER_READING = 16
_INTERVAL_S = 0.001

_LITERAL = re.compile(r"(?:[^.^$*+?{\[\\|()]|\\[^A-Za-z0-9])*", re.DOTALL)
_ESCAPE = re.compile(r"\\(.)", re.DOTALL)


class Budget:
    """Limits for all patterns of a config, or for one that is typed, together.

    They are CPU seconds for regular expressions, and searches for the closest names of patterns that match
    nothing. Not for use in two threads at the same time.
    """

    def __init__(self, seconds: float = _MAX_SECONDS) -> None:
        self.seconds = self.left = seconds
        self._searches = _MAX_SEARCHES

    def may_search(self) -> bool:
        """Whether to search the closest names for one more pattern that matches nothing."""
        self._searches -= 1
        return self._searches >= 0

    def spend(self, started: float) -> None:
        """Subtract the CPU time since `started`.

        Raises:
            TimeoutError: nothing is left.
        """
        self.left -= process_time() - started
        if self.left <= 0:
            raise TimeoutError


class Regex:
    """A parsed `re:` pattern.

    Args:
        text: including `re:`.
        budget: pays for compiling and matching.

    Attributes:
        literal: the only name that this can match, if every character is literal; else None.

    Raises:
        PatternError: it is not valid for `re`, is too large, or the budget is used up.
    """

    def __init__(self, text: str, budget: Budget) -> None:
        self._text, self._budget = text, budget
        source = text.removeprefix(PREFIX)
        self.literal = _ESCAPE.sub(r"\1", source) if _LITERAL.fullmatch(source) else None
        self._fullmatch: Callable[..., object] | None = None
        if self.literal is None:
            started = process_time()
            self._fullmatch, self._simple = self._compiled(source)
            try:
                budget.spend(started)
            except TimeoutError:
                raise self._overrun() from None

    def _compiled(self, source: str) -> tuple[Callable[..., object], bool]:
        """Return the method that matches one name, and whether it is fast on every short name."""
        import regex  # slow to import, and few patterns need it

        if len(source) > _MAX_LENGTH:
            raise self._error(f"is longer than {_MAX_LENGTH:,} characters")
        try:
            with warnings.catch_warnings():
                warnings.simplefilter(
                    "ignore"
                )  # of sets that may mean something else one day; not in `regex`
                known = re.compile(source)
            if known.groups > _MAX_GROUPS:
                raise self._error(f"has more than {_MAX_GROUPS:,} groups")
            found = Translation(source, bool(known.flags & re.VERBOSE))
            if found.items > _MAX_ITEMS:
                raise self._error(f"repeats more than {_MAX_ITEMS:,} items")
            return regex.compile(found.text, regex.VERSION0).fullmatch, found.simple
        except RecursionError:
            raise self._error("is nested too deeply") from None
        except (re.error, regex.error, ValueError, OverflowError) as error:
            problem = shortened(printable(str(error)))
            raise self._error(f"is not a valid regular expression: {problem}") from None

    def _error(self, problem: str) -> PatternError:
        return PatternError(
            f"pattern {quoted(self._text)} {problem}.",
            "Use a shorter or simpler expression in Python's re syntax.",
        )

    def _overrun(self) -> PatternError:
        return PatternError(
            f"pattern {quoted(self._text)} timed out: all regular expressions together may take "
            f"{self._budget.seconds:g} s.",
            "Simplify it, or use * and **.",
        )

    def matching(self, names: Sequence[str]) -> list[int]:
        """Return which of `names` this matches, as indices in order.

        Raises:
            PatternError: it takes longer than the budget allows.
        """
        budget, fullmatch = self._budget, self._fullmatch
        if fullmatch is None:
            return [index for index, name in enumerate(names) if name == self.literal]
        untimed = _MAX_UNTIMED if self._simple else -1
        found = []
        started, asked = process_time(), perf_counter()
        try:
            for index, name in enumerate(names):
                timed = len(name) > untimed
                if timed or index % _NAMES_PER_READING == 0:
                    now = perf_counter()
                    if now - asked > _INTERVAL_S:
                        budget.spend(started)
                        started, asked = process_time(), now
                if fullmatch(name, timeout=budget.left) if timed else fullmatch(name):
                    found.append(index)
            budget.spend(started)
        except TimeoutError:
            budget.left = 0.0
            raise self._overrun() from None
        return found
