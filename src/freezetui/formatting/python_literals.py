"""Formats values as Python literals: tables, and tuples of names that are joined over their numbers."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

#: A terminal of 80 columns, less a frame: what is wider would be wrapped there, and broken when copied.
MAX_WIDTH = 76
#: Fewer names read better one by one.
_MIN_JOINED = 3
#: What may stand in an f-string as it is.
_PLAIN = re.compile(r"[A-Za-z0-9_.-]*")
#: The segments of a prefix that are numbers.
_NUMBERS = re.compile(r"(?<![^.])(?:0|[1-9][0-9]{0,8})(?=\.)")


def table(name: str, values: Mapping[str, object]) -> Iterator[str]:
    """Yield an assignment of one value, or of a dict by stage; a list is written as the items of a tuple."""
    if list(values) == [""]:
        yield from _value(f"{name} = ", values[""], "")
        return
    yield f"{name} = {{"
    for stage, value in values.items():
        yield from _value(f"    {string(stage)}: ", value, "    ", ",")
    yield "}"


def _value(head: str, value: object, indent: str, tail: str = "") -> Iterator[str]:
    if not isinstance(value, list):
        yield f"{head}{value!r}{tail}"
        return
    line = f"{head}({', '.join(value)}{',' if len(value) == 1 else ''}){tail}"
    if len(line) <= MAX_WIDTH:
        yield line
        return
    yield f"{head}("
    for item in value:
        yield from _wrapped(f"{indent}    ", item)
    yield f"{indent}){tail}"


def _wrapped(indent: str, item: str) -> Iterator[str]:
    """Yield one item of a tuple; a generator that is too long for a line is split."""
    if not item.startswith("*(") or len(indent) + len(item) < MAX_WIDTH:
        yield f"{indent}{item},"
        return
    text, *loops = item[2:-1].split(" for ")
    yield f"{indent}*("
    yield f"{indent}    {text}"
    for loop in loops:
        yield from _loop(f"{indent}    ", f"for {loop}")
    yield f"{indent}),"


def _loop(indent: str, loop: str) -> Iterator[str]:
    """Yield one loop of a generator; the names that it goes over are filled into lines."""
    head, sign, names = loop.partition(" in (")
    if not sign or len(indent) + len(loop) <= MAX_WIDTH:
        yield f"{indent}{loop}"
        return
    yield f"{indent}{head} in ("
    line = f"{indent}   "
    for name in names.removesuffix(")").removesuffix(",").split(", "):
        if line.strip() and len(line) + len(name) + 2 > MAX_WIDTH:
            yield line
            line = f"{indent}   "
        line += f" {name},"
    yield line
    yield f"{indent})"


def name_items(prefixes: Sequence[str]) -> list[str]:
    """Return the items of a tuple of strings; those that differ only in one number become a generator."""
    around = list(map(_around_numbers, prefixes))
    ways = (_joined(prefixes, [each and each[which] for each in around]) for which in (0, 1))
    return min(ways, key=lambda items: (len(items), items))


class _Around(NamedTuple):
    """A number in a prefix.

    Attributes:
        place: what is before it, and what is after its dot.
    """

    place: tuple[str, str]
    number: int


def _joined(prefixes: Sequence[str], around: Sequence[_Around | None]) -> list[str]:
    """Return the items, joined over one number of each prefix; None for one that cannot be joined."""
    numbers: dict[tuple[str, str], list[int]] = {}
    for found in filter(None, around):
        numbers.setdefault(found.place, []).append(found.number)
    tails: dict[tuple[str, tuple[int, ...]], list[str]] = {}
    for (head, tail), all_numbers in numbers.items():
        tails.setdefault((head, tuple(all_numbers)), []).append(tail)
    generators: dict[tuple[str, str], str] = {}
    for (head, run), all_tails in tails.items():
        if len(run) > 1 and len(run) * len(all_tails) >= _MIN_JOINED:
            generator = _generator(head, run, all_tails)
            generators.update(((head, tail), generator) for tail in all_tails)
    items = (generators.get(found.place) if found is not None else None for found in around)
    # A generator is where the first of its prefixes would be.
    return list(dict.fromkeys(item or string(prefix) for item, prefix in zip(items, prefixes, strict=True)))


def _around_numbers(prefix: str) -> tuple[_Around, _Around] | None:
    """Return the first and the last number of a prefix; None if it has none, or has text to escape."""
    if not _PLAIN.fullmatch(prefix):
        return None
    found = list(_NUMBERS.finditer(prefix))
    if not found:
        return None
    first, last = (
        _Around((prefix[: each.start()], prefix[each.end() + 1 :]), int(each[0]))
        for each in (found[0], found[-1])
    )
    return first, last


def _generator(head: str, numbers: Sequence[int], tails: Sequence[str]) -> str:
    first, last = numbers[0], numbers[-1] + 1
    run = list(numbers) == list(range(first, last))
    over = f"range({f'{first}, ' if first else ''}{last})" if run else repr(tuple(numbers))
    if len(tails) == 1:
        return f'*(f"{head}{{i}}.{tails[0]}" for i in {over})'
    return f'*(f"{head}{{i}}.{{part}}" for i in {over} for part in {tuple_of(tails)})'


def tuple_of(texts: Sequence[str]) -> str:
    """Return a tuple of string literals."""
    return f"({', '.join(map(string, texts))}{',' if len(texts) == 1 else ''})"


def string(text: str) -> str:
    """Return a string literal, in double quotes if possible."""
    literal = repr(text)
    return f'"{literal[1:-1]}"' if literal[0] == "'" and '"' not in literal else literal
