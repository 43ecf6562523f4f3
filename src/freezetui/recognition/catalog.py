"""Recognizes torchvision architectures by names and shapes. Does not import torch.

The index next to this file is made by `scripts/make_catalog.py` from the installed torchvision. It holds
hashes, not names: one over a model's names, ranks and kernel sizes (its structure), one over its shapes
with the dimensions left open that an argument such as `num_classes` decides (its body).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Literal

import msgspec

from freezetui.checkpoint.state_dict.wrappers import main_prefixes
from freezetui.checkpoint.types import COUNTER, Checkpoint, TensorInfo
from freezetui.model_spec import ModelSpec

#: More tensors than any model in the index has: larger models are rejected before the index is read.
MAX_TENSORS = 4096
#: For zlib: a gzip file. The module gzip takes longer to import than the index to read.
_GZIP = 31

InputKind = Literal["image", "segmentation", "detection", "video", "flow"]


class Recipe(msgspec.Struct, frozen=True):
    """An input that an architecture accepts in train mode.

    Attributes:
        kind: "detection" is a list of images with targets, "flow" a pair of images.
        shape: of one example, without the batch dimension; channels first.
    """

    kind: InputKind
    shape: tuple[int, ...]


class Recognition(msgspec.Struct, frozen=True):
    """A known architecture that has a checkpoint's names.

    Attributes:
        model: what builds it, e.g. "torchvision:vgg16", with the arguments inferred from shapes, e.g.
            {"num_classes": 10}.
        label: for display, e.g. "torchvision vgg16, 10 classes".
        exact: False if names and kernel sizes match, but the widths differ.
        alternatives: other architectures with exactly the same names and shapes.
        order: the segments of the names, in module order.
        buffers: the last segments of the names that are buffers; all others are parameters.
        input: what it accepts.
        prefix: what the checkpoint's names have before those of the model, e.g. "model."; "" for nothing.
        whole: whether all tensors of the checkpoint are of the model.
    """

    model: ModelSpec
    label: str
    exact: bool
    alternatives: tuple[str, ...]
    order: tuple[str, ...]
    buffers: tuple[str, ...]
    input: Recipe
    prefix: str = ""
    whole: bool = True


class Free(msgspec.Struct, frozen=True, array_like=True):
    """A dimension that depends on an argument: `scale * argument + offset`.

    Attributes:
        patch: if not 0, the dimension is the number of square patches of this side in an image.
    """

    argument: str
    tensor: str
    dim: int
    scale: int
    offset: int
    patch: int = 0

    def solve(self, size: int) -> int | None:
        """Return the argument that makes the dimension `size`; None if there is none."""
        value, rest = divmod(size - self.offset, self.scale)
        if rest or value < 1:
            return None
        if not self.patch:
            return value
        side = math.isqrt(value)
        return side * self.patch if side * side == value else None


class Entry(msgspec.Struct, frozen=True):
    """One architecture in the index, with one set of the arguments that change its names.

    Attributes:
        structure, body: hashes; see `structure_of` and `body_of`.
        free: the dimensions that depend on arguments.
        defaults: the arguments in `free` with their default values.
        elements: total of all tensors with the default arguments.
        resizable: whether shapes alone are enough to build it in custom widths.
    """

    name: str
    arguments: dict[str, int | bool]
    structure: str
    body: str
    free: tuple[Free, ...]
    defaults: dict[str, int]
    elements: int
    resizable: bool
    order: tuple[str, ...]
    buffers: tuple[str, ...]
    input: Recipe


class Index(msgspec.Struct, frozen=True):
    """The shipped index: the torchvision it was made from, and its models."""

    torchvision: str
    entries: tuple[Entry, ...]


Shapes = dict[str, tuple[int, ...]]


def recognize(tensors: Sequence[TensorInfo]) -> Recognition | None:
    """Return the torchvision model that has these names and shapes, or these names and custom widths.

    The names may have a prefix, as of the module that wraps the model in a training script; a few tensors
    without it are not of the model.
    """
    if not 0 < len(tensors) <= MAX_TENSORS:
        return None
    # Old checkpoints, and those with frozen norms, do not have the counters.
    shapes: Shapes = {t.name: t.shape for t in tensors if not t.name.endswith(COUNTER)}
    for prefix in ("", *main_prefixes(shapes)):
        start = len(prefix)
        found = _recognized({n[start:]: shape for n, shape in shapes.items() if n.startswith(prefix)})
        if found is not None:
            return _below(found, prefix, shapes) if prefix else found
    return None


def _below(found: Recognition, prefix: str, names: Iterable[str]) -> Recognition:
    """Return the recognition of a model whose names have a prefix in the checkpoint."""
    whole = all(name.startswith(prefix) for name in names)
    label = found.label if whole else f"{found.label} in {prefix[:-1]}"
    return msgspec.structs.replace(found, prefix=prefix, whole=whole, label=label)


def _recognized(shapes: Shapes) -> Recognition | None:
    """Return the model that has exactly these names."""
    candidates = _by_structure().get(structure_of(shapes), ())
    exact = [(entry, found) for entry in candidates if (found := _solved(entry, shapes)) is not None]
    if exact:
        exact.sort(key=lambda pair: len(pair[0].name))
        entry, arguments = exact[0]
        return _recognition(entry, arguments, tuple(f"torchvision:{other.name}" for other, _ in exact[1:]))
    resizable = [entry for entry in candidates if entry.resizable]
    if not resizable:
        return None
    entry = min(resizable, key=lambda entry: _distance(entry, shapes))
    return _recognition(entry, _arguments(entry, shapes) or {}, None)


def in_module_order(checkpoint: Checkpoint, recognition: Recognition | None) -> tuple[TensorInfo, ...]:
    """Return the checkpoint's tensors in the known model's order, each as a parameter or a buffer.

    A safetensors file loses the order, and a state_dict does not say which tensors are buffers. Without
    a recognition they are returned unchanged.
    """
    if recognition is None:
        return checkpoint.tensors
    rank = {segment: (0, index) for index, segment in enumerate(recognition.order)}
    start = len(recognition.prefix)

    def place(tensor: TensorInfo) -> list[tuple[int, int]]:
        segments = tensor.name[start:].split(".")
        return [(1, int(s)) if s.isdecimal() else rank.get(s, (2, 0)) for s in segments]

    of_model = [t for t in checkpoint.tensors if t.name.startswith(recognition.prefix)]
    others = [t for t in checkpoint.tensors if not t.name.startswith(recognition.prefix)]
    return (*(_settled(t, recognition.buffers) for t in sorted(of_model, key=place)), *others)


def recipe(name: str, arguments: Mapping[str, object]) -> Recipe | None:
    """Return the input of the torchvision model of this name, built with these arguments; None if unknown."""
    heads = {"aux_logits", "aux_loss"} & arguments.keys()
    chosen = {head: arguments[head] for head in heads}
    entries = [entry for entry in index().entries if entry.name == name]
    entry = next((e for e in entries if e.arguments == chosen), entries[0] if entries else None)
    return _sized(entry.input, arguments) if entry else None


def structure_of(shapes: Shapes) -> str:
    """Return a hash over the names, their ranks and the kernel sizes of convolutions."""
    return _hash(
        f"{name} {len(shape)} {shape[2:] if len(shape) > 3 else ''}" for name, shape in shapes.items()
    )


def body_of(shapes: Shapes, free: Sequence[Free]) -> str:
    """Return a hash over names and shapes, without the free dimensions."""
    closed = {name: list(shape) for name, shape in shapes.items()}
    for head in free:
        closed[head.tensor][head.dim] = -1
    return _hash(f"{name} {shape}" for name, shape in closed.items())


@lru_cache(maxsize=1)
def index() -> Index:
    """Return the shipped index, read once."""
    import zlib  # larger models are rejected before

    packed = Path(__file__).with_name("catalog.json.gz").read_bytes()
    return msgspec.json.decode(zlib.decompress(packed, _GZIP), type=Index)


@lru_cache(maxsize=1)
def _by_structure() -> dict[str, list[Entry]]:
    known: dict[str, list[Entry]] = {}
    for entry in index().entries:
        known.setdefault(entry.structure, []).append(entry)
    return known


def _hash(lines: Iterable[str]) -> str:
    import xxhash  # the engine and the describer recognize nothing, and may run where it is not installed

    return xxhash.xxh3_64_hexdigest("\n".join(sorted(lines)).encode("utf-8", "surrogatepass"))


def _arguments(entry: Entry, shapes: Shapes) -> dict[str, int] | None:
    """Return the free arguments inferred from shapes; None if two dimensions disagree."""
    found: dict[str, int] = {}
    for free in entry.free:
        value = free.solve(shapes[free.tensor][free.dim])
        if value is None or found.setdefault(free.argument, value) != value:
            return None
    return found


def _solved(entry: Entry, shapes: Shapes) -> dict[str, int] | None:
    """Return the free arguments if everything else is as in the index, else None."""
    return _arguments(entry, shapes) if body_of(shapes, entry.free) == entry.body else None


def _distance(entry: Entry, shapes: Shapes) -> tuple[float, int]:
    """Return how unlikely it is that a model with custom widths was made from this one."""
    elements = sum(map(math.prod, shapes.values()))
    return abs(math.log(entry.elements / max(elements, 1))), len(entry.name)


def _recognition(entry: Entry, found: dict[str, int], alternatives: tuple[str, ...] | None) -> Recognition:
    """Build a Recognition; `alternatives` is None if the widths differ."""
    parts = [f"torchvision {entry.name}"]
    if alternatives is None:
        parts.append("custom widths")
    if "num_classes" in found:
        parts.append(f"{found['num_classes']} classes")
    changed = {name: value for name, value in found.items() if entry.defaults.get(name) != value}
    return Recognition(
        model=ModelSpec(f"torchvision:{entry.name}", {**changed, **entry.arguments}),
        label=", ".join(parts),
        exact=alternatives is not None,
        alternatives=alternatives or (),
        order=entry.order,
        buffers=entry.buffers,
        input=_sized(entry.input, found),
    )


def _sized(recipe: Recipe, arguments: Mapping[str, object]) -> Recipe:
    side = arguments.get("image_size")
    return Recipe(recipe.kind, (3, side, side)) if isinstance(side, int) else recipe


def _settled(tensor: TensorInfo, buffers: tuple[str, ...]) -> TensorInfo:
    buffer = tensor.name.rpartition(".")[2] in buffers
    return msgspec.structs.replace(tensor, kind="buffer" if buffer else "parameter", guessed=False)
