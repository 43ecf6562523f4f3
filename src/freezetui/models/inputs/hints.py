"""What an error says about the input that caused it: two sizes that differ, a rank, a dtype, a bound."""

from __future__ import annotations

import re
import traceback
from typing import Literal, NamedTuple

Kind = Literal[
    "sizes", "integers", "floats", "higher", "lower", "bound", "missing", "key", "divisible", "none"
]


class Hint(NamedTuple):
    """What to change.

    Attributes:
        kind: "sizes" are two numbers that should be equal; "integers" and "floats" the dtype that is needed;
            "higher" and "lower" the number of dimensions; "bound" an index or length that is too large;
            "missing" an input that is None; "key" one of a dict.
        left, right: the two sizes; the right one is the model's own where that is known.
        name: of the missing key, or the message that asks for an input.
    """

    kind: Kind
    left: int = 0
    right: int = 0
    name: str = ""


#: Pattern -> which of its groups are the two sizes, the input's first.
_SIZES: tuple[tuple[str, tuple[int, int]], ...] = (
    (r"\(\d+x(\d+) and (\d+)x\d+\)", (1, 2)),
    (r"reduction dim, but got \[\d+, (\d+)\] X \[(\d+), \d+\]", (1, 2)),
    (r"size of tensor a \((\d+)\) must match the size of tensor b \((\d+)\)", (1, 2)),
    (r"to have (\d+) channels, but got (\d+) channels", (2, 1)),
    (r"normalized_shape=\[(?:\d+, )*(\d+)\].*input of size\s?\[(?:\d+, )*(\d+)\]", (2, 1)),
    (r"[Ee]xpected size (\d+) but got size (\d+)", (2, 1)),
    (r"must be equal to input_size\. Expected (\d+), got (\d+)", (2, 1)),
    (r"should contain (\d+) elements not (\d+)", (1, 2)),
    (r"\((\d+)\) doesn't match model \((\d+)\)", (1, 2)),
    (r"\((\d+)\*\d+\) doesn't match model \((\d+)\*\d+\)", (1, 2)),
    (r"expanded size of the tensor \((\d+)\) must match the existing size \((\d+)\)", (1, 2)),
    (r"was expecting embedding dimension of (\d+), but got (\d+)", (2, 1)),
    (r"has size (\d+) for operand \d which does not broadcast with previously seen size (\d+)", (1, 2)),
    (r"tokens: (\d+), features:? (\d+)", (1, 2)),
)
_LISTS = re.compile(r"[\[(](\d+(?:,\s*\d+)+),?[\])]")
_INTEGERS = (
    r"tensors used as indices must be long",
    r"Expected tensor for argument #1 'indices'",
    r"expected scalar type Long",
    r"index\w* must be (?:of )?(?:long|int)",
    r"only (?:integer|Long)",
    r"expected a tensor of dtype (?:int|long)",
    r"one_hot is only applicable to index",
    r"expected.*(?:LongTensor|Int64|torch\.long|torch\.int64)",
    r"'lengths' argument should be",
)
_FLOATS = (
    r"expected scalar type (?:Float|Half|BFloat16|Double)",
    r"must have the same dtype, but got (?:Long|Int)",
    r"not implemented for '(?:Long|Int|Bool|Byte)'",
    r"[Ee]xpected (?:a )?floating",
    r"Can only calculate the mean of floating types",
    r"Input type \((?:Long|long|torch\.LongTensor)",
    r"Got (?:Long|Int) instead|got Long",
    r"expected m1 and m2 to have the same dtype, but got: (?:long|int)",
    r"could not be? determine(?:d)? the dtype|result type Float can't be cast",
)
_BOUND = (
    r"index out of range",
    r"out of bounds",
    r"indices should be|is out of range",
    r"Target \d+ is out of",
)


