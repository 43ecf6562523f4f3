"""Structure: the head and the repeated blocks of a model, as the presets need them; plain data, no torch."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

import msgspec

_TOWERS = (
    (re.compile(r"vis(ion|ual)?|images?"), "vision"),
    (re.compile(r"text|language|lm"), "text"),
    (re.compile(r"audio|speech"), "audio"),
    (re.compile(r"encoder"), "encoder"),
    (re.compile(r"decoder"), "decoder"),
)
#: The towers that a head or the last blocks are asked for one by one.
MODALITIES = frozenset({"vision", "text", "audio"})
_HEADS = re.compile(r"classifier|fc|heads?|lm_head|cls_head|score|logits|output|qa_outputs|decoder|proj_out")


class Head(msgspec.Struct, frozen=True, omit_defaults=True):
    """One head.

    Attributes:
        tower: which part of the model it belongs to, e.g. "text"; "" if there is only one.
        label: its module, for display.
        names: its tensors in the file.
        shared: whether these are another module's tensors, which all of its own are tied to.
    """

    tower: str
    label: str
    names: tuple[str, ...]
    shared: bool = False


class Block(msgspec.Struct, frozen=True, array_like=True):
    """One repeated block, e.g. a transformer layer.

    Attributes:
        tower: which part of the model it belongs to; "" if there is only one.
        start: the place of its first tensor in the structure's order.
    """

    tower: str
    start: int


class Structure(msgspec.Struct, frozen=True, omit_defaults=True):
    """The head and the blocks of a model.

    Attributes:
        order: the file's tensors in the order in which the model runs, as far as that is known.
        heads: one, or one for each tower.
        blocks: of all towers, in that order.
        scopes: tower -> which of `order` belong to it.
        goes_by: what they were found by: a model's class, or "names".
    """

    order: tuple[str, ...] = ()
    heads: tuple[Head, ...] = ()
    blocks: tuple[Block, ...] = ()
    scopes: dict[str, tuple[int, ...]] = {}
    goes_by: str = "names"

    @property
    def towers(self) -> tuple[str, ...]:
        """The towers that have blocks, in order; ("",) for a model of one part."""
        return tuple(dict.fromkeys(block.tower for block in self.blocks))

    @property
    def asks(self) -> bool:
        """Whether "the last blocks" needs a tower: an encoder and a decoder are one chain."""
        return len(self.towers) > 1 and not MODALITIES.isdisjoint(self.towers)

    def blocks_in(self, tower: str) -> tuple[Block, ...]:
        """Return the blocks of a tower; of the whole model for ""."""
        return tuple(block for block in self.blocks if tower in ("", block.tower))

    def last_blocks(self, number: int, tower: str = "") -> tuple[str, ...]:
        """Return the tensors of the last blocks of a tower and of everything after them in it.

        A tower's head comes after its blocks; the head of all follows the last tower.

        Args:
            number: of blocks, at least 1; more than there are means all.
            tower: "" for the whole model.
        """
        blocks = self.blocks_in(tower)
        if not blocks:
            return ()
        start = blocks[-min(number, len(blocks))].start
        if not tower:
            return self.order[start:]
        names = [self.order[place] for place in self.scopes.get(tower, ()) if place >= start]
        after = (tower, "") if tower == self.towers[-1] else (tower,)
        names += [
            name for head in self.heads if head.tower in after and not head.shared for name in head.names
        ]
        return tuple(dict.fromkeys(names))


def tower_paths(paths: Sequence[str]) -> dict[str, str]:
    """Return the path of each tower's module -> the tower, from the paths of all blocks; {} if there is one.

    Towers branch off at the first segment in which the paths differ, e.g. `text_model` and `vision_model`.
    """
    split = [path.split(".") for path in paths]
    depth = 0
    while split and all(len(p) > depth + 1 and p[depth] == split[0][depth] for p in split):
        depth += 1
    roots = {".".join(p[: depth + 1]): tower_of(p[depth]) for p in split}
    found = set(roots.values()) - {""}
    if len(found) < 2 and (len(roots) < 2 or found.isdisjoint(MODALITIES)):
        return {}
    return {root: tower or root.rpartition(".")[2] for root, tower in roots.items()}


def tower_of(segment: str) -> str:
    """Return the tower that a module's name speaks of, e.g. "vision" for `visual_projection`; "" for none."""
    words = segment.lower().split("_")
    return next((tower for pattern, tower in _TOWERS if any(map(pattern.fullmatch, words))), "")


def head_name(segment: str) -> bool:
    """Whether a module is called as heads are, e.g. `classifier`."""
    return _HEADS.fullmatch(segment) is not None


def make_structure(
    order: Sequence[tuple[str, str]], heads: Sequence[Head], blocks: Sequence[str], goes_by: str
) -> Structure:
    """Return the structure of these tensors and blocks.

    Args:
        order: per tensor, its name in the file and the path of its module, in the order of the model.
        heads: the head, or one for each tower.
        blocks: the paths of the blocks, in any order.
        goes_by: see `Structure`.
    """
    towers = tower_paths(blocks)
    of_block = towers_of(blocks, towers)
    starts: dict[str, int] = {}
    scopes: dict[str, list[int]] = {}
    for place, (_, module) in enumerate(order):
        for path in _above(module):
            if path in of_block:
                starts.setdefault(path, place)
            if path in towers:
                scopes.setdefault(towers[path], []).append(place)
    return Structure(
        order=tuple(name for name, _ in order),
        heads=tuple(heads),
        blocks=ordered_blocks(of_block, starts),
        scopes={tower: tuple(places) for tower, places in scopes.items()},
        goes_by=goes_by,
    )


def towers_of(blocks: Sequence[str], towers: dict[str, str]) -> dict[str, str]:
    """Return the path of each block -> its tower; "" if it is in none."""
    return {path: next((t for r, t in towers.items() if _below(path, r)), "") for path in blocks}


def ordered_blocks(of_block: dict[str, str], starts: dict[str, int]) -> tuple[Block, ...]:
    """Return the blocks whose first tensors are known, in the order of these."""
    ordered = sorted(starts.items(), key=lambda item: item[1])
    return tuple(Block(of_block[path], start) for path, start in ordered)


def _below(path: str, root: str) -> bool:
    return path == root or path.startswith(f"{root}.")


def _above(path: str) -> Iterator[str]:
    """Yield a path and the paths of the modules around it, the root left out."""
    while path:
        yield path
        path = path.rpartition(".")[0]
