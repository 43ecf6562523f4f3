"""The messages between the UI and the process that compares for it: typed structs as JSON lines."""

from __future__ import annotations

import msgspec

from freezetui.diff.report import TensorDiff


class CompareRequest(msgspec.Struct, frozen=True):
    """What to compare.

    Attributes:
        before: a path.
        after: the paths of the open checkpoint; several are one model.
        key: which nested dict holds the state_dict; used for `before` only if its format has keys.
        python, engine: see `session.Options`.
    """

    before: str
    after: tuple[str, ...]
    key: str | None = None
    python: str = ""
    engine: bool = True


class Working(msgspec.Struct, frozen=True, tag="working"):
    """How far it is, for display."""

    text: str


class Failed(msgspec.Struct, frozen=True, tag="failed"):
    """It cannot be compared: an error that the user can act on."""

    message: str
    hint: str = ""


class Compared(msgspec.Struct, frozen=True, tag="compared"):
    """The outcome.

    Attributes:
        different: every tensor that is not identical.
        identical: the names of the others in AFTER.
        note: how names were matched; "" if they are equal.
        absent: how many tensors an index lists and neither side contains.
        warnings: from opening `before`, such as other state_dicts in the file.
    """

    different: tuple[TensorDiff, ...]
    identical: tuple[str, ...]
    note: str
    absent: int = 0
    warnings: tuple[str, ...] = ()


Answer = Working | Failed | Compared

_ANSWER: msgspec.json.Decoder[Answer] = msgspec.json.Decoder(Working | Failed | Compared)

#: A line -> its message; they raise msgspec.DecodeError if it is not one.
decode_request = msgspec.json.Decoder(CompareRequest).decode
decode_answer = _ANSWER.decode
