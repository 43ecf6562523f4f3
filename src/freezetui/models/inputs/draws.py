"""Descriptions of a forward's inputs as plain data: a tree of draws becomes a batch of tensors."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal, NamedTuple

import torch
from torch import Generator, Tensor

Kind = Literal["normal", "uniform", "integers", "ones", "zeros", "boxes"]


@dataclass(frozen=True)
class Draw:
    """One random tensor.

    Attributes:
        what: for display, e.g. "images".
        shape: without the batch dimension.
        kind: "uniform" is in [0, 1), "integers" in [low, high), "boxes" are corners in pixels.
        batch: where the batch dimension is inserted; None if there is none.
        dtype: of integers, ones and zeros; None is int64 for integers, else the model's.
        high, low: bounds of integers.
        fixed: (position along the last dimension, value) of integers that are not random.
    """

    what: str
    shape: tuple[int, ...]
    kind: Kind = "normal"
    high: int = 0
    low: int = 0
    batch: int | None = 0
    dtype: torch.dtype | None = None
    fixed: tuple[tuple[int, int], ...] = ()

    @property
    def text(self) -> str:
        """For display, e.g. "images 3x64x64"; times are one scalar each."""
        if self.what == "times":
            return "times"
        return f"{self.what} {by(self.shape)}" if self.shape else f"{self.what} of one value"

    def resized(self, axis: int, size: int) -> Draw:
        """Return the same with another size of one dimension; fixed positions beyond it go."""
        shape = tuple(size if i == axis % len(self.shape) else n for i, n in enumerate(self.shape))
        return replace(self, shape=shape, fixed=tuple((p, v) for p, v in self.fixed if p < shape[-1]))

    def tensor(self, size: int, generator: Generator | None, dtype: torch.dtype) -> Tensor:
        """Return the tensor on the default device; `dtype` is that of floating point inputs."""
        shape = list(self.shape)
        if self.batch is not None:
            shape.insert(self.batch, size)
        if self.kind == "normal":
            return torch.randn(shape, generator=generator).to(dtype)
        if self.kind == "uniform":
            return torch.rand(shape, generator=generator).to(dtype)
        if self.kind == "integers":
            drawn = torch.randint(self.low, max(self.high, self.low + 1), shape, generator=generator)
            return self._with_fixed(drawn).to(self.dtype or torch.int64)
        if self.kind == "boxes":
            corners = torch.rand(shape, generator=generator) * 0.4 + torch.tensor([0.0, 0.0, 0.5, 0.5])
            return (corners * 64).to(dtype)
        return self._with_fixed(torch.full(shape, float(self.kind == "ones"))).to(self.dtype or dtype)

    def _with_fixed(self, tensor: Tensor) -> Tensor:
        for position, value in self.fixed:
            tensor[..., position] = value
        return tensor


class Constant(NamedTuple):
    """A value that is passed as it is; a tensor moves to the device."""

    value: Any


class Record(NamedTuple):
    """An object with attributes.

    Attributes:
        make: what makes it, given the attributes by name.
        tree: attribute -> tree.
    """

    make: Callable[..., Any]
    tree: dict[str, Any]


class Batch(dict[str, Any]):
    """A batch whose keys are attributes, too, as graphs and batches of tokenizers are."""

    def __getattr__(self, name: str) -> Any:
        """Return the value of a key.

        Raises:
            AttributeError: there is no such key.
        """
        try:
            return self[name]
        except KeyError:
            raise AttributeError(name) from None

    def to(self, *args: Any, **kwargs: Any) -> Batch:
        """Return the same with its tensors moved or converted."""
        return Batch({k: v.to(*args, **kwargs) if isinstance(v, Tensor) else v for k, v in self.items()})


class PerExample(NamedTuple):
    """A list with one tree for each example."""

    tree: Any


class Candidate(NamedTuple):
    """The inputs of one forward.

    Attributes:
        args, kwargs: trees of draws, constants and plain containers.
        text: for display; "" is made of the draws.
    """

    args: tuple[Any, ...]
    kwargs: dict[str, Any] = {}
    text: str = ""

    @property
    def shape(self) -> tuple[int, ...]:
        """Of one example, if all inputs have this one; else ()."""
        shapes = {draw.shape for draw in draws_of((self.args, self.kwargs)) if draw.what != "times"}
        return shapes.pop() if len(shapes) == 1 else ()

    def described(self) -> str:
        """Return what the inputs are, e.g. "2 x images 3x64x64" or "images 3x8x8 and 1 x times"."""
        return self.text or _described(list(draws_of((self.args, self.kwargs))))

    def make(
        self, size: int, generator: Generator | None, dtype: torch.dtype
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Return the arguments and keyword arguments of a forward."""
        made: tuple[tuple[Any, ...], dict[str, Any]] = drawn((self.args, self.kwargs), size, generator, dtype)
        return made


def drawn(tree: Any, size: int, generator: Generator | None, dtype: torch.dtype) -> Any:
    """Return the tree with tensors in place of its draws."""
    if isinstance(tree, Draw):
        return tree.tensor(size, generator, dtype)
    if isinstance(tree, Constant):
        return tree.value
    if isinstance(tree, Record):
        return tree.make(**drawn(tree.tree, size, generator, dtype))
    if isinstance(tree, PerExample):
        return [drawn(tree.tree, 1, generator, dtype) for _ in range(size)]
    if isinstance(tree, Mapping):
        return {name: drawn(item, size, generator, dtype) for name, item in tree.items()}
    if isinstance(tree, (tuple, list)):
        return type(tree)(drawn(item, size, generator, dtype) for item in tree)
    return tree


def draws_of(tree: Any) -> Iterator[Draw]:
    """Yield the draws of a tree, in order."""
    if isinstance(tree, Draw):
        yield tree
    elif isinstance(tree, (PerExample, Record)):
        yield from draws_of(tree.tree)
    elif isinstance(tree, Mapping):
        for item in tree.values():
            yield from draws_of(item)
    elif isinstance(tree, (tuple, list)) and not isinstance(tree, Constant):
        for item in tree:
            yield from draws_of(item)


def changed(tree: Any, change: Callable[[Draw], Draw]) -> Any:
    """Return the tree with every draw changed; draws stay in their order."""
    if isinstance(tree, Draw):
        return change(tree)
    if isinstance(tree, Constant):
        return tree
    if isinstance(tree, Record):
        return Record(tree.make, changed(tree.tree, change))
    if isinstance(tree, PerExample):
        return PerExample(changed(tree.tree, change))
    if isinstance(tree, Mapping):
        return {name: changed(item, change) for name, item in tree.items()}
    if isinstance(tree, (tuple, list)):
        return type(tree)(changed(item, change) for item in tree)
    return tree


def by(shape: tuple[int, ...]) -> str:
    """Return a shape for display, e.g. "3x64x64"."""
    return "x".join(map(str, shape)) or "a scalar"


def _described(draws: list[Draw]) -> str:
    counts: dict[str, int] = {}
    for draw in draws:
        counts[draw.text] = counts.get(draw.text, 0) + 1
    parts = [f"{n} x {text}" if n > 1 or text == "times" else text for text, n in counts.items()]
    shown = parts if len(parts) <= 4 else [*parts[:3], f"{len(parts) - 3} more"]
    return " and ".join([", ".join(shown[:-1]), shown[-1]] if len(shown) > 1 else shown) or "no tensors"
