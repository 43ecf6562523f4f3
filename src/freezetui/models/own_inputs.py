"""Candidates for a user's own forward: from its signature, the names in it, and the layers that read them."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from dataclasses import replace
from inspect import Parameter, signature
from typing import Any, NamedTuple

import torch
from torch import nn

from freezetui.models.consumers import Path, Use, uses_of
from freezetui.models.draws import Candidate, Constant, Draw, PerExample, changed
from freezetui.models.probes import Probe, fitting, leaves_of

#: How many nodes and edges a graph has, how long a sequence is, how many points are in a cloud.
_NODES, _EDGES, LENGTH, _POINTS = 10, 20, 16, 32
#: How many candidates of one forward are made.
_MAX_CANDIDATES = 48

#: What an input is, by its name; the first that matches counts.
_NAMES: tuple[tuple[str, str], ...] = (
    ("edges", r"edge_index|edge_idx|edges|edge_list"),
    ("edge values", r"edge_(attr|weight|feat\w*)"),
    ("graph ids", r"batch_?(index|idx|vec\w*|ids?)"),
    ("adjacency", r"adj\w*|a_hat|laplacian"),
    ("step", r"batch_idx|batch_nb|optimizer_idx|dataloader_idx|\w*_step|step_num|epoch"),
    ("lengths", r"(\w*_)?(len|lens|length|lengths|seq_lens?)"),
    ("offsets", r"offsets?"),
    ("mask", r"(\w*_)?masks?|padding|(\w*_)?valid"),
    ("times", r"(\w*_)?(t|ts|times?|timesteps?|sigmas?|noise_(level|label)s?|diffusion_step|tau|snr)"),
    ("state", r"h|hx|c|cx|h_?\d|c_?\d|(\w*_)?(hidden|state|states|hc|carry|cell|memory_state)(_\w*)?"),
    ("labels", r"y|(\w*_)?(labels?|targets?|class|classes|class_labels?|cls|cond_label|categories)"),
    ("tokens", r"(\w*_)?(input_ids|ids?|tokens?|texts?|captions?|words?|src|tgt|trg|questions?|sentences?|"
     r"premise|hypothesis|query_ids|idx|indices)"),
    ("points", r"(\w*_)?(points?|xyz|coords?|coordinates|pts|pos|positions?|dirs?|directions?|"
     r"rays?|ray_\w+|clouds?)"),
    ("images", r"(\w*_)?(images?|imgs?|pixel_values|pixels?|frames?|pictures?|photos?|noisy\w*|sample)(_\w*)?"),
    ("signals", r"(\w*_)?(audio|wave|waves|waveforms?|wav|signals?|speech|ecg|eeg|spec\w*|mels?)"),
    ("columns", r"(x_)?(cat|categ|categorical|cats|x_categ|categorical_features?|sparse\w*)(_\w*)?"),
    ("numbers", r"(x_)?(num|numeric|numerical|cont|continuous|dense|scalars?)(_\w*)?"),
    ("context", r"(\w*_)?(context|cond|conditions?|encoder_hidden_states|memory|encoder_out\w*|emb\w*)"),
)  # fmt: skip


class _Input(NamedTuple):
    """One input: where it is in the signature, what it is called, what reads it."""

    path: Path
    use: Use
    annotation: str = ""

    @property
    def name(self) -> str:
        """The innermost name."""
        if self.use.alias:
            return self.use.alias
        return next((str(part) for part in reversed(self.path) if isinstance(part, str)), "")

    @property
    def role(self) -> str:
        """What its name says it is; "" if nothing."""
        name = self.name.lower().strip("_")
        return next((role for role, pattern in _NAMES if re.fullmatch(pattern, name)), "")


def own_candidates(model: nn.Module) -> Iterator[Candidate]:
    """Yield inputs for the model's forward, the likely ones first.

    Each input has several options; all take their first one, then one after the other its further ones.
    """
    parameters = required(model)
    uses = uses_of(model)
    positional, keywords = [], {}
    inputs: list[_Input] = []
    for parameter in parameters:
        annotation = str(parameter.annotation) if parameter.annotation is not Parameter.empty else ""
        tree = _structure((parameter.name,), uses, annotation, inputs)
        if parameter.kind is Parameter.KEYWORD_ONLY:
            keywords[parameter.name] = tree
        elif parameter.kind is Parameter.VAR_KEYWORD:
            keywords |= tree if isinstance(tree, dict) else {}
        else:
            positional.append(tree)
    if not inputs:
        return
    graph = any(item.role == "edges" for item in inputs)
    options = [_options(model, item, inputs, graph) for item in inputs]
    for choice in itertools.islice(_choices(options), _MAX_CANDIDATES):
        chosen = dict(zip((item.path for item in inputs), choice, strict=True))
        yield Candidate(tuple(_filled(tree, chosen) for tree in positional), _filled(keywords, chosen))
    for choice in itertools.islice(_choices(options), 3):  # one example, without a batch or in one of its own
        for change in (_unbatched_alone, _single):
            chosen = dict(zip((item.path for item in inputs), changed(choice, change), strict=True))
            yield Candidate(tuple(_filled(tree, chosen) for tree in positional), _filled(keywords, chosen))


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


def _structure(path: Path, uses: dict[Path, Use], annotation: str, inputs: list[_Input]) -> Any:
    """Return an input's containers with its path in place of each tensor; collects the tensors' inputs."""
    use = uses.get(path, Use())
    if use.keys:
        return {key: _structure((*path, key), uses, "", inputs) for key in use.keys}
    if use.elements and _Input(path, use).role != "edges" and not annotation.endswith("Tensor"):
        return tuple(_structure((*path, i), uses, "", inputs) for i in range(use.elements))
    inputs.append(_Input(path, use, annotation))
    return path


def _filled(tree: Any, chosen: dict[Path, Any]) -> Any:
    """Return the structure with the chosen draws in place of paths."""
    if isinstance(tree, dict):
        return {key: _filled(item, chosen) for key, item in tree.items()}
    if isinstance(tree, tuple) and tree in chosen:
        return chosen[tree]
    return tuple(_filled(item, chosen) for item in tree) if isinstance(tree, tuple) else tree


def _choices(options: list[list[Any]]) -> Iterator[tuple[Any, ...]]:
    """Yield the first of all, then all combinations in the order of how far they are from that."""
    longest = sum(len(each) - 1 for each in options)
    for distance in range(min(longest, 14) + 1):
        for places in _summing([len(each) for each in options], distance):
            yield tuple(each[place] for each, place in zip(options, places, strict=True))


def _summing(sizes: list[int], total: int) -> Iterator[tuple[int, ...]]:
    """Yield one index below each size, which sum to the total."""
    if not sizes:
        if total == 0:
            yield ()
        return
    for first in range(min(total, sizes[0] - 1), -1, -1):
        for rest in _summing(sizes[1:], total - first):
            yield first, *rest


def _options(model: nn.Module, item: _Input, inputs: list[_Input], graph: bool) -> list[Any]:
    """Return what one input may be, the likely first; at least one."""
    layer, place = item.use.layers[0] if item.use.layers else (None, 0)
    if isinstance(layer, (nn.RNNBase, nn.RNNCellBase)) and place > 0:
        found: list[Any] = _states(layer, item)
    else:
        found = list(_by_role(model, item, layer, inputs, graph))
        if item.use.joined and isinstance(layer, nn.Linear):
            found.append(_share(item, layer))
        if layer is not None:
            stateful = any(other.use.layers[:1] == [(layer, 1)] for other in inputs)
            found += [_draw(probe, layer, stateful) for probe in fitting(layer)]
        else:
            found += [_draw(probe) for leaf in leaves_of(model) for probe in fitting(leaf)]
    found = [_ranked(draw, item) for draw in found]
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
    return list(dict.fromkeys(found)) if all(map(_hashable, found)) else found


def _share(item: _Input, layer: nn.Linear) -> Draw:
    """Return an equal part of the features that a layer reads of several inputs; the last has the rest."""
    count = len(item.use.joined)
    part = max(1, layer.in_features // count)
    is_last = item.use.joined[-1] == item.path
    return Draw("vectors", (layer.in_features - part * (count - 1) if is_last else part,))


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


def _ranked(draw: Any, item: _Input) -> Any:
    """Give a draw as many dimensions as the forward unpacks; a time or a view axis is inserted first."""
    if not isinstance(draw, Draw) or not item.use.rank or draw.batch is None:
        return draw
    missing = item.use.rank - 1 - len(draw.shape)
    if missing > 0:
        return replace(draw, shape=(*[4] * missing, *draw.shape))
    if missing == -1:
        return replace(draw, batch=None)
    return draw


def _single(draw: Draw) -> Draw:
    return draw if draw.batch is None else replace(draw, shape=(1, *draw.shape), batch=None)


def _unbatched_alone(draw: Draw) -> Draw:
    return replace(draw, batch=None)


def _unbatched(draw: Any) -> Any:
    """Return what belongs to the nodes of one graph: the first dimension counts nodes."""
    if not isinstance(draw, Draw) or draw.batch is None:
        return draw
    shape = (_NODES, *draw.shape[-1:]) if draw.kind == "normal" else (_NODES,)
    return replace(draw, shape=shape, batch=None)


def _states(layer: Any, item: _Input) -> list[Any]:
    """Return a recurrent layer's state: one tensor, or two for an LSTM."""
    if isinstance(layer, nn.RNNCellBase):
        one = Draw("states", (layer.hidden_size,))
        return [one, (one, one)] if isinstance(layer, nn.LSTMCell) else [one]
    depth = layer.num_layers * (2 if layer.bidirectional else 1)
    one = Draw("states", (depth, layer.hidden_size), batch=1)
    if not isinstance(layer, nn.LSTM):
        return [one]
    cell = Draw("states", (depth, getattr(layer, "hidden_size", 1)), batch=1)
    project = getattr(layer, "proj_size", 0)
    hidden = Draw("states", (depth, project), batch=1) if project else one
    return [one, (hidden, cell)] if isinstance(item.path[-1], int) else [(hidden, cell), one]


