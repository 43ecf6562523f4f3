"""Formats what plans freeze as plain PyTorch code, to paste into a training script."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import compress
from operator import not_
from textwrap import wrap
from typing import NamedTuple

from freezetui.checkpoint.state_dict.wrappers import SEGMENTS
from freezetui.checkpoint.types import Checkpoint, can_require_grad
from freezetui.errors import ConfigError
from freezetui.formatting.python_literals import MAX_WIDTH, name_items, string, table
from freezetui.formatting.python_templates import (
    COUNTED,
    FREEZE,
    IS_FROZEN,
    KEPT,
    OF_ADAPTER,
    OTHERS,
    PRESUMED,
    TRAIN,
    WITHOUT,
)
from freezetui.freeze.peft_prefixes import is_added
from freezetui.freeze.plan import FROZEN, TRAINABLE, FreezePlan
from freezetui.freeze.tree import ParamTree
from freezetui.recognition.adapters import adapter_parts
from freezetui.text import printable, quoted

#: Buffers that a forward pass in train mode rewrites: running statistics, and spectral norm's vectors.
_STATISTICS = ("running_mean", "_u", "weight_u")

#: Segments of live names that PEFT adds to those in an adapter's file.
_OF_PEFT = ("default", "modules_to_save")


class _Stage(NamedTuple):
    """What one stage freezes.

    Attributes:
        prefixes: of names; each ends with a dot.
        elements: how many elements that is.
        spans: the tensors in frozen modules, as ascending half-open ranges.
        kept: as `prefixes`: what may be a buffer or a parameter among them, and no rule freezes.
    """

    prefixes: tuple[str, ...]
    elements: int
    spans: tuple[tuple[int, int], ...]
    kept: tuple[str, ...] = ()


def python_code(
    checkpoint: Checkpoint,
    tree: ParamTree,
    masks: Mapping[str, bytes],
    config: str = "",
    hold_norms: bool = True,
    model: str = "",
    hold_modules: bool = False,
) -> str:
    """Return Python code that freezes in a live model what `masks` freeze, and trains everything else.

    Names are those of the tree. The code checks that it has frozen as many elements.

    Args:
        tree: of the checkpoint's tensors, or of the live model's.
        masks: stage -> per tensor, 1 to train, 0 to freeze, 2 for a buffer of which that is not known; ""
            alone for a plan without stages.
        config: the name of the config's file, for the comment.
        hold_norms: whether frozen norms stay in eval.
        model: the class whose names the tree has; "" if they are the checkpoint's.
        hold_modules: whether all of each frozen module stays in eval, dropout included.

    Raises:
        ConfigError: a tensor and a module have the same name, and only one of them is frozen.
    """
    presumed = _presumed(tree)
    stages = {name: _stage(tree, mask, presumed) for name, mask in masks.items()}
    parts, staged = _adapter_parts(checkpoint), list(stages) != [""]
    unsure = _unsure(tree, masks.values())
    statistics = _statistics(tree, stages.values()) if hold_norms and not hold_modules else ()
    words = {
        "rest": "the rest of the adapter" if parts else "everything else",
        "others": OTHERS if parts else "",
        "arg": ", stage" if staged else "",
        "key": "[stage]" if staged else "",
        "optimizer": "each stage's optimizer" if staged else "the optimizer",
        "prefixes": "".join(WITHOUT.format(string(prefix)) for prefix in _prefixes(checkpoint, tree)),
        **_train_words(statistics),
    }
    words["file_name"] = "in_file(name)" if parts else 'f"{name}."'
    words["kept"] = KEPT.format(**words) if any(stage.kept for stage in stages.values()) else ""
    words["buffers"] = COUNTED.format(**words) if unsure else ""
    words["presumed"] = PRESUMED.format(**words) if presumed else ""
    functions = [OF_ADAPTER if parts else IS_FROZEN, FREEZE]
    if statistics or hold_modules:
        functions.append(TRAIN)
    lines = [*_heading(checkpoint, config, model), "", *_data(tree, stages, parts, unsure, presumed)]
    code = (function.format(**words) for function in functions)
    return "\n".join(lines) + "\n" + "".join(f"\n\n{function}" for function in code)


def _heading(checkpoint: Checkpoint, config: str, model: str) -> Iterator[str]:
    """Yield what the code is for, and whose names it has."""
    subject = f" for {printable(config)}" if config else ""
    names = f"a {model} loaded from" if model else "the checkpoint"
    yield from _comment(f"Plain PyTorch{subject}, written by freezetui.")
    yield from _comment(f"Names are those of {names} {printable(checkpoint.source)}.")


def _data(
    tree: ParamTree,
    stages: Mapping[str, _Stage],
    parts: Sequence[str],
    unsure: Sequence[str],
    presumed: Iterable[int],
) -> Iterator[str]:
    """Yield what the functions look up.

    Args:
        parts: those of live names that an adapter has.
        unsure, presumed: see `_unsure` and `_presumed`.
    """
    text = "\n".join([tensor.name for tensor in tree.tensors])  # one search each through all names
    segments = (*SEGMENTS, *_OF_PEFT) if parts else SEGMENTS
    wrappers = [f"{each}." for each in segments if f"{each}." not in text]
    added_by = "torch.compile, FSDP, PEFT" if parts else "torch.compile, FSDP"
    yield from _comment(f"Segments of names that {added_by} and the like add.")
    yield from table("WRAPPERS", {"": list(map(string, wrappers))})
    what = "a parameter or module whose name, followed by a dot, starts with one of these"
    yield from _comment(f"What is frozen: {what}.")
    yield from table("FROZEN", {name: name_items(stage.prefixes) for name, stage in stages.items()})
    yield from _comment("How many elements are frozen; a tied tensor counts once.")
    yield from table("EXPECTED", {name: stage.elements for name, stage in stages.items()})
    if unsure:
        yield from _comment("Last parts of names that may be of parameters or of buffers.")
        yield from table("UNSURE", {"": list(map(string, unsure))})
    if lasts := dict.fromkeys(tree.names[tree.position[i]] for i in presumed):
        yield from _comment(
            "Last parts of names that look like those of buffers. If the model has a parameter there, it is "
            "frozen with its module, does not count, and else keeps its own flag."
        )
        yield from table("BUFFERS", {"": list(map(string, lasts))})
        yield "OWN_FLAGS = {}"
    if any(stage.kept for stage in stages.values()):
        yield from _comment("Of those, what no rule freezes, although the rest of the module is frozen.")
        yield from table("KEPT", {name: name_items(stage.kept) for name, stage in stages.items()})
    if parts:
        yield from _comment(
            "The checkpoint is an adapter; the parameters of its base model keep their flags."
        )
        yield from table("ADDED", {"": [string(part) for part in parts if is_added(part)]})
        yield from table("WHOLE", {"": [string(part[1:]) for part in parts if not is_added(part)]})


def _train_words(statistics: Sequence[str]) -> dict[str, str]:
    """Return what the code says of modules that stay in eval: those with statistics, or all without any."""
    has = " or ".join(f"hasattr(module, {string(name)})" for name in statistics)
    if not has:
        return {"why": "frozen modules would have dropout", "has_statistics": ""}
    has = f"({has})" if len(statistics) > 1 else has
    return {"why": "frozen norms would change their statistics", "has_statistics": f"{has} and "}


def _comment(text: str) -> list[str]:
    """Return a comment in lines of at most MAX_WIDTH; names are not broken."""
    width = MAX_WIDTH - len("# ")
    return [f"# {line}" for line in wrap(text, width, break_long_words=False, break_on_hyphens=False)]


def _adapter_parts(checkpoint: Checkpoint) -> tuple[str, ...]:
    """Return what live names contain that the file of an adapter holds; () for another checkpoint."""
    return adapter_parts(tensor.name for tensor in checkpoint.tensors)


def _stage(tree: ParamTree, mask: bytes, presumed: Sequence[int]) -> _Stage:
    """Return what a mask freezes, as the fewest prefixes that match nothing which trains.

    Args:
        presumed: tensors that look like buffers.

    Raises:
        ConfigError: a tensor and a module have the same name, and only one of them is frozen.
    """
    plan = FreezePlan(tree, mask)
    states = plan.states
    _refuse_split_names(plan)
    frozen = plan.totals().frozen
    if not frozen.tensors:
        return _Stage((), 0, ())
    everything = not states.count(TRAINABLE)
    nodes, node = [], 1
    while node < len(tree):
        start, stop = tree.span(node)
        trains = states.count(TRAINABLE, start, stop) > 0
        freezes = everything or states.count(FROZEN, start, stop) > 0
        if freezes and not trains:
            nodes.append(node)
        node = node + 1 if freezes and trains else tree.end[node]
    own = [tree.position[i] for i in presumed if mask[i] == FROZEN]
    known = frozenset(nodes)
    nodes += (node for node in own if known.isdisjoint(_above(tree, node)))
    others = [tree.position[i] for i in presumed if mask[i] == TRAINABLE]
    kept = [node for node in others if not known.isdisjoint(_above(tree, node))]
    spans = tuple(tree.span(n) for n in nodes if not tree.leaf[n])
    return _Stage(_prefixed(tree, nodes), frozen.elements, spans, _prefixed(tree, kept))


def _prefixed(tree: ParamTree, nodes: Iterable[int]) -> tuple[str, ...]:
    """Return the paths of nodes, each once and with a dot at its end."""
    return tuple(dict.fromkeys(f"{path}." for path in _paths(tree, sorted(nodes))))


def _above(tree: ParamTree, node: int) -> Iterator[int]:
    """Yield a node and those around it, the root left out."""
    while node > 0:
        yield node
        node = tree.parents[node]


def _paths(tree: ParamTree, nodes: Iterable[int]) -> Iterator[str]:
    """Yield the path of each node; that of a module above several of them is found once."""
    above = {0: ""}
    for node in nodes:
        parent = tree.parents[node]
        if parent not in above:
            above[parent] = f"{tree.path(parent)}."
        yield above[parent] + tree.names[node]


def _refuse_split_names(plan: FreezePlan) -> None:
    """Refuse a plan in which a tensor and a module have the same name, and only one of them is frozen.

    Raises:
        ConfigError: it is such a plan.
    """
    tree, states = plan.tree, plan.states
    shared = {*compress(tree.names, tree.leaf)}.intersection(compress(tree.names, map(not_, tree.leaf)))
    for node in tree.position if shared else ():
        if tree.names[node] not in shared:
            continue
        several = tree.named(tree.parents[node], tree.names[node])
        if len({states.count(TRAINABLE, *tree.span(same)) > 0 for same in several}) > 1:
            raise ConfigError(
                f"{quoted(tree.path(node))} is both a tensor and a module, and only one of them is frozen.",
                "No PyTorch model can have both: freeze both or train both.",
            )


def _prefixes(checkpoint: Checkpoint, tree: ParamTree) -> Iterator[str]:
    """Yield the prefixes that a live model may have before the checkpoint's names."""
    if all(tree.leaf[node] for node in tree.named(0, "module")):
        yield "module."
    own = checkpoint.prefix
    for wrapper in ("module", *SEGMENTS):
        own = own.replace(f"{wrapper}.", "")
    if own:
        yield own


