"""What an input is by its name, and the draws for it, with the sizes of the layer that reads it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from torch import nn

from freezetui.models.inputs.draws import Constant, Draw, PerExample
from freezetui.models.inputs.forward_source import Path, Use

#: How many nodes and edges a graph has, how long a sequence is, how many points are in a cloud.
NODES, _EDGES, LENGTH, _POINTS = 10, 20, 16, 32
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
    ("index", r"\w+_(id|idx|index)"),
    ("boxes", r"(\w*_)?(boxes|bbox|bboxes)"),
    ("labels", r"y|(\w*_)?(labels?|targets?|class|classes|class_labels?|cls|cond_label|categories)"),
    ("tokens", r"(\w*_)?(input_ids|ids?|tokens?|texts?|captions?|words?|src|tgt|trg|questions?|sentences?|"
     r"premise|hypothesis|query_ids|idx|indices)"),
    ("points", r"(\w*_)?(points?|xyz|coords?|coordinates|pts|pos|positions?|dirs?|directions?|"
     r"rays?|ray_\w+|clouds?)"),
    ("images", r"(\w*_)?(images?|imgs?|pixel_values|pixels?|frames?|photos?|noisy\w*|sample)(_\w*)?"),
    ("signals", r"(\w*_)?(audio|wave|waves|waveforms?|wav|signals?|speech|ecg|eeg|spec\w*|mels?)"),
    ("columns", r"(x_)?(cat|categ|categorical|cats|x_categ|categorical_features?|sparse\w*)(_\w*)?"),
    ("numbers", r"(x_)?(num|numeric|numerical|cont|continuous|dense|scalars?)(_\w*)?"),
    ("context", r"(\w*_)?(context|cond|conditions?|encoder_hidden_states|memory|encoder_out\w*|emb\w*)"),
)  # fmt: skip


class Input(NamedTuple):
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
        if self.use.role:
            return self.use.role
        name = self.name.lower().strip("_")
        names = dict.fromkeys((name, name.rstrip("0123456789_")))  # img1, s2
        found = (role for each in names for role, pattern in _NAMES if re.fullmatch(pattern, each))
        return next(found, "")


def detected(place: int) -> PerExample:
    """Return the images of a detection model, or their targets, as lists."""
    image = Draw("images", (3, 64, 64), "uniform", batch=None)
    target = {
        "boxes": Draw("boxes", (2, 4), "boxes", batch=None),
        "labels": Draw("labels", (2,), "integers", 2, 1, batch=None),
        "masks": Draw("masks", (2, 64, 64), "ones", dtype=torch.uint8, batch=None),
    }
    return PerExample(target if place else image)


def share(item: Input, layer: nn.Linear | nn.Conv2d) -> Draw:
    """Return an equal part of the features that a layer reads of several inputs; the last has the rest."""
    count, width = len(item.use.joined), _width(layer)
    part = max(1, width // count)
    own = width - part * (count - 1) if item.use.joined[-1] == item.path else part
    return Draw("images", (own, 64, 64)) if isinstance(layer, nn.Conv2d) else Draw("vectors", (own,))


def compared(model: nn.Module, loss: str) -> Iterator[Draw]:
    """Yield targets for a loss: classes for cross entropies, else numbers."""
    widths = _last_widths(model) or [1]
    if re.search(r"(?i)^(f\.)?(cross_?entropy|nll|.*softmargin)|CrossEntropyLoss|NLLLoss", loss):
        yield Draw("labels", (), "integers", min(2, *widths))
        yield Draw("labels", (LENGTH,), "integers", 2)
        yield Draw("labels", (64, 64), "integers", 2)
    for shape in dict.fromkeys(((widths[0],), (1,), (), (LENGTH, widths[0]))):
        yield Draw("targets", shape, "uniform")


def states_of(layer: Any, item: Input) -> list[Any]:
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


def by_role(
    model: nn.Module, item: Input, layer: nn.Module | None, inputs: list[Input], graph: bool
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
    elif role == "boxes":
        yield Draw("boxes", (4,), "boxes")
    elif rows and role in ("tokens", "index") and _sequence_first(model, inputs):
        yield Draw("tokens", (LENGTH,), "integers", rows, batch=1)
    elif role == "index" and rows:
        yield Draw("indices", (), "integers", rows)
    elif role == "labels" and (rows or layer is None):
        yield Draw("labels", (), "integers", rows or 2)
        yield Draw("labels", (LENGTH,), "integers", rows or 2)
        yield from (Draw("targets", (n,)) for n in (1, *_last_widths(model)))
    elif (role == "columns" and (rows or layer is None)) or item.use.columns > 1:
        count = item.use.columns or 1
        high = min((m.num_embeddings for m in model.modules() if isinstance(m, nn.Embedding)), default=2)
        yield Draw("columns", (count,), "integers", high)
    elif role == "images" and (item.use.rank == 4 or layer is None) and not _is_convolution(layer):
        yield from (Draw("images", (3, side, side)) for side in (32, 64, 224))
        yield Draw("images", (1, 28, 28))
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


def _is_convolution(layer: nn.Module | None) -> bool:
    weight = getattr(layer, "weight", None)
    return weight is not None and (nn.parameter.is_lazy(weight) or weight.dim() > 2)


def _sequence_first(model: nn.Module, inputs: list[Input]) -> bool:
    """Whether attention, or a layer whose state is an input, reads (length, batch, features)."""
    if any(layer and isinstance(rnn, nn.RNNBase) for one in inputs for rnn, layer in one.use.layers):
        return not any(m.batch_first for m in model.modules() if isinstance(m, nn.RNNBase))
    attention = [m for m in model.modules() if isinstance(m, nn.MultiheadAttention)]
    return bool(attention) and not any(m.batch_first for m in attention)


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


def _masks(item: Input, width: int) -> Iterator[Any]:
    """Yield masks that hide nothing, by either convention."""
    if width:  # a layer reads it: an image of a mask
        return
    ones, zeros = torch.int64, torch.bool
    square = Constant(torch.zeros(LENGTH, LENGTH))
    padding = [Draw("masks", (LENGTH,), "ones", dtype=ones), Draw("masks", (LENGTH,), "zeros", dtype=zeros)]
    if "padding" in item.name:  # torch's own: True hides
        padding.reverse()
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
        yield Draw("edges", (2, _EDGES), "integers", NODES, batch=None)
    elif role == "edge values":
        yield Draw("edge values", (_EDGES, width) if width else (_EDGES,), batch=None)
        yield Draw("edge values", (_EDGES, 1), batch=None)
    elif role == "graph ids":
        yield Constant(torch.arange(NODES) * 2 // NODES)
    else:
        yield Draw("adjacency", (LENGTH, LENGTH), "uniform")
        yield Draw("adjacency", (LENGTH, LENGTH), "uniform", batch=None)
