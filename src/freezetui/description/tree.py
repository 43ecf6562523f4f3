"""The tree of a file in the order of the live model, with its ties."""

from __future__ import annotations

from collections.abc import Sequence
from os.path import commonprefix

from freezetui.freeze.name_map import NameMap
from freezetui.freeze.tree import ParamTree


def described_tree(tree: ParamTree, names: NameMap) -> ParamTree:
    """Return the file's tree in the live model's order of registration, with the live model's ties.

    Tensors without a place in the live model follow the tensor that they follow now.

    Returns:
        `tree` itself if nothing about order and ties is different.
    """
    rank = _ranks(names)
    order, last = [], -1
    for tensor in tree.tensors:
        last = rank.get(tensor.name, last)
        order.append(last)
    tied = file_ties(names)
    found = tree
    if order != sorted(order) or not _has_ties(tree, tied):
        pairs = sorted(zip(order, tree.tensors, strict=True), key=lambda pair: pair[0])
        new = ParamTree([tensor for _, tensor in pairs], tree.names[0], tied)
        if tied or [t.name for t in new.tensors] != [t.name for t in tree.tensors]:
            found = new
    found.tied_away = tied_away(names)
    return found


def file_ties(names: NameMap) -> list[tuple[str, ...]]:
    """Return the groups of the file's tensors that are one tensor in the live model.

    Tensors that are merged into one, as experts are, are more than the names of the live one.
    """
    groups = [(group, names.files_of(group[0])) for group in names.ties]
    return [files for group, files in groups if 1 < len(files) <= len(group)]


def tied_away(names: NameMap) -> dict[str, str]:
    """Return live names without a tensor in the file, since they are tied -> the tensor that they are."""
    found: dict[str, str] = {}
    for group in names.ties:
        for file in names.files_of(group[0])[:1]:
            owner = _owner(file, group)
            found |= {live: file for live in group if live not in (owner, *names.files_of(live))}
    return found


def _ranks(names: NameMap) -> dict[str, int]:
    """Return per tensor of the file the place of its live tensor; of tied ones, of its own live name."""
    group_of = {name: group for group in names.ties for name in group}
    rank: dict[str, int] = {}
    for place, live in enumerate(names.live):
        for file in live.files:
            group = group_of.get(live.name, ())
            if len(live.files) == 1 or not group or _owner(file, group) == live.name:
                rank.setdefault(file, place)
    return rank


def _owner(file: str, group: Sequence[str]) -> str:
    """Return the live name that a tensor of the file has: the one that ends most like it."""
    return max(group, key=lambda live: len(commonprefix((live[::-1], file[::-1]))))  # noqa: RUF071


def _has_ties(tree: ParamTree, tied: Sequence[Sequence[str]]) -> bool:
    """Whether the tensors of each group are tied in the tree already."""
    index = {tensor.name: i for i, tensor in enumerate(tree.tensors)} if tied else {}
    return all(
        set(group) <= {tree.tensors[i].name for i in tree.tie_groups.get(index.get(group[0], -1), ())}
        for group in tied
    )
