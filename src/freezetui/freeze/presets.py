"""Presets: the head only, norms only, biases only, the last N blocks, everything, nothing."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import NamedTuple

from freezetui.errors import PatternError
from freezetui.freeze.blocks import blocks_of, has_parameters, is_number
from freezetui.freeze.tree import ParamTree

_HEADS = re.compile(r"classifier|fc|heads?|lm_head|cls_head|score|logits|output|qa_outputs|decoder|proj_out")
_NORM_NAME = re.compile(r"(?i)norm|(^|_)(bn|ln|gn|rms)(_|\d|$)")


class Preset(NamedTuple):
    """A ready-made plan.

    Attributes:
        name: as on the command line.
        title: what trains, for users.
        mask: (tree, n) -> per tensor, 1 to train and 0 to freeze; only "last-blocks" looks at n.
    """

    name: str
    title: str
    mask: Callable[[ParamTree, int], bytes]


def find_preset(name: str) -> tuple[Preset, int]:
    """Return the preset called `name`; "last-blocks:3" carries its number.

    Raises:
        PatternError: there is none of that name.
    """
    wanted, _, number = name.partition(":")
    for preset in PRESETS:
        if preset.name == wanted and (not number or (wanted == "last-blocks" and is_number(number))):
            return preset, int(number or 1)
    valid = ", ".join(preset.name for preset in PRESETS)
    raise PatternError(f"unknown preset {name!r}.", f"Valid: {valid}; last-blocks:3 takes a number.")


def chosen(preset: Preset, number: int, tree: ParamTree) -> bytes:
    """Return, per tensor, 1 to train and 0 to freeze.

    Raises:
        PatternError: this model has not what the preset trains.
    """
    most = len(blocks_of(tree))
    if preset.name == "last-blocks" and number > most:
        has = f"{most} repeated blocks" if most else "no repeated blocks"
        raise PatternError(
            f"last-blocks:{number}: this model has {has}.",
            f"Choose a number up to {most}." if most else "Choose another preset.",
        )
    mask = preset.mask(tree, number)
    if preset.name != "nothing" and not any(mask):
        raise PatternError(
            f"the preset {preset.name!r} matches nothing in this model.", "Choose another preset."
        )
    return mask


def head_of(tree: ParamTree) -> int:
    """Return the likely node of the head: a top-level module with a head's name, else the last one."""
    node = 0
    while True:
        children = [c for c in tree.children(node) if has_parameters(tree, c)]
        named = [c for c in children if _HEADS.fullmatch(tree.names[c])]
        if len(children) != 1 or tree.leaf[children[0]]:
            return (named or children or [node])[-1]
        node = children[0]


def _only(tree: ParamTree, start: int, stop: int) -> bytes:
    return bytes(start) + b"\1" * (stop - start) + bytes(len(tree.tensors) - stop)


def _head(tree: ParamTree, _: int) -> bytes:
    return _only(tree, *tree.span(head_of(tree)))


def last_blocks(tree: ParamTree, blocks: Sequence[int], number: int) -> bytes:
    """Return, per tensor, 1 in the last `number` of these blocks and after; without blocks, in the head."""
    if not blocks or number <= 0:
        return _head(tree, 0)
    return _only(tree, tree.first[blocks[-min(number, len(blocks))]], len(tree.tensors))


def _last_blocks(tree: ParamTree, number: int) -> bytes:
    return last_blocks(tree, blocks_of(tree), number)


def _biases(tree: ParamTree, _: int) -> bytes:
    return bytes(tree.names[node].endswith("bias") for node in tree.position)


def _norms(tree: ParamTree, _: int) -> bytes:
    chosen = bytearray(len(tree.tensors))
    for module in dict.fromkeys(tree.parents[node] for node in tree.position):
        own = {tree.names[c]: tree.first[c] for c in tree.children(module) if tree.leaf[c]}
        if "weight" in own and _is_norm(tree, module, own):
            for name in ("weight", "bias"):
                if name in own:
                    chosen[own[name]] = 1
    return bytes(chosen)


def _is_norm(tree: ParamTree, module: int, own: dict[str, int]) -> bool:
    if "running_mean" in own:
        return True
    weight = tree.tensors[own["weight"]].shape
    named = _NORM_NAME.search(tree.names[module]) is not None
    return len(weight) == 1 and (named or ("bias" in own and tree.tensors[own["bias"]].shape == weight))


def _everything(tree: ParamTree, _: int) -> bytes:
    return b"\1" * len(tree.tensors)


def _nothing(tree: ParamTree, _: int) -> bytes:
    return bytes(len(tree.tensors))


PRESETS = (
    Preset("head", "train the head only", _head),
    Preset("last-blocks", "train the last N blocks and everything after them", _last_blocks),
    Preset("norms", "train norms only", _norms),
    Preset("biases", "train biases only", _biases),
    Preset("everything", "train everything", _everything),
    Preset("nothing", "freeze everything", _nothing),
)
