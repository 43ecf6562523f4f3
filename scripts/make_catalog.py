"""Makes src/freezetui/recognition/catalog.json.gz from the installed torchvision.

Every model is built on the meta device with several values of each argument that changes shapes; the
dimensions that follow the argument are told apart from the fixed ones by comparing the builds.

    python scripts/make_catalog.py
"""

from __future__ import annotations

import gzip
import inspect
import math
from collections.abc import Callable, Iterator
from graphlib import TopologicalSorter
from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec
import torch
import torchvision
from torch import nn
from torch.overrides import TorchFunctionMode
from torchvision.models import get_model_builder, list_models

from freezetui.checkpoint.types import COUNTER
from freezetui.recognition import catalog
from freezetui.recognition.catalog import Entry, Free, Index, InputKind, Recipe, Shapes

TARGET = Path(catalog.__file__).with_name("catalog.json.gz")

#: Values of each argument that changes shapes; the first is the default.
FREE = {"num_classes": (1000, 11, 17), "num_keypoints": (17, 5, 7), "image_size": (224, 448, 672)}

#: Arguments that add or drop whole heads, and the other value than the default.
HEADS: dict[str, bool] = {"aux_logits": False, "aux_loss": True}

#: The models that take an argument, by the start of their names.
FAMILIES = {
    "num_keypoints": ("keypointrcnn_",),
    "image_size": ("vit_",),
    "aux_logits": ("googlenet", "inception_"),
    "aux_loss": ("fcn_", "deeplabv3_"),
}

#: Families in which a width decides on shapes alone. Not mobilenet, mnasnet and efficientnet, which add a
#: residual connection where two widths are equal, and nothing with heads or groups.
RESIZABLE = (
    "alexnet",
    "densenet",
    "googlenet",
    "inception_v3",
    "resnet",
    "shufflenet_v2",
    "squeezenet",
    "vgg",
    "wide_resnet",
)

#: Inputs to try, smallest first.
SHAPES: dict[InputKind, tuple[tuple[int, ...], ...]] = {
    "image": tuple((3, size, size) for size in (64, 96, 128, 160, 192, 224, 256, 299)),
    "segmentation": tuple((3, size, size) for size in (64, 96, 128)),
    "video": ((3, 4, 64, 64), (3, 8, 64, 64), (3, 16, 64, 64), (3, 16, 112, 112), (3, 16, 224, 224)),
    "flow": ((3, 128, 128),),
    "detection": ((3, 128, 128),),
}

#: BatchNorm over fewer values per channel gives next to no gradient.
FEWEST_VALUES = 8


def main() -> None:
    """Write the index."""
    entries = tuple(entry for name in list_models() for entry in entries_of(name))
    packed = msgspec.json.encode(Index(torchvision.__version__.split("+")[0], entries))
    TARGET.write_bytes(gzip.compress(packed, 9, mtime=0))
    print(f"{len(entries)} entries, {len(packed):,} bytes, compressed {TARGET.stat().st_size:,}")


def entries_of(name: str) -> Iterator[Entry]:
    """One entry for each set of heads that the model can have."""
    kind = kind_of(name)
    for fixed in [{}, *({argument: value} for argument, value in HEADS.items() if takes(name, argument))]:
        model = build(name, **fixed)
        shapes = shapes_of(model)
        free = tuple(free_of(name, fixed, shapes))
        yield Entry(
            name=name,
            arguments=fixed,
            structure=catalog.structure_of(shapes),
            body=catalog.body_of(shapes, free),
            free=free,
            defaults={a: values[0] for a, values in FREE.items() if a != "num_classes" and takes(name, a)},
            elements=sum(map(math.prod, shapes.values())),
            resizable=name.startswith(RESIZABLE),
            order=order_of(model),
            buffers=buffers_of(model),
            input=Recipe(kind, smallest(model, kind)),
        )


def build(name: str, **arguments: Any) -> nn.Module:
    """Return the model on the meta device, without pretrained weights."""
    if "weights_backbone" in inspect.signature(get_model_builder(name)).parameters:
        arguments["weights_backbone"] = None
    with WeightsOnMeta():
        return get_model_builder(name)(weights=None, **arguments).to("meta")


class WeightsOnMeta(TorchFunctionMode):
    """Makes weights and buffers on the meta device; what a constructor computes with stays real."""

    FACTORIES = (torch.empty, torch.zeros, torch.ones)

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        return func(*args, **{**kwargs, "device": "meta"} if func in self.FACTORIES else kwargs)


