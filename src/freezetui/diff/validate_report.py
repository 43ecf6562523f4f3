"""Validation: whether the data of a checkpoint is complete. Does not import numpy."""

from __future__ import annotations

import msgspec


class Problem(msgspec.Struct, frozen=True):
    """A problem with one tensor.

    Attributes:
        what: "missing", "checksum", "NaN" or "Inf".
        detail: a short explanation.
    """

    name: str
    what: str
    detail: str


class Validation(msgspec.Struct, frozen=True):
    """The whole outcome; `validate --json` prints it.

    Attributes:
        tensors: how many there are; checked: how many of them have a checksum that was compared.
        unread: names of those that cannot be read as numbers, although their bytes are complete.
        warnings: the warnings from opening the checkpoint.
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
        """The exit code: 0 if all data is complete and finite, else 1."""
        return 0 if self.valid else 1