def hint_of(error: Exception) -> Hint:
    """Return what the message says; of kind "none" if nothing."""
    if isinstance(error, KeyError) and error.args and isinstance(error.args[0], str):
        return Hint("key", name=error.args[0])
    text = " ".join(str(error).split())
    for pattern, (left, right) in _SIZES:
        found = re.search(pattern, text)
        if found:
            return Hint("sizes", int(found[left]), int(found[right]))
    split = re.search(r"to sum exactly to (\d+) .*split_sizes=\[([\d, ]+)\]", text)
    if split:
        return Hint("sizes", int(split[1]), sum(map(int, split[2].split(","))))
    if re.search(r"(?:tuple|list) index out of range", text):
        return Hint("higher")
    for kind, patterns in (("integers", _INTEGERS), ("floats", _FLOATS), ("bound", _BOUND)):
        if any(re.search(pattern, text) for pattern in patterns):
            return Hint(kind)  # type: ignore[arg-type]
    return (
        _rank(text) or _missing(error, text) or _view(text) or _lists(text) or _numbers(text) or Hint("none")
    )


def _rank(text: str) -> Hint | None:
    unpacked = re.search(r"(?:not enough|too many) values to unpack \(expected (\d+)(?:, got (\d+))?\)", text)
    if unpacked:
        return Hint("higher" if text.startswith("not enough") else "lower")
    dims = re.search(r"(\d)D.*?(?:got|but).*?(?:\[([\d, ]+)\]|(\d)-?D|(\d) dim)", text)
    if dims:
        got = len(dims[2].split(",")) if dims[2] else int(dims[3] or dims[4])
        wanted = [int(n) for n in re.findall(r"(\d)D", text)]
        return Hint("lower" if got > max(wanted[:2]) else "higher")
    if re.search(r"expected \d+D or \d+D.*got \d+D", text):
        return Hint("higher")
    if re.search(
        r"Dimension out of range|too many indices|dims in the desired ordering|number of (?:dim|axis|axes)",
        text,
    ):
        return Hint("higher")
    if re.search(
        r"iteration over a 0-d|invalid index of a 0-dim|zero-dimensional|more than 1 value per", text
    ):
        return Hint("higher")
    return None


def _missing(error: Exception, text: str) -> Hint | None:
    """The message is kept as the name: which optional input it names is for the caller to see."""
    if isinstance(error, (AssertionError, TypeError, AttributeError)):  # the line names what is missing
        frames = traceback.extract_tb(error.__traceback__)
        text = f"{text} {frames[-1].line or ''}" if frames else text
    asked = re.search(r"specif|provide|pass(ed)?\b|requir|\bneeds?\b|[Nn]one\b|NoneType|missing", text)
    if asked and isinstance(error, (ValueError, TypeError, AssertionError, AttributeError, RuntimeError)):
        return Hint("missing", name=text)
    return None


def _view(text: str) -> Hint | None:
    found = re.search(r"shape '\[([\d, -]+)\]' is invalid for input of size (\d+)", text)
    if found is None:
        return Hint("divisible") if "divisible" in text or "multiple of" in text else None
    product = 1
    for part in found[1].split(","):
        product *= max(1, int(part))
    return (
        Hint("sizes", int(found[2]), product)
        if "-1" not in found[1]
        else Hint("divisible", int(found[2]), product)
    )


def _lists(text: str) -> Hint | None:
    """Two shapes of the same length with one difference."""
    lists = [tuple(map(int, found.split(","))) for found in _LISTS.findall(text)]
    for i, one in enumerate(lists):
        for other in lists[i + 1 :]:
            differing = [(a, b) for a, b in zip(one, other, strict=False) if a != b]
            if len(one) == len(other) and differing:
                return Hint("sizes", *differing[-1])
    return None


def _numbers(text: str) -> Hint | None:
    """Two different numbers in a sentence that compares."""
    numbers = [int(n) for n in re.findall(r"(?<![\w.])\d{1,6}(?![\w.]\d)", text)]
    if len(set(numbers)) >= 2 and re.search(
        r"expect|must|match|exceed|only|got|should|larger|longer|max", text, re.I
    ):
        return Hint("sizes", numbers[0], next(n for n in numbers if n != numbers[0]))
    return None
