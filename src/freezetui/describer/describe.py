"""Describes the live model behind a file: builds it, maps its names, runs it without values."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import chain

from torch import nn

from freezetui.describer.blocks import blocks, heads
from freezetui.describer.build import build, import_library, library_of
from freezetui.describer.layers import layer
from freezetui.describer.limits import limited_memory
from freezetui.describer.running import run
from freezetui.description.file_modules import file_modules
from freezetui.description.protocol import DescribeRequest
from freezetui.description.types import Description, LiveModule
from freezetui.errors import ConfigError, ModelError
from freezetui.freeze.name_map import LiveTensor, NameMap
from freezetui.freeze.structure import Head, Structure, make_structure
from freezetui.models.name_map import map_names
from freezetui.models.spec import parse_factory


def describe(request: DescribeRequest, progress: Callable[[str], object]) -> Description:
    """Return the description of the model that the request names.

    Args:
        request: what builds it, and the file's tensors.
        progress: called with "import" and "build" as each begins.

    Raises:
        ModelError: the model is not a library's, cannot be built, or has nothing to do with the file.
        MemoryError: it takes more than `MAX_BYTES`.
    """
    factory = parse_factory(request.model.architecture)
    library = library_of(factory)
    progress("import")
    import_library(library)
    progress("build")
    with limited_memory():
        model = build(factory, request)
        tensors = {t.name: (t.shape, t.dtype) for t in request.tensors}
        try:
            names = map_names(model, tensors)
        except ConfigError as error:
            raise ModelError(error.message, error.hint) from None
        if not names.placed:
            raise ModelError(f"{type(model).__name__} has none of the file's tensors.")
        ran = run(model, factory, dict(request.model.arguments), request.model.input)
        return _description(request, model, names, ran.order, ran.shape, ran.takes)


def _description(
    request: DescribeRequest,
    model: nn.Module,
    names: NameMap,
    order: Mapping[str, int],
    shape: tuple[int, ...],
    takes: str,
) -> Description:
    paths = [path for path, _ in model.named_modules(remove_duplicate=False)]
    in_file = file_modules(names, [tensor.name for tensor in request.tensors], paths)
    modules = tuple(
        LiveModule(path, layer(module), in_file.get(path), order.get(path, -1))
        for path, module in model.named_modules(remove_duplicate=False)
    )
    return Description(
        spec=request.model,
        model=type(model).__name__,
        names=names,
        modules=modules,
        structure=_structure(model, names, order),
        frozen=tuple(name for name, p in model.named_parameters() if not p.requires_grad),
        input=shape,
        takes=_takes(model, takes),
        ran=bool(order),
        notes=names.notes,
    )


def _takes(model: nn.Module, example: str) -> str:
    """Return what the model wants as input: the argument's name, if the library says it, and an example."""
    name = getattr(model, "main_input_name", "")  # of transformers
    if not isinstance(name, str) or not name:
        return example
    return name if not example or example.startswith("the model's") else f"{name}: {example}"


def _structure(model: nn.Module, names: NameMap, order: Mapping[str, int]) -> Structure:
    found = heads(model)
    towers = set(found.values()) - {""}
    tops = [_head(names, [p for p, t in found.items() if t == tower], tower) for tower in sorted(towers)]
    if found and not towers:
        tops = [_head(names, list(found), "")]
    ordered = _in_order(names, order)
    return make_structure(
        ordered, [top for top in tops if top.names], blocks(model, set(found)), type(model).__name__
    )


def _head(names: NameMap, paths: Sequence[str], tower: str) -> Head:
    """Return the head in these modules. Tensors tied to others are left out, unless it has no own ones."""
    inside = [t for t in names.live if t.kind == "parameter" and _is_in(t.name, paths)]
    own = [t for t in inside if not t.tied_to]
    files = dict.fromkeys(chain.from_iterable(t.files for t in own or inside))
    return Head(tower, ", ".join(paths), tuple(files), shared=bool(inside) and not own)


def _is_in(name: str, paths: Sequence[str]) -> bool:
    return any(name.startswith(f"{path}.") for path in paths)


def _in_order(names: NameMap, order: Mapping[str, int]) -> list[tuple[str, str]]:
    """Return the file's tensors in the order in which the model runs, each with its live module.

    A module that did not run follows the one registered before it. A tied tensor is where it is first used.
    """
    placed: list[tuple[int, LiveTensor]] = []
    place = -1
    for tensor in names.live:
        place = order.get(tensor.name.rpartition(".")[0], place)
        if not tensor.tied_to:
            placed.append((place, tensor))
    placed.sort(key=lambda pair: pair[0])
    modules: dict[str, str] = {}
    for _, tensor in placed:
        for file in tensor.files:
            modules.setdefault(file, tensor.name.rpartition(".")[0])
    return list(modules.items())
