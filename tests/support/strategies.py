"""Random models: dotted names as state_dicts have them, and stranger ones."""

from __future__ import annotations

from hypothesis import strategies as st

from freezetui.checkpoint.types import StorageKey, TensorInfo
from freezetui.freeze.tree import ParamTree

ordinary = st.sampled_from(["a", "b", "weight", "bias", "0", "1", "2", "10", "layers"])
strange = st.text(st.sampled_from("ab*{},\\:1é \n"), max_size=3)
segments = st.one_of(ordinary, ordinary, ordinary, strange)
names = st.lists(segments, min_size=1, max_size=4).map(".".join)


@st.composite
def tensors(draw: st.DrawFn, most: int = 14) -> list[TensorInfo]:
    """Tensors with unique names; some are buffers or integers, some are tied."""
    found = []
    for name in draw(st.lists(names, unique=True, min_size=1, max_size=most)):
        dtype = draw(st.sampled_from(["float32", "float32", "bfloat16", "int64"]))
        kind = draw(st.sampled_from(["parameter", "parameter", "parameter", "buffer"]))
        shape = tuple(draw(st.lists(st.integers(1, 3), max_size=2)))
        storage = StorageKey(draw(st.sampled_from("xyzuvw")))
        found.append(TensorInfo(name, shape, dtype, kind, storage=storage))  # type: ignore[arg-type]
    return found


trees = tensors().map(ParamTree)


def tree_of(*names: str) -> ParamTree:
    """Return the tree of small parameters of these names."""
    return ParamTree([TensorInfo(name, (2, 2), "float32", "parameter") for name in names])


@st.composite
def choices(draw: st.DrawFn) -> tuple[ParamTree, bytes]:
    """Draw a tree and a choice in which ties agree."""
    tree = draw(trees)
    mask = bytearray(
        draw(st.lists(st.integers(0, 1), min_size=len(tree.tensors), max_size=len(tree.tensors)))
    )
    for index, group in tree.tie_groups.items():
        mask[index] = mask[group[0]]
    return tree, bytes(mask)


def agree(tree: ParamTree, one: bytes | bytearray, other: bytes | bytearray) -> bool:
    """Whether two choices are equal wherever a tensor can train."""
    return all(a == b or t.untrainable_reason for a, b, t in zip(one, other, tree.tensors, strict=True))
