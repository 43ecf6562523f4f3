"""The pattern language: which tensors a dotted pattern names."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

import msgspec

from freezetui.freeze.tree import ParamTree

Action = Literal["freeze", "train"]


class Rule(msgspec.Struct, frozen=True):
    """Freeze or train whatever `pattern` names; among several rules the last one that matches wins."""

    action: Action
    pattern: str


def resolve(rules: Iterable[Rule], tree: ParamTree, default: Action = "train") -> bytearray:
    """Which tensors train: per tensor of `tree`, 1 for trainable and 0 for frozen. Tied tensors agree.

    Raises:
        PatternError: a pattern is malformed or names no tensor; the closest names are in the hint.
    """
    raise NotImplementedError
