"""Structure: the head and the repeated blocks of a model, as the presets need them; plain data, no torch."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence

import msgspec

from freezetui.freeze.blocks import has_parameters, is_number
from freezetui.freeze.tree import ParamTree

_TOWERS = (
    (re.compile(r"vis(ion|ual)?|images?"), "vision"),
    (re.compile(r"text|language|lm"), "text"),
    (re.compile(r"audio|speech"), "audio"),
    (re.compile(r"encoder"), "encoder"),
    (re.compile(r"decoder"), "decoder"),
)
_MODALITIES = frozenset({"vision", "text", "audio"})
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
        return len(self.towers) > 1 and not _MODALITIES.isdisjoint(self.towers)

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
    if len(found) < 2 and (len(roots) < 2 or found.isdisjoint(_MODALITIES)):
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
    roots = {path: next((t for r, t in towers.items() if _below(path, r)), "") for path in blocks}
    starts: dict[str, int] = {}
    scopes: dict[str, list[int]] = {}
    for place, (_, module) in enumerate(order):
        for path in _above(module):
            if path in roots:
                starts.setdefault(path, place)
            if path in towers:
                scopes.setdefault(towers[path], []).append(place)
    return Structure(
        order=tuple(name for name, _ in order),
        heads=tuple(heads),
        blocks=tuple(Block(roots[p], start) for p, start in sorted(starts.items(), key=lambda item: item[1])),
        scopes={tower: tuple(places) for tower, places in scopes.items()},
        goes_by=goes_by,
    )


def by_names(tree: ParamTree) -> Structure:
    """Return the structure that the names alone suggest, in the order of the tree."""
    order = [
        (t.name, tree.path(tree.parents[node])) for t, node in zip(tree.tensors, tree.position, strict=True)
    ]
    head = head_of(tree)
    blocks = [tree.path(node) for node in _numbered(tree, head)]
    heads = _tower_heads(tree, blocks)
    if not heads and head >= 0:
        names = tuple(tensor.name for tensor in tree.tensors[slice(*tree.span(head))])
        heads = [Head("", tree.path(head) or "everything", names)]
    return make_structure(order, heads, blocks, "names")


def head_of(tree: ParamTree) -> int:
    """Return the likely node of the head; -1 if there is none.

    It is the last module with a head's name on the first level with several modules, else an `lm_head` at any
    depth, else the last module of that level; never one that holds repeated blocks of modules, or is one.
    """
    node = 0
    while True:
        children = [c for c in tree.children(node) if has_parameters(tree, c)]
        if len(children) != 1 or tree.leaf[children[0]]:
            break
        node = children[0]
    likely = [] if _are_blocks(tree, children) else [c for c in children if not _holds_blocks(tree, c)]
    named = [c for c in likely if _HEADS.fullmatch(tree.names[c])]
    deep = [n for n in range(len(tree)) if tree.names[n] == "lm_head" and not tree.leaf[n]]
    found = named or deep or likely or ([] if children else [node])
    return found[-1] if found else -1


def _are_blocks(tree: ParamTree, nodes: Sequence[int]) -> bool:
    """Whether the last of several numbered modules holds the same modules as the one before it."""
    if len(nodes) < 2 or not all(is_number(tree.names[node]) and not tree.leaf[node] for node in nodes):
        return False
    if all(tree.leaf[node] for node in tree.children(nodes[-1])):
        return False
    before, last = (
        [
            (tensor.name.removeprefix(f"{tree.path(node)}."), tensor.shape)
            for tensor in tree.tensors[slice(*tree.span(node))]
        ]
        for node in nodes[-2:]
    )
    return before == last


def _tower_heads(tree: ParamTree, blocks: Sequence[str]) -> list[Head]:
    """Return the projections beside towers of several modalities, as CLIP has them."""
    towers = tower_paths(blocks)
    heads = []
    for node in tree.children(0):
        tower = tower_of(tree.names[node])
        known = tower in _MODALITIES and tower in towers.values() and tree.names[node] not in towers
        if known and not tree.leaf[node] and not _holds_blocks(tree, node):
            names = tuple(tensor.name for tensor in tree.tensors[slice(*tree.span(node))])
            heads.append(Head(tower, tree.path(node), names))
    return heads if len(heads) > 1 else []


def _holds_blocks(tree: ParamTree, node: int) -> bool:
    """Whether below this node are two or more numbered modules that hold modules themselves."""
    for inner in range(node, tree.end[node]):
        several = [c for c in tree.children(inner) if is_number(tree.names[c]) and not tree.leaf[c]]
        if sum(any(not tree.leaf[g] for g in tree.children(c)) for c in several) > 1:
            return True
    return False


def _numbered(tree: ParamTree, head: int) -> list[int]:
    """Return the outermost numbered modules with parameters outside the head, where siblings repeat.

    A numbered module is `3`, or `block3` if it holds modules; `layer3` stands for the numbered ones in it.
    """
    found: list[int] = []
    node, stop = 1, len(tree)
    while node < stop:
        block = not tree.leaf[node] and _family(tree, node) and not _is_stage(tree, node)
        if block and node != head and has_parameters(tree, node):
            found.append(node)
        node = tree.end[node] if block or node == head else node + 1
    siblings: dict[tuple[int, str], list[int]] = {}
    for node in found:
        siblings.setdefault((tree.parents[node], _family(tree, node)), []).append(node)
    families = ([n for n in nodes if not _is_norm(tree, n)] or nodes for nodes in siblings.values())
    return sorted(node for nodes in families if len(nodes) > 1 for node in nodes)


def _is_norm(tree: ParamTree, node: int) -> bool:
    """Whether a module has a norm's tensors only: vectors, and no modules."""
    tensors = tree.tensors[slice(*tree.span(node))]
    return all(tree.leaf[child] for child in tree.children(node)) and all(len(t.shape) < 2 for t in tensors)


def _family(tree: ParamTree, node: int) -> str:
    """Return what a numbered module's name begins with, "." for a number alone; "" for other modules."""
    name = tree.names[node]
    if is_number(name):
        return "."
    stem = name.rstrip("0123456789")
    holds_modules = any(not tree.leaf[child] for child in tree.children(node))
    return stem if is_number(name[len(stem) :]) and holds_modules else ""


def _is_stage(tree: ParamTree, node: int) -> bool:
    """Whether a module called `layer3` holds numbered modules itself."""
    if is_number(tree.names[node]):
        return False
    families = Counter(_family(tree, child) for child in tree.children(node) if not tree.leaf[child])
    return any(count > 1 for family, count in families.items() if family)


def _below(path: str, root: str) -> bool:
    return path == root or path.startswith(f"{root}.")


def _above(path: str) -> Iterator[str]:
    """Yield a path and the paths of the modules around it, the root left out."""
    while path:
        yield path
        path = path.rpartition(".")[0]
