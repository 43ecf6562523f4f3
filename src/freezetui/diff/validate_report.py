"""Validation: whether the data of a checkpoint is whole. Knows no numpy."""

from __future__ import annotations

import msgspec


class Problem(msgspec.Struct, frozen=True):
    """What is wrong with one tensor.

    Attributes:
        what: "missing", "checksum", "NaN" or "Inf".
        detail: in a few words.
    """

    name: str
    what: str
    detail: str


class Validation(msgspec.Struct, frozen=True):
    """The whole outcome; `validate --json` prints it.

    Attributes:
        tensors: how many there are; checked: how many of them lie under a checksum that was compared.
        unread: names of those whose numbers cannot be looked at; their bytes are there.
        warnings: what opening the checkpoint warned of.
    """

    source: str
    format: str
    valid: bool
    tensors: int
    checked: int
    problems: tuple[Problem, ...] = ()
    unread: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()

    @property
    def exit_code(self) -> int:
        """0 where all is there, whole and finite, else 1."""
        return 0 if self.valid else 1
