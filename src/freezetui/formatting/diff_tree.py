"""The tensors of a diff as a tree of modules, in which blocks with equal changes are folded."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import groupby

from freezetui.checkpoint.types import TensorInfo
from freezetui.diff.report import STATUSES, TensorDiff
from freezetui.freeze.blocks import is_number, repeats
from freezetui.freeze.tree import ParamTree
from freezetui.text import printable


class DiffTree:
    """The tensors of a diff as a tree of modules.

    Attributes:
        tree: the names; tensors: in its order.
    """

    def __init__(self, tensors: Sequence[TensorDiff]) -> None:
        by_name = {tensor.name: tensor for tensor in tensors}
        self.tree = ParamTree([TensorInfo(t.name, t.shape, t.dtype, t.kind) for t in tensors])
        self.tensors = [by_name[tensor.name] for tensor in self.tree.tensors]
        codes = {status: number for number, status in enumerate(STATUSES)}
        self._statuses = bytes(codes[tensor.status] for tensor in self.tensors)

    def below(self, node: int, stop: int | None = None) -> list[TensorDiff]:
        """Return the tensors below a node, or of the nodes `node .. stop - 1`."""
        return self.tensors[slice(*self.tree.span(node, stop))]

    def statuses(self, node: int) -> bytes:
        """Return the status of each tensor below a node, as its number in STATUSES."""
        return self._statuses[slice(*self.tree.span(node))]

    def folds(self, node: int) -> Iterator[tuple[int, int]]:
        """Yield the runs of blocks below a node whose changes are the same, and whose freeze."""

        def freeze(block: int) -> list[bool | None]:
            return [tensor.frozen for tensor in self.below(block)]

        return self.runs(
            node,
            lambda block: (self.statuses(block), freeze(block)),
            lambda block: None if any(self.statuses(block)) else set(freeze(block)),
        )

    def runs(
        self, node: int, look: Callable[[int], object], still: Callable[[int], object | None]
    ) -> Iterator[tuple[int, int]]:
        """Yield the runs of two or more blocks below a node that look the same.

        The last ones are of numbered modules in which nothing changed, whatever their shapes are; one may
        begin where a shorter run does.

        Args:
            look: returns what a repeated block looks like.
            still: returns what any other looks like; None if something in it changed.
        """
        children = list(self.tree.children(node))
        for start, stop in repeats(self.tree, node):
            yield from self._alike((child for child in children if start <= child < stop), look)
        yield from self._alike(
            children, lambda child: still(child) if is_number(self.tree.names[child]) else None
        )

    def _alike(self, nodes: Iterable[int], look: Callable[[int], object | None]) -> Iterator[tuple[int, int]]:
        """Yield the runs of two or more nodes that look the same; None looks like no other."""
        for appearance, alike in groupby(nodes, look):
            run = list(alike)
            if appearance is not None and len(run) > 1:
                yield run[0], self.tree.end[run[-1]]

    def holds_modules(self, node: int) -> bool:
        """Whether a module has modules in it."""
        return any(not self.tree.leaf[child] for child in self.tree.children(node))

    def is_one_sided(self, node: int) -> bool:
        """Whether a module with modules in it is in one of the two checkpoints only."""
        statuses = set(self.statuses(node))
        return (
            self.holds_modules(node)
            and len(statuses) == 1
            and STATUSES[min(statuses)] in ("added", "removed")
        )

    def label(self, node: int, stop: int | None = None) -> str:
        """Return the name of a node, or of a run of blocks, indented."""
        tree = self.tree
        name = tree.names[node]
        if stop is not None:
            blocks = [child for child in tree.children(tree.parents[node]) if node <= child < stop]
            name = f"{{{name}..{tree.names[blocks[-1]]}}} ×{len(blocks)}"
        return printable("  " * min(tree.depths[node], 40) + name)
