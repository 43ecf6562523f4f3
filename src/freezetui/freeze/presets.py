"""Presets: the head only, norms only, biases only, adapters only, the last N blocks, everything, nothing."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from itertools import compress
from operator import attrgetter
from typing import NamedTuple

from freezetui.errors import PatternError
from freezetui.freeze.blocks import is_number
from freezetui.freeze.peft_prefixes import ADDED_BY_PEFT, TRAINED_IN_FULL
from freezetui.freeze.structure import Head, Structure
from freezetui.freeze.structure_by_names import by_names
from freezetui.freeze.tree import ParamTree
from freezetui.text import listed

_NORM_NAME = re.compile(r"(?i)norm|(^|_)(bn|ln|gn|rms)(_|\d|$)")
#: The presets that need the structure of the model.
STRUCTURAL = ("head", "last-blocks")


class Preset(NamedTuple):
    """A ready-made plan.

    Attributes:
        name: as on the command line.
        title: what trains, for display.
        mask: per tensor, 1 to train and 0 to freeze; None for those in `STRUCTURAL`.
    """

    name: str
    title: str
    mask: Callable[[ParamTree], bytes] | None = None


class Choice(NamedTuple):
    """A preset and what it needs to know.

    Attributes:
        preset: which one.
        number: how many blocks; only "last-blocks" looks at it.
        tower: which part of the model, e.g. "text"; "" for the whole.
    """

    preset: Preset
    number: int = 1
    tower: str = ""


def find_preset(name: str) -> Choice:
    """Return the preset called `name`; of a number of blocks "last-blocks:3", of a tower "head:text".

    Raises:
        PatternError: there is no such preset.
    """
    wanted, *rest = name.split(":")
    preset = next((preset for preset in PRESETS if preset.name == wanted), None)
    number = rest.pop(0) if wanted == "last-blocks" and rest and is_number(rest[0]) else "1"
    tower = rest.pop(0) if wanted in STRUCTURAL and rest and rest[0].isidentifier() else ""
    if preset is None or rest:
        valid = ", ".join(preset.name for preset in PRESETS)
        raise PatternError(f"unknown preset {name!r}.", f"Valid: {valid}; last-blocks:3 takes a number.")
    return Choice(preset, int(number), tower)


def chosen(choice: Choice, tree: ParamTree, structure: Structure | None = None) -> bytes:
    """Return, per tensor, 1 to train and 0 to freeze.

    Args:
        choice: the preset.
        tree: the model's tensors.
        structure: its head and blocks, if a model is known; None goes by the names.

    Raises:
        PatternError: the preset matches nothing in this model, or it has several towers and none is named.
    """
    preset = choice.preset
    if preset.mask is None:
        structure = structure or by_names(tree)
        names = head(choice, structure).names if preset.name == "head" else _last_blocks(choice, structure)
        mask = only(tree, names)
    else:
        mask = preset.mask(tree)
    if preset.name != "nothing" and not any(mask):
        raise PatternError(
            f"the preset {preset.name!r} matches nothing in this model.", "Choose another preset."
        )
    return mask


def head(choice: Choice, structure: Structure) -> Head:
    """Return the head of the named tower, or the only one.

    Raises:
        PatternError: there is none, or there are several and none is named.
    """
    heads = [head for head in structure.heads if choice.tower in ("", head.tower)]
    towers = [head.tower for head in structure.heads if head.tower]
    if len(heads) > 1:
        raise _which("head", towers)
    if heads:
        return heads[0]
    if choice.tower and structure.heads:
        raise PatternError(
            f"head:{choice.tower}: this model has no such head.",
            f"Choose {_among(f'head:{tower}' for tower in towers)}." if towers else "Write head.",
        )
    raise PatternError("the preset 'head' matches nothing in this model.", "Choose another preset.")


def _last_blocks(choice: Choice, structure: Structure) -> tuple[str, ...]:
    """Return the names of the last blocks' tensors and of those after them.

    Raises:
        PatternError: there are fewer blocks, no such tower, or several towers and none is named.
    """
    number, tower = choice.number, choice.tower
    if not tower and structure.asks:
        raise _which(f"last-blocks:{number}", structure.towers)
    if tower and tower not in structure.towers:
        several = [f"last-blocks:{number}:{name}" for name in structure.towers if name]
        raise PatternError(
            f"last-blocks:{number}:{tower}: this model has no such part.",
            f"Choose {_among(several)}." if several else f"Write last-blocks:{number}.",
        )
    most = len(structure.blocks_in(tower))
    if not 0 < number <= most:
        where = f"its {tower} part has" if tower else "this model has"
        has = f"{most} repeated blocks" if most else "no repeated blocks"
        raise PatternError(
            f"last-blocks:{number}: {where} {has}.",
            f"Choose a number up to {most}." if most else "Choose another preset.",
        )
    return structure.last_blocks(number, tower)


def _which(preset: str, towers: Iterable[str]) -> PatternError:
    several = [f"{preset}:{tower}" for tower in towers]
    return PatternError(
        f"{preset}: this model has {len(several)} parts, and the preset does not say which.",
        f"Choose {_among(several)}.",
    )


def _among(names: Iterable[str]) -> str:
    """Return "a, b or c"."""
    *others, last = [listed([name]) for name in names]
    return f"{', '.join(others)} or {last}" if others else last


def only(tree: ParamTree, names: Iterable[str]) -> bytes:
    """Return, per tensor, 1 if it is one of these, 0 otherwise."""
    wanted = frozenset(names)
    return bytes(map(wanted.__contains__, map(attrgetter("name"), tree.tensors)))


def _biases(tree: ParamTree) -> bytes:
    if not _in_names(tree, ("bias",)):
        return bytes(len(tree.tensors))
    names = _leaf_names(tree)
    return bytes(map({name for name in {*names} if name.endswith("bias")}.__contains__, names))


def _in_names(tree: ParamTree, texts: Iterable[str]) -> bool:
    """Whether one of these texts is anywhere in the names: quick, whether they repeat or not."""
    names = "\n".join({*tree.names})
    return any(text in names for text in texts)


def _leaf_names(tree: ParamTree) -> list[str]:
    """Return the last segment of each tensor's name."""
    return list(map(tree.names.__getitem__, tree.position))


