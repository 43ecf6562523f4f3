"""Candidates for a user's own forward: from its signature, the names in it, and the layers that read them."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import replace
from inspect import Parameter, signature
from typing import Any

from torch import nn

from freezetui.models.inputs.consumers import uses_of
from freezetui.models.inputs.draws import Batch, Candidate, Constant, Draw, PerExample, Record, changed
from freezetui.models.inputs.forward_source import DETECTION, Path, Use
from freezetui.models.inputs.probes import Probe, fitting, leaves_of
from freezetui.models.inputs.records import makers_of
from freezetui.models.inputs.roles import NODES, Input, by_role, compared, detected, share, states_of
from freezetui.models.inputs.transformers_inputs import transformers_candidates
from freezetui.models.transformers_loading import is_pretrained_model

#: How many candidates of one forward are made.
_MAX_CANDIDATES = 48
#: How many of them give the same to all inputs with the same options.
_MAX_ALIKE = 8
#: What an input is that is annotated as a number.
_PLAIN = {"int": Constant(0), "float": Constant(1.0), "bool": Constant(False)}


def own_candidates(model: nn.Module) -> Iterator[Candidate]:
    """Yield inputs for the model's forward, the likely ones first.

    Each input has several options; all take their first one, then one after the other its further ones.
    """
    parameters = required(model)
    uses, makers = uses_of(model), makers_of(model)
    handed_on = [
        uses[p.name,].spread for p in parameters if p.kind is Parameter.VAR_POSITIONAL and (p.name,) in uses
    ]
    if handed_on and handed_on[0] is not None and not type(handed_on[0]).__module__.startswith("torch.nn"):
        yield from own_candidates(handed_on[0])
        return
    positional: list[Any] = []
    keywords: dict[str, Any] = {}
    inputs: list[Input] = []
    for parameter in parameters:
        annotation = str(parameter.annotation) if parameter.annotation is not Parameter.empty else ""
        if parameter.kind is Parameter.VAR_POSITIONAL:
            annotation = ""  # of each
        tree = _structure((parameter.name,), uses, annotation, inputs)
        if isinstance(tree, Record):
            tree = tree._replace(make=makers.get(parameter.name, tree.make))
        if parameter.kind is Parameter.VAR_POSITIONAL and tree not in [item.path for item in inputs]:
            positional += tree
        elif parameter.kind is Parameter.KEYWORD_ONLY:
            keywords[parameter.name] = tree
        elif parameter.kind is Parameter.VAR_KEYWORD:
            keywords |= tree if isinstance(tree, dict) else {}
        else:
            positional.append(tree)
    if not inputs or not leaves_of(model):
        return
    graph = any(item.role == "edges" for item in inputs)
    options = [_options(model, item, inputs, graph) for item in inputs]
    for choice in itertools.islice(_choices(options), _MAX_CANDIDATES):
        chosen = dict(zip((item.path for item in inputs), choice, strict=True))
        yield Candidate(tuple(_filled(tree, chosen) for tree in positional), _filled(keywords, chosen))


def last_resorts(model: nn.Module) -> Iterator[Candidate]:
    """Yield the likely candidates as one example, without a batch or in a batch of its own."""
    for candidate in itertools.islice(own_candidates(model), 6):
        for change in (_unbatched_alone, _single, _step):
            args, kwargs = changed((candidate.args, candidate.kwargs), change)
            yield Candidate(args, kwargs)


def required(model: nn.Module) -> list[Parameter]:
    """Return the parameters that a forward requires; the first one if it requires none."""
    try:
        every = list(signature(model.forward).parameters.values())
    except (TypeError, ValueError):
        return [Parameter("x", Parameter.POSITIONAL_OR_KEYWORD)]
    named = [p for p in every if p.kind not in (Parameter.VAR_POSITIONAL, Parameter.VAR_KEYWORD)]
    needed = [p for p in named if p.default is Parameter.empty]
    if needed:
        return needed
    if named and any(p.kind is Parameter.KEYWORD_ONLY for p in named[:1]):
        return named[:1]
    variable = [p for p in every if p.kind is Parameter.VAR_KEYWORD]
    first = named[:1] or [p for p in every if p.kind is Parameter.VAR_POSITIONAL]
    return first or variable


def _structure(path: Path, uses: dict[Path, Use], annotation: str, inputs: list[Input]) -> Any:
    """Return an input's containers with its path in place of each tensor; collects the tensors' inputs."""
    use = uses.get(path, Use())
    if use.keys:
        keys = {key: _structure((*path, key), uses, "", inputs) for key in use.keys}
        tree = Record(Batch, keys) if use.attributes else keys
        return PerExample(tree) if use.listed else tree
    if use.elements and Input(path, use).role != "edges" and not annotation.endswith("Tensor"):
        return tuple(_structure((*path, i), uses, "", inputs) for i in range(use.elements))
    inputs.append(Input(path, use, annotation))
    return path


def _filled(tree: Any, chosen: dict[Path, Any]) -> Any:
    """Return the structure with the chosen draws in place of paths."""
    if isinstance(tree, PerExample):
        filled = _filled(tree.tree, chosen)
        return PerExample(changed(filled, _objects))
    if isinstance(tree, Record):
        return tree._replace(tree=_filled(tree.tree, chosen))
    if isinstance(tree, dict):
        return {key: _filled(item, chosen) for key, item in tree.items()}
    if isinstance(tree, tuple) and tree in chosen:
        return chosen[tree]
    return tuple(_filled(item, chosen) for item in tree) if isinstance(tree, tuple) else tree


def _objects(draw: Draw) -> Draw:
    """Return what belongs to the two objects of one example."""
    return replace(draw, shape=(2, *(draw.shape if draw.what == "boxes" else ())), batch=None)


def _choices(options: list[list[Any]]) -> Iterator[tuple[Any, ...]]:
    """Yield the first of all, the same one of inputs with the same options, then all other combinations.

    In the order of how far they are from the first of all.
    """
    known: dict[Any, int] = {}
    alike = [known.setdefault(tuple(each) if _are_draws(each) else i, i) for i, each in enumerate(options)]
    kinds = list(dict.fromkeys(alike))
    if len(kinds) < len(options):
        for choice in itertools.islice(_choices([options[kind] for kind in kinds]), _MAX_ALIKE):
            of = dict(zip(kinds, choice, strict=True))
            yield tuple(of[kind] for kind in alike)
    longest = sum(len(each) - 1 for each in options)
    for distance in range(min(longest, 14) + 1):
        for places in _summing([len(each) for each in options], distance):
            yield tuple(each[place] for each, place in zip(options, places, strict=True))


def _are_draws(options: list[Any]) -> bool:
    return all(isinstance(each, Draw) for each in options)


def _summing(sizes: list[int], total: int) -> Iterator[tuple[int, ...]]:
    """Yield one index below each size, which sum to the total."""
    if not sizes:
        if total == 0:
            yield ()
        return
    for first in range(min(total, sizes[0] - 1), -1, -1):
        for rest in _summing(sizes[1:], total - first):
            yield first, *rest


def _options(model: nn.Module, item: Input, inputs: list[Input], graph: bool) -> list[Any]:
    """Return what one input may be, the likely first; at least one."""
    layer, place = item.use.layers[0] if item.use.layers else (None, 0)
    if item.use.spread is not None and is_pretrained_model(item.use.spread):
        return [
            candidate.kwargs for candidate in itertools.islice(transformers_candidates(item.use.spread), 3)
        ]
    if layer is not None and type(layer).__module__.startswith(DETECTION):
        return [detected(place)]
    plain = next(
        (value for kind, value in _PLAIN.items() if item.annotation in (kind, f"<class '{kind}'>")), None
    )
    if plain is not None:
        return [plain]
    if item.use.loss:
        found: list[Any] = list(compared(model, item.use.loss))
    elif isinstance(layer, (nn.RNNBase, nn.RNNCellBase)) and place > 0:
        found = states_of(layer, item)
    else:
        found = list(by_role(model, item, layer, inputs, graph))
        if item.use.joined and isinstance(layer, (nn.Linear, nn.Conv2d)):
            found.append(share(item, layer))
        if layer is not None:
            stateful = any(other.use.layers[:1] == [(layer, 1)] for other in inputs)
            found += [_draw(probe, layer, stateful) for probe in fitting(layer)]
        else:
            found += [_draw(probe) for leaf in leaves_of(model) for probe in fitting(leaf)]
    found = [_ranked(draw, item) for draw in found]
    found = [_of_sizes(draw, item.use) for draw in found]
    if item.use.stepped:
        found = [*(replace(d, shape=(4, *d.shape)) for d in found if isinstance(d, Draw)), *found]
    if (
        item.role != "offsets"
        and isinstance(layer, nn.EmbeddingBag)
        and any(other.role == "offsets" for other in inputs)
    ):
        found = [_unbatched_alone(draw) for draw in found if isinstance(draw, Draw) and draw.shape]
    if graph and item.role not in ("edges", "edge values", "graph ids"):
        found = [_unbatched(draw) for draw in found]
    if item.use.listed and ("list" in item.annotation.lower() or item.role == "images"):
        found = [*(PerExample(_unbatched_alone(d)) for d in found if isinstance(d, Draw)), *found]
    elif item.use.listed:  # views of the same examples
        found = [*found[:3], *([d, d] for d in found[:2] if isinstance(d, Draw)), *found[3:]]
    found = found or [Draw("vectors", (1,))]
    return list(dict.fromkeys(found)) if all(map(_hashable, found)) else found


def _draw(probe: Probe, layer: nn.Module | None = None, stateful: bool = False) -> Draw:
    first = isinstance(layer, nn.RNNBase) and not layer.batch_first and stateful
    batch = 1 if first and len(probe.shape) == 2 else 0
    if probe.high:
        return Draw(probe.what, probe.shape, "integers", probe.high, batch=batch)
    return Draw(probe.what, probe.shape, batch=batch)


def _hashable(value: Any) -> bool:
    try:
        hash(value)
    except TypeError:
        return False
    return True


def _ranked(draw: Any, item: Input) -> Any:
    """Give a draw as many dimensions as the forward unpacks; a time or a view axis is inserted first."""
    if not isinstance(draw, Draw) or not item.use.rank or draw.batch is None:
        return draw
    missing = item.use.rank - 1 - len(draw.shape)
    if missing > 0:
        return replace(draw, shape=(*[4] * missing, *draw.shape))
    if missing == -1:
        return replace(draw, batch=None)
    return draw


def _of_sizes(draw: Any, use: Use) -> Any:
    """Give a draw the sizes that the forward demands."""
    if not isinstance(draw, Draw):
        return draw
    for axis, size in use.sizes.items():
        at = axis if axis < 0 or draw.batch is None else axis - 1
        if axis != draw.batch and -len(draw.shape) <= at < len(draw.shape):
            draw = draw.resized(at, size)
    return draw


def _single(draw: Draw) -> Draw:
    """Return a batch of one example."""
    at = draw.batch
    return draw if at is None else replace(draw, shape=(*draw.shape[:at], 1, *draw.shape[at:]), batch=None)


def _step(draw: Draw) -> Draw:
    """Return one token, and all else as a batch of one."""
    return replace(draw, shape=(1,), batch=None) if draw.kind == "integers" else _single(draw)


def _unbatched_alone(draw: Draw) -> Draw:
    return replace(draw, batch=None)


def _unbatched(draw: Any) -> Any:
    """Return what belongs to the nodes of one graph: the first dimension counts nodes."""
    if not isinstance(draw, Draw) or draw.batch is None:
        return draw
    shape = (NODES, *draw.shape[-1:]) if draw.kind == "normal" else (NODES,)
    return replace(draw, shape=shape, batch=None)


def drawn_by_name(model: nn.Module, name: str) -> list[Any]:
    """Return what an optional input of this name may be."""
    inputs: list[Input] = []
    tree = _structure((name,), uses_of(model), "", inputs)
    options = [_options(model, item, inputs, graph=False) for item in inputs]
    paths = [item.path for item in inputs]
    choices = itertools.islice(_choices(options), 6)
    return [_filled(tree, dict(zip(paths, choice, strict=True))) for choice in choices]