def takes(name: str, argument: str) -> bool:
    """Whether the model's builder does something with this argument."""
    if argument == "num_classes":
        return not name.startswith("raft_")
    return name.removeprefix("quantized_").startswith(FAMILIES[argument])


def shapes_of(model: nn.Module) -> Shapes:
    """Names and shapes of the state_dict, the batch counters left out."""
    return {name: tuple(t.shape) for name, t in model.state_dict().items() if not name.endswith(COUNTER)}


def free_of(name: str, fixed: dict[str, bool], shapes: Shapes) -> Iterator[Free]:
    """Yield the dimensions that follow an argument, from three builds each."""
    for argument, values in FREE.items():
        if not takes(name, argument):
            continue
        builds = [shapes_of(build(name, **fixed, **{argument: value})) for value in values]
        patch = build(name).patch_size if argument == "image_size" else 0
        counts = [(value // patch) ** 2 if patch else value for value in values]
        for tensor in shapes:
            for dim, sizes in enumerate(zip(*(built[tensor] for built in builds), strict=True)):
                if len(set(sizes)) > 1:
                    scale = (sizes[0] - sizes[1]) // (counts[0] - counts[1])
                    offset = sizes[0] - scale * counts[0]
                    assert list(sizes) == [scale * count + offset for count in counts], (name, tensor, sizes)
                    yield Free(argument, tensor, dim, scale, offset, patch)


def order_of(model: nn.Module) -> tuple[str, ...]:
    """Return the segments of all names in one order that agrees with the module's own, numbers left out."""
    after: dict[str, dict[str, None]] = {}
    siblings: dict[str, dict[str, None]] = {}
    for name in model.state_dict():
        segments = name.split(".")
        for depth, segment in enumerate(segments):
            siblings.setdefault(".".join(segments[:depth]), {})[segment] = None
    for children in siblings.values():
        named = [child for child in children if not child.isdecimal()]
        for child in named:
            after.setdefault(child, {})
        for first, second in pairwise(named):
            after[second][first] = None
    return tuple(TopologicalSorter(after).static_order())


def buffers_of(model: nn.Module) -> tuple[str, ...]:
    """Return the last segments of the names of all buffers; no parameter has one of these."""
    state = model.state_dict(keep_vars=True)
    buffers = {name.rpartition(".")[2] for name, t in state.items() if not isinstance(t, nn.Parameter)}
    parameters = {name.rpartition(".")[2] for name, t in state.items() if isinstance(t, nn.Parameter)}
    assert not buffers & parameters, buffers & parameters
    return tuple(sorted(buffers))


def kind_of(name: str) -> InputKind:
    """Return what the model takes, by the package it comes from."""
    package = get_model_builder(name).__module__
    kinds: dict[str, InputKind] = {
        "detection": "detection",
        "segmentation": "segmentation",
        "video": "video",
        "optical_flow": "flow",
    }
    return next((kind for part, kind in kinds.items() if f".{part}." in package), "image")


def smallest(model: nn.Module, kind: InputKind) -> tuple[int, ...]:
    """Return the smallest input that trains without starving a BatchNorm, else without an error."""
    shapes = SHAPES[kind]
    if len(shapes) == 1:
        return shapes[0]
    working: list[tuple[int, ...]] = []
    for shape in shapes:
        values = fewest_values(model, shape)
        if values >= FEWEST_VALUES:
            return shape
        if values:
            working.append(shape)
    return working[0]


def fewest_values(model: nn.Module, shape: tuple[int, ...]) -> int:
    """Values per channel in the most starved BatchNorm in train mode with two examples; 0 for an error."""
    counts: list[int] = []

    def note(module: nn.Module, args: tuple[torch.Tensor, ...]) -> None:
        counts.append(args[0].numel() // args[0].shape[1])

    norms = [m for m in model.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
    handles = [norm.register_forward_pre_hook(note) for norm in norms]
    forward: Callable[..., Any] = model.train()
    try:
        forward(torch.empty(2, *shape, device="meta"))
    except (RuntimeError, ValueError, AssertionError):
        return 0
    finally:
        for handle in handles:
            handle.remove()
    return min(counts, default=FEWEST_VALUES)


if __name__ == "__main__":
    main()
