"""Regular expressions of `re`, written so that the `regex` package reads them in the same way.

The two differ in what follows, which the tests compare:

- Braces that are not a repetition, and `[` in a set, stand for themselves in `re`; `regex` would read
  `{e<=1}` as fuzzy matching and `[[:alpha:]]` as a POSIX class.
- `\\w` in `re` is a letter, a number or `_`; in `regex` it is a combining accent as well, but not a number
  such as one half. `\\b` follows `\\w`. `\\s` in `re` holds four control characters more.
- `\\W` and `\\S` within a set stay what they are in `regex`, as do characters that are younger than Python's
  Unicode tables, and `regex` takes a dotless i for an i where case is ignored.
"""

from __future__ import annotations

import re

_WORD = r"\p{L}\p{N}_"
_OUTSIDE = {
    r"\w": f"[{_WORD}]",
    r"\W": f"[^{_WORD}]",
    r"\s": r"[\s\x1c-\x1f]",
    r"\S": r"[^\s\x1c-\x1f]",
    r"\b": f"(?:(?<=[{_WORD}])(?![{_WORD}])|(?<![{_WORD}])(?=[{_WORD}]))",
    r"\B": f"(?:(?<=[{_WORD}])(?=[{_WORD}])|(?<![{_WORD}])(?![{_WORD}]))",
    "{": r"\{",
}
_INSIDE = {r"\w": _WORD, r"\s": r"\s\x1c-\x1f", "[": r"\[", "]": r"\]"}
_TOKEN = re.compile(
    r"""
      (?P<silent> \(\?\#[^)]*\) | \(\?[aiLmsux]+\) )
    | (?P<open> \(\?(?P<on>[aiLmsux]*)(?:-(?P<off>[imsx]+))?: | \(\?\([^)]*\) | \(\?P<[^>]*> | \(\?P=\w*
        | \(\?<?[=!] | \(\?> | \( )
    | (?P<close> \) )
    | (?P<branch> \| )
    | (?P<repeat> \{(?!\})(?P<least>\d*)(?:,\d*)?\} | [*+?] )
    | (?P<set> (?P<head>\[\^?)(?P<body>\]?(?:\\.|[^\]\\])*)\] )
    | (?P<line> \#[^\n]* )
    | (?P<item> \\N\{[^}]*\} | \\. | . )
    """,
    re.DOTALL | re.VERBOSE,
)
_KINDS = ("silent", "open", "close", "branch", "repeat", "set", "line", "item")
_IN_SET = re.compile(r"\\.|.", re.DOTALL)
_MAX_SIMPLE_REPEATS = 2
_MAX_SIMPLE_BRANCHES = 6


class Translation:
    """An expression that `re` has compiled, as `regex` shall read it.

    Args:
        source: the expression.
        verbose: whether it ignores whitespace and comments from its start.

    Attributes:
        text: for `regex`.
        items: how many it is compiled to, repetitions written out.
        simple: whether no name of 200 characters can take it long: few repetitions, none of a group.
    """

    def __init__(self, source: str, verbose: bool) -> None:
        # For each open group: the items in it, how many of them the last part has, and whether it is verbose.
        self._groups: list[list[int]] = [[0, 0, verbose]]
        self._repeats = self._branches = 0
        self._risky = verbose
        out, at, before = [], 0, ""
        while at < len(source):
            found = _TOKEN.match(source, at)
            assert found is not None
            kind = next(kind for kind in _KINDS if found[kind] is not None)
            token = found[0]
            if kind == "line" and not self._groups[-1][2]:
                kind, token = "item", "#"
            at += len(token)
            self._count(kind, found, before)
            before = kind
            if kind == "set":
                inside = (_INSIDE.get(c, c) for c in _IN_SET.findall(found["body"]))
                token = f"{found['head']}{''.join(inside)}]"
            out.append(_OUTSIDE.get(token, token))
        self.text = "".join(out)
        self.items = self._groups[0][0]
        self.simple = (
            not self._risky
            and self._repeats <= _MAX_SIMPLE_REPEATS
            and self._branches <= _MAX_SIMPLE_BRANCHES
        )

    def _count(self, kind: str, found: re.Match[str], before: str) -> None:
        """Count one token, which comes after one of the kind `before`."""
        group = self._groups[-1]
        if kind == "open":
            verbose = "x" in (found["on"] or "") or (bool(group[2]) and "x" not in (found["off"] or ""))
            self._groups.append([1, 0, verbose])
            self._risky |= verbose
        elif kind == "close" and len(self._groups) > 1:
            items = self._groups.pop()[0]
            self._groups[-1][0] += items
            self._groups[-1][1] = items
        elif kind == "branch":
            self._branches += 1
        elif kind == "repeat":
            self._repeats += before != "repeat"  # else it says how greedy that one is
            self._risky |= before == "close"
            more = group[1] * max(int(found["least"] or 0) - 1, 0)
            group[0] += more
            group[1] += more
        elif kind in ("set", "item"):
            group[0] += 1
            group[1] = 1