def _norms(tree: ParamTree) -> bytes:
    chosen = bytearray(len(tree.tensors))
    names = _leaf_names(tree)
    shapes = [tensor.shape for tensor in tree.tensors]
    vectors = {shape for shape in {*shapes} if len(shape) == 1}  # of many shapes, few are different
    among = compress(range(len(names)), map(vectors.__contains__, shapes)) if vectors else ()
    likely = [i for i in among if names[i] == "weight"]
    if "running_mean" in names:
        likely += [i for i, name in enumerate(names) if name == "running_mean"]
    for module in dict.fromkeys(tree.parents[tree.position[i]] for i in likely):
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
    named = module > 0 and _NORM_NAME.search(tree.names[module]) is not None  # 0 is the file
    return len(weight) == 1 and (named or ("bias" in own and tree.tensors[own["bias"]].shape == weight))


def _adapters(tree: ParamTree) -> bytes:
    prefixes = (*ADDED_BY_PEFT, TRAINED_IN_FULL)
    mask = bytearray(len(tree.tensors))
    if not _in_names(tree, prefixes):
        return bytes(mask)
    adds = {segment for segment in {*tree.names} if segment.startswith(prefixes)}
    for node in compress(range(1, len(tree)), map(adds.__contains__, tree.names[1:])):  # 0 is the file
        start, stop = tree.span(node)
        mask[start:stop] = b"\1" * (stop - start)
    return bytes(mask)


def _everything(tree: ParamTree) -> bytes:
    return b"\1" * len(tree.tensors)


def _nothing(tree: ParamTree) -> bytes:
    return bytes(len(tree.tensors))


PRESETS = (
    Preset("head", "train the head only"),
    Preset("last-blocks", "train the last N blocks and everything after them"),
    Preset("norms", "train norms only", _norms),
    Preset("biases", "train biases only", _biases),
    Preset("adapters", "train the adapters only (lora_ and the like)", _adapters),
    Preset("everything", "train everything", _everything),
    Preset("nothing", "freeze everything", _nothing),
)
