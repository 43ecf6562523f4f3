"""The tensors of a diff as a tree of modules, in which blocks with equal changes are folded."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import groupby

from freezetui.checkpoint.types import TensorInfo
from freezetui.diff.report import STATUSES, TensorDiff
from freezetui.freeze.blocks import repeats
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
        """Yield the runs of repeated blocks below a node whose changes are the same, and whose freeze."""
        return self.runs(node, lambda block: (self.statuses(block), [t.frozen for t in self.below(block)]))

    def runs(self, node: int, look: Callable[[int], object]) -> Iterator[tuple[int, int]]:
        """Yield the runs of two or more repeated blocks below a node that look the same.

        Args:
            look: returns what a block looks like.
        """
        for start, stop in repeats(self.tree, node):
            blocks = [child for child in self.tree.children(node) if start <= child < stop]
            for _, alike in groupby(blocks, look):
                run = list(alike)
                if len(run) > 1:
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