def _statistics(tree: ParamTree, stages: Iterable[_Stage]) -> tuple[str, ...]:
    """Return the names of the buffers that frozen norms have."""
    found: set[str] = set()
    for start, stop in {span for stage in stages for span in stage.spans}:
        found.update(map(tree.names.__getitem__, tree.position[start:stop]))
    return tuple(name for name in _STATISTICS if name in found)


def _unsure(tree: ParamTree, masks: Iterable[bytes]) -> tuple[str, ...]:
    """Return the last segments of what is frozen as a parameter, but may be a buffer, such as a mean."""
    guessed = (t.guessed and not t.untrainable_reason for t in tree.tensors)
    places = list(compress(range(len(tree.tensors)), guessed))
    frozen = {i for mask in masks for i in places if not mask[i]} if places else ()
    return tuple(dict.fromkeys(tree.tensors[i].name.rpartition(".")[2] for i in sorted(frozen)))


def _presumed(tree: ParamTree) -> list[int]:
    """Return what looks like a buffer by its last segment alone, but may be a parameter, such as a mask."""
    looks = [t.kind == "buffer" and t.guessed and can_require_grad(t.dtype) for t in tree.tensors]
    if not any(looks):
        return []
    names = list(map(tree.names.__getitem__, tree.position))
    others = {name for name, one in zip(names, looks, strict=True) if not one}
    return [i for i in compress(range(len(names)), looks) if names[i] not in others]