def _by_role(
    model: nn.Module, item: _Input, layer: nn.Module | None, inputs: list[_Input], graph: bool
) -> Iterator[Any]:
    """Yield what the name of an input says, with the sizes of the layer that reads it."""
    role = item.role
    rows = layer.num_embeddings if isinstance(layer, (nn.Embedding, nn.EmbeddingBag)) else 0
    width = _width(layer)
    if role in ("edges", "edge values", "graph ids", "adjacency") or (
        role == "" and graph and item.name == "batch"
    ):
        yield from _of_graph(role or "graph ids", width)
    elif item.name == "batch" and graph:
        yield from _of_graph("graph ids", width)
    elif role == "step":
        yield Constant(0)
    elif role == "lengths":
        yield Draw("lengths", (), "integers", LENGTH + 1, LENGTH)
    elif role == "offsets":
        yield Constant(torch.tensor([0, LENGTH // 2]))
    elif role == "mask":
        yield from _masks(item, width)
    elif role == "times":
        yield Draw("times", (), "integers", min(rows, 10) or 10, min(rows - 1, 1) if rows else 1)
        yield Draw("times", (), "uniform")
        yield Draw("times ", (1,), "uniform")
    elif role == "labels" and (rows or layer is None):
        yield Draw("labels", (), "integers", rows or 2)
        yield Draw("labels", (LENGTH,), "integers", rows or 2)
        yield from (Draw("targets", (n,)) for n in (1, *_last_widths(model)))
    elif role == "columns" or item.use.columns > 1:
        count = item.use.columns or 1
        high = min((m.num_embeddings for m in model.modules() if isinstance(m, nn.Embedding)), default=2)
        yield Draw("columns", (count,), "integers", high)
    elif role == "tokens" and layer is None:
        every = [m for m in model.modules() if isinstance(m, nn.Embedding)]
        yield from (Draw("tokens", (LENGTH,), "integers", m.num_embeddings) for m in every[:2])
    elif role == "points":
        yield from _points(layer, width)
    elif isinstance(layer, nn.Embedding) and len(inputs) > 1 and role != "tokens":
        others = [other.use.layers[0][0] for other in inputs if other.use.layers]
        if all(isinstance(other, nn.Embedding) for other in others) and role != "state":
            yield Draw("indices", (), "integers", rows)
    elif isinstance(layer, (nn.Conv1d, nn.Conv2d)) and item.use.lifted and layer.in_channels == 1:
        size: tuple[int, ...] = (1024,) if isinstance(layer, nn.Conv1d) else (64, 64)
        yield Draw("signals" if len(size) == 1 else "images", size)
        yield Draw("signals", (16000,))
    elif role == "context" and width:
        yield Draw("context", (7, width))
        yield Draw("context", (width,))


def _width(layer: nn.Module | None) -> int:
    """Return how many features or channels a layer reads; 0 if that is not known."""
    for name in ("in_features", "in_channels", "input_size", "embed_dim", "num_features"):
        value = getattr(layer, name, None)
        if isinstance(value, int):
            return value
    return 0


def _last_widths(model: nn.Module) -> list[int]:
    widths = [m.out_features for m in model.modules() if isinstance(m, nn.Linear)]
    return widths[-1:]


def _points(layer: nn.Module | None, width: int) -> Iterator[Draw]:
    """Yield clouds of points for a convolution over them, single points for a Linear."""
    if isinstance(layer, (nn.Conv1d, nn.Conv2d)):
        yield Draw("points", (width, _POINTS) if isinstance(layer, nn.Conv1d) else (width, _POINTS, 8))
        yield Draw("points", (_POINTS, width))
    elif isinstance(layer, nn.Embedding):
        return
    else:
        for features in dict.fromkeys((*([width] if 0 < width <= 4 else []), 3, 2)):
            yield Draw("points", (features,))
            yield Draw("points", (_POINTS, features))


def _masks(item: _Input, width: int) -> Iterator[Any]:
    """Yield masks that hide nothing, by either convention."""
    if width:  # a layer reads it: an image of a mask
        return
    ones, zeros = torch.int64, torch.bool
    square = Constant(torch.zeros(LENGTH, LENGTH))
    padding = [Draw("masks", (LENGTH,), "ones", dtype=ones), Draw("masks", (LENGTH,), "zeros", dtype=zeros)]
    pairs = [
        Draw("masks", (1, LENGTH), "ones", dtype=ones),
        Draw("masks", (1, 1, LENGTH), "ones", dtype=ones),
    ]
    named = re.fullmatch(r"(src|tgt|trg|causal|attn)_mask", item.name)
    if "Optional" in item.annotation or "None" in item.annotation:
        yield Constant(None)
    yield from (square, *padding, *pairs) if named else (*padding, *pairs, square)
    yield Draw("masks", (LENGTH, 1), "ones")
    yield Constant(None)


def _of_graph(role: str, width: int) -> Iterator[Any]:
    if role == "edges":
        yield Draw("edges", (2, _EDGES), "integers", _NODES, batch=None)
    elif role == "edge values":
        yield Draw("edge values", (_EDGES, width) if width else (_EDGES,), batch=None)
        yield Draw("edge values", (_EDGES, 1), batch=None)
    elif role == "graph ids":
        yield Constant(torch.arange(_NODES) * 2 // _NODES)
    else:
        yield Draw("adjacency", (LENGTH, LENGTH), "uniform")
        yield Draw("adjacency", (LENGTH, LENGTH), "uniform", batch=None)


def drawn_by_name(model: nn.Module, name: str) -> list[Any]:
    """Return what an optional input of this name may be."""
    item = _Input((name,), uses_of(model).get((name,), Use()))
    return _options(model, item, [item], graph=False)
