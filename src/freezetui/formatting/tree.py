"""Formats the output of `freezetui show`: a checkpoint as text or as JSON."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Any

from freezetui import numbers
from freezetui.checkpoint.pickles.globals import marked
from freezetui.checkpoint.types import Checkpoint
from freezetui.formatting.words import untrainable_word
from freezetui.freeze.blocks import repeats
from freezetui.freeze.plan import FreezePlan, Size
from freezetui.freeze.tree import ParamTree
from freezetui.text import printable

#: In a file whose tensors are all tied, every name would list all the others.
_MAX_TIED = 64
_MAX_TIES = 20
_SIGNS = {"frozen": "■ frozen", "trainable": "○ train ", "mixed": "◐ mixed "}


def show_json(checkpoint: Checkpoint, plan: FreezePlan, architecture: str) -> dict[str, Any]:
    """Return the document that `show --json` prints."""
    totals = plan.totals()
    tree = plan.tree
    return {
        "source": checkpoint.source,
        "format": checkpoint.format,
        "architecture": architecture,
        "unwrapped": checkpoint.unwrapped,
        "warnings": list(checkpoint.warnings),
        "totals": {
            "parameters": totals.parameters._asdict(),
            "buffers": totals.untrainable._asdict(),
            "frozen": totals.frozen._asdict(),
            "trainable": totals.trainable._asdict(),
        },
        "tensors": [
            {
                "name": tensor.name,
                "shape": list(tensor.shape),
                "dtype": tensor.dtype,
                "elements": tensor.elements,
                "bytes": tensor.bytes,
                "kind": tensor.kind,
                "requires_grad": tensor.requires_grad,
                "frozen": plan.states[index] == 0,
                "tied_to": [tree.tensors[i].name for i in tree.tied_to(index, _MAX_TIED)],
            }
            for index, tensor in enumerate(tree.tensors)
        ],
    }


def show_lines(
    checkpoint: Checkpoint, plan: FreezePlan, label: str, depth: int | None = None
) -> Iterator[str]:
    """Yield the checkpoint as text: header, tree, totals.

    Args:
        label: the architecture, for display.
        depth: how many levels of the tree to print; None prints all. Repeated blocks are folded.
    """
    yield printable(f"{checkpoint.source}  {checkpoint.format}, {numbers.size(checkpoint.size)}  {label}")
    if checkpoint.unwrapped:
        yield printable(f"loaded from: {checkpoint.unwrapped}")
    if len(checkpoint.choices) > 1:
        yield printable(f"state_dicts in this file (--key): {', '.join(checkpoint.choices)}")
    for skipped in checkpoint.skipped:
        yield printable(f"skipped {skipped.key}: {skipped.what}")
    if checkpoint.foreign:
        yield printable(f"torch.load would import: {', '.join(marked(checkpoint.foreign))}")
    for warning in checkpoint.warnings:
        yield printable(f"warning: {warning}")
    yield ""
    yield from _tree(plan, depth)
    yield ""
    yield from totals_lines(plan)


def tie_lines(tree: ParamTree) -> list[str]:
    """Return one line for each name of the live model that the file lacks because it is tied."""
    ties = islice(tree.tied_away.items(), _MAX_TIES)
    return [f"{printable(live)} is tied to {printable(name)}" for live, name in ties]


def totals_lines(plan: FreezePlan) -> Iterator[str]:
    """Yield the totals of parameters, frozen, trainable and buffers."""
    totals = plan.totals()
    for word, size in (
        ("parameters", totals.parameters),
        ("frozen", totals.frozen),
        ("trainable", totals.trainable),
        ("buffers", totals.untrainable),
    ):
        yield f"{word:<11}{_size(size)}"


def _size(size: Size) -> str:
    tensors = numbers.plural(size.tensors, "tensor")
    return f"{tensors:>15}  {size.elements:>17,} elements  {numbers.size(size.bytes):>9}"


def _tree(plan: FreezePlan, depth: int | None) -> Iterator[str]:
    tree = plan.tree
    folds: dict[int, int] = {}
    node = 0
    while node < len(tree):
        stop = folds.get(node, tree.end[node])
        yield _line(plan, node, stop, folded=node in folds)
        if node in folds or (depth is not None and tree.depths[node] >= depth):
            node = stop
        else:
            folds.update(() if tree.leaf[node] else _alike(plan, node))
            node += 1


def _alike(plan: FreezePlan, node: int) -> Iterator[tuple[int, int]]:
    """Yield the runs of repeated blocks below a node whose freeze states are the same."""
    tree = plan.tree
    for start, stop in repeats(tree, node):
        blocks = [c for c in tree.children(node) if start <= c < stop]
        if len({bytes(plan.states[slice(*tree.span(block))]) for block in blocks}) == 1:
            yield start, stop


def _line(plan: FreezePlan, node: int, stop: int, folded: bool) -> str:
    tree = plan.tree
    totals = plan.totals(*tree.span(node, stop))
    name = tree.names[node]
    tensor = None if folded else tree.tensor(node)
    if folded:
        blocks = [child for child in tree.children(tree.parents[node]) if node <= child < stop]
        name = f"{{{name}..{tree.names[blocks[-1]]}}} ×{len(blocks)}"
    label = printable("  " * min(tree.depths[node], 40) + name)
    what = f"{numbers.shape(tensor.shape)} {tensor.dtype}" if tensor else ""
    elements = tensor.elements if tensor else totals.parameters.elements
    tied = "  tied" if tensor and tree.first[node] in tree.tie_groups else ""
    share = "" if totals.state == "untrainable" else numbers.percent(totals.share)
    columns = f"{what:>26} {numbers.count(elements):>10} {share:>6}"
    sign = _SIGNS.get(totals.state) or f"· {untrainable_word(tensor):<6}"
    return f"{sign}  {label:<40} {columns}{tied}".rstrip()
