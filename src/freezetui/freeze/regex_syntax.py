"""Translates regular expressions of `re` so that the `regex` package matches the same.

The two differ as follows, and tests compare them:

- Braces that are not a repetition, and `[` in a set, are literal in `re`; `regex` would read `{e<=1}` as
  fuzzy matching and `[[:alpha:]]` as a POSIX class.
- `\\w` in `re` is a letter, a number or `_`; in `regex` it includes combining accents, but not numbers such
  as one half. `\\b` follows `\\w`. `\\s` in `re` has four more control characters.
- `regex` has no verbose groups, `(?x: )`: whitespace and comments are removed.

These differences remain: characters newer than Python's Unicode tables; a dotless i equals an i if case is
ignored; `\\B` matches the empty text, as in `re` from Python 3.14 on; a back reference to a group that a
repetition only matched with the empty text fails, while `re` takes it as empty.
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
_INSIDE = {r"\w": _WORD, r"\s": r"\s\x1c-\x1f", r"\W": "", r"\S": "", "[": r"\[", "]": r"\]"}
_TOKEN = re.compile(
    r"""
      (?P<silent> \(\?\#[^)]*\) )
    | (?P<flags> \(\?[aiLmsux]+\) )
    | (?P<open> \(\?(?P<on>[aiLmsux]*)(?:-(?P<off>[imsx]+))?: | \(\?\([^)]*\) | \(\?P<[^>]*> | \(\?P=\w*
        | \(\?<?[=!] | \(\?> | \( )
    | (?P<close> \) )
    | (?P<branch> \| )
    | (?P<repeat> \{(?!\})(?P<least>\d*)(?:,\d*)?\} | [*+?] )
    | (?P<set> (?P<head>\[\^?)(?P<body>\]?(?:\\.|[^\]\\])*)\] )
    | (?P<line> \#[^\n]* )
    | (?P<item> \\N\{[^}]*\} | \\[0-9]{1,3} | \\. | . )
    """,
    re.DOTALL | re.VERBOSE,
)
_KINDS = ("silent", "flags", "open", "close", "branch", "repeat", "set", "line", "item")
_WHITESPACE = frozenset(" \t\n\r\v\f")
_NUMBER = re.compile(r"\\[0-9]+")
_IN_SET = re.compile(r"\\.|.", re.DOTALL)
_MAX_SIMPLE_REPEATS = 2
_MAX_SIMPLE_BRANCHES = 4


class Translation:
    """An expression that `re` accepts, translated for `regex`.

    Args:
        source: the expression.
        verbose: whether it ignores whitespace and comments from its start.

    Attributes:
        text: for `regex`.
        items: how many it compiles to, with repetitions expanded.
        simple: whether it is fast on any name of 200 characters: few repetitions, none of a group.
    """

    def __init__(self, source: str, verbose: bool) -> None:
        # For each open group: the items in it, how many of them the last part has, and whether it is verbose.
        self._groups: list[list[int]] = [[0, 0, verbose]]
        self._repeats = self._branches = 0
        self._risky: bool = verbose
        out: list[str] = []
        at, before = 0, ""
        while at < len(source):
            found = _TOKEN.match(source, at)
            assert found is not None
            kind = next(kind for kind in _KINDS if found[kind] is not None)
            token, verbose = found[0], bool(self._groups[-1][2])
            if kind == "line" and not verbose:
                kind, token = "item", "#"
            at += len(token)
            if kind in ("silent", "line") or (kind == "item" and verbose and token in _WHITESPACE):
                continue
            self._count(kind, found, before)
            before = kind
            if kind == "item" and token.isdigit() and out and _NUMBER.fullmatch(out[-1]):
                token = f"[{token}]"  # may have been separate from a group's number
            out.append(_rewritten(kind, token, found))
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
        if kind == "open":  # repeating it is slow, and so are verbose groups: no need to distinguish
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
            self._repeats += before != "repeat"  # else it is the greediness of that one
            self._risky |= before == "close"
            more = group[1] * max(int(found["least"] or 0) - 1, 0)
            group[0] += more
            group[1] += more
        elif kind in ("set", "item"):
            group[0] += 1
            group[1] = 1


def _rewritten(kind: str, token: str, found: re.Match[str]) -> str:
    """Return one token, translated for `regex`."""
    if kind == "set":
        return _set(found["head"], found["body"])
    if kind == "flags":
        return token.replace("x", "").replace("(?)", "")
    if kind == "open" and "x" in (found["on"] or "") + (found["off"] or ""):
        off = (found["off"] or "").replace("x", "")
        return f"(?{(found['on'] or '').replace('x', '')}{'-' + off if off else ''}:"
    return _OUTSIDE.get(token, token)


def _set(head: str, body: str) -> str:
    """Return a set; what is not in `\\w` cannot be written inside it, and becomes an alternative."""
    parts = _IN_SET.findall(body)
    inside = "".join(_INSIDE.get(part, part) for part in parts)
    without = [_OUTSIDE[part] for part in dict.fromkeys(parts) if part in (r"\W", r"\S")]
    if not without:
        return f"{head}{inside}]"
    choice = "|".join(([f"[{inside}]"] if inside else []) + without)
    return f"(?:{choice})" if head == "[" else f"(?:(?!{choice})(?s:.))"
