"""Saves distributed checkpoints in one process, with tensors whole or in pieces as many ranks write them."""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch.distributed.checkpoint as dcp
from torch import Size, Tensor
from torch.distributed.checkpoint.default_planner import DefaultSavePlanner
from torch.distributed.checkpoint.metadata import ChunkStorageMetadata
from torch.distributed.checkpoint.planner import SavePlan, WriteItem, WriteItemType


class Splitting(DefaultSavePlanner):
    """Writes every tensor in two pieces along its first dimension, or also along its last one."""

    def __init__(self, both: bool) -> None:
        super().__init__()
        self.both = both

    def create_local_plan(self) -> SavePlan:
        plan = super().create_local_plan()
        return dataclasses.replace(plan, items=[part for item in plan.items for part in self.split(item)])

    def split(self, item: WriteItem) -> Iterator[WriteItem]:
        data = item.tensor_data
        if data is None or not data.size:
            yield item
            return
        chunks = [(Size([0] * len(data.size)), data.size)]
        for dim in {0, len(data.size) - 1} if self.both else {0}:
            chunks = [half for chunk in chunks for half in halves(*chunk, dim)]
        for offsets, sizes in chunks:
            yield dataclasses.replace(
                item,
                index=dataclasses.replace(item.index, offset=offsets),
                type=WriteItemType.SHARD,
                tensor_data=dataclasses.replace(data, chunk=ChunkStorageMetadata(offsets, sizes)),
            )

    def resolve_data(self, write_item: WriteItem) -> Any:
        data = write_item.tensor_data
        if data is None or write_item.type != WriteItemType.SHARD:
            return super().resolve_data(write_item)
        whole = self.state_dict[write_item.index.fqn]
        ends = map(sum, zip(data.chunk.offsets, data.chunk.sizes, strict=True))
        return whole[tuple(map(slice, data.chunk.offsets, ends))].detach()


def halves(offsets: Size, sizes: Size, dim: int) -> list[tuple[Size, Size]]:
    """Return the two halves of a block along a dimension; the block itself if that has one element."""
    first = sizes[dim] // 2
    if not first:
        return [(offsets, sizes)]
    parts = []
    for low, count in ((0, first), (first, sizes[dim] - first)):
        offset, size = list(offsets), list(sizes)
        offset[dim], size[dim] = offset[dim] + low, count
        parts.append((Size(offset), Size(size)))
    return parts


def save_distributed(
    state: dict[str, Tensor], folder: Path, by_rows: bool = False, by_blocks: bool = False
) -> None:
    """Save a state_dict of plain tensors."""
    planner = Splitting(by_blocks) if by_rows or by_blocks else None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        dcp.save(state, checkpoint_id=folder, planner=planner, no_dist=True)
