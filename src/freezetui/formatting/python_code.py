"""Formats what plans freeze as plain PyTorch code, which a training script can paste."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from freezetui.checkpoint.state_dict.wrappers import SEGMENTS
from freezetui.checkpoint.types import Checkpoint
from freezetui.errors import ConfigError
from freezetui.freeze.plan import FROZEN, TRAINABLE, FreezePlan
from freezetui.freeze.tree import ParamTree
from freezetui.text import printable, quoted

#: Buffers that a forward pass in train mode rewrites: running statistics, and spectral norm's vectors.
_STATISTICS = ("running_mean", "_u", "weight_u")
_MAX_WIDTH = 100
#: Fewer names read better one by one.
_MIN_JOINED = 3
#: What may stand in an f-string as it is.
_PLAIN = re.compile(r"[A-Za-z0-9_.-]*")
_NUMBER = re.compile(r"0|[1-9][0-9]{0,8}")

_IS_FROZEN = '''\
def is_frozen(name{arg}):
    """Whether the parameter or module called `name` is frozen."""
    for wrapper in WRAPPERS:
        name = name.replace(wrapper, "")
    return (name{prefixes} + ".").startswith(FROZEN{key})
'''
_FREEZE = '''\
def freeze(model{arg}):
    """Freeze what is_frozen says, and train everything else.

    Call it before wrapping the model in DDP, and before building {optimizer}.
    """
    frozen = 0
    for name, parameter in model.named_parameters():  # a tied one once, under its first name
        if not (parameter.is_floating_point() or parameter.is_complex()):
            continue  # integers cannot train
        parameter.requires_grad_(not is_frozen(name{arg}))
        if not parameter.requires_grad:
            parameter.grad = None  # an optimizer would still use it
            frozen += parameter.numel()
    expected = EXPECTED{key}
    assert frozen == expected, f"froze {{frozen:,}} elements, not the {{expected:,}} of the checkpoint"
'''
_TRAIN = '''\
def train(model{arg}):
    """Call this instead of model.train(): in train mode, frozen norms would change their statistics."""
    model.train()
    for name, module in model.named_modules():
        if {has_statistics} and is_frozen(name{arg}):
            module.eval()
'''


class _Stage(NamedTuple):
    """What one stage freezes: prefixes of names that end with a dot, and how many elements."""

    prefixes: tuple[str, ...]
    elements: int


def python_code(
    checkpoint: Checkpoint,
    tree: ParamTree,
    masks: Mapping[str, bytes],
    config: str = "",
    hold_norms: bool = True,
    model: str = "",
) -> str:
    """Return Python code that freezes in a live model what `masks` freeze, and trains everything else.

    Names are those of the tree. The code checks that it has frozen as many elements.

    Args:
        tree: of the checkpoint's tensors, or of the live model's.
        masks: stage -> per tensor, 1 to train and 0 to freeze; "" alone for a plan without stages.
        config: the name of the config's file, for the comment.
        hold_norms: whether frozen norms stay in eval.
        model: the class whose names the tree has; "" if they are the checkpoint's.

    Raises:
        ConfigError: a tensor and a module have the same name, and only one of them is frozen.
    """
    stages = {name: _stage(FreezePlan(tree, mask)) for name, mask in masks.items()}
    names = [tensor.name for tensor in tree.tensors]
    wrappers = [f"{each}." for each in SEGMENTS if not any(f"{each}." in name for name in names)]
    staged = list(stages) != [""]
    words = {
        "arg": ", stage" if staged else "",
        "key": "[stage]" if staged else "",
        "optimizer": "each stage's optimizer" if staged else "the optimizer",
        "prefixes": "".join(f".removeprefix({_string(prefix)})" for prefix in _prefixes(checkpoint, names)),
    }
    subject = f" for {printable(config)}" if config else ""
    lines = [
        f"# Plain PyTorch{subject}, written by freezetui.",
        f"# Names are those of {f'a {model} loaded from' if model else 'the checkpoint'} "
        f"{printable(checkpoint.source)}.",
        "",
        "# Segments of names that torch.compile, FSDP and the like add.",
        f"WRAPPERS = {_tuple(wrappers)}",
        "# What is frozen: a parameter or module whose name, followed by a dot, starts with one of these.",
        *_table("FROZEN", {name: _items(stage.prefixes) for name, stage in stages.items()}),
        "# How many elements are frozen; a tied tensor counts once.",
        *_table("EXPECTED", {name: stage.elements for name, stage in stages.items()}),
    ]
    functions = [_IS_FROZEN, _FREEZE]
    statistics = _statistics(tree, stages.values()) if hold_norms else ()
    if statistics:
        functions.append(_TRAIN)
    words["has_statistics"] = " or ".join(f"hasattr(module, {_string(name)})" for name in statistics)
    if len(statistics) > 1:
        words["has_statistics"] = f"({words['has_statistics']})"
    code = (function.format(**words) for function in functions)
    return "\n".join(lines) + "\n" + "".join(f"\n\n{function}" for function in code)


def _stage(plan: FreezePlan) -> _Stage:
    """Return what a plan freezes, as the fewest prefixes that match nothing which trains.

    Raises:
        ConfigError: a tensor and a module have the same name, and only one of them is frozen.
    """
    tree, states = plan.tree, plan.states
    everything = not states.count(TRAINABLE)
    prefixes = []
    node = 1
    while node < len(tree):
        start, stop = tree.span(node)
        trains = states.count(TRAINABLE, start, stop) > 0
        if not trains and (states.count(FROZEN, start, stop) or everything):
            prefixes.append(f"{tree.path(node)}.")
            node = tree.end[node]
        else:
            node += 1 if trains else tree.end[node] - node
    for node in range(1, len(tree)):
        several = tree.named(tree.parents[node], tree.names[node]) if tree.leaf[node] else []
        if len({states.count(TRAINABLE, *tree.span(same)) > 0 for same in several}) > 1:
            raise ConfigError(
                f"{quoted(tree.path(node))} is both a tensor and a module, and only one of them is frozen.",
                "No PyTorch model can have both: freeze both or train both.",
            )
    frozen = plan.totals().frozen
    return _Stage(tuple(dict.fromkeys(prefixes)) if frozen.tensors else (), frozen.elements)


def _prefixes(checkpoint: Checkpoint, names: Sequence[str]) -> Iterator[str]:
    """Yield the prefixes that a live model may have before the checkpoint's names."""
    if not any(name.startswith("module.") for name in names):
        yield "module."
    own = checkpoint.prefix
    for wrapper in ("module", *SEGMENTS):
        own = own.replace(f"{wrapper}.", "")
    if own:
        yield own


def _statistics(tree: ParamTree, stages: Iterable[_Stage]) -> tuple[str, ...]:
    """Return the names of the buffers that frozen norms have."""
    prefixes = tuple(prefix for stage in stages for prefix in stage.prefixes)
    names = [t.name for t in tree.tensors if t.name.rpartition(".")[2] in _STATISTICS]
    found = {name.rpartition(".")[2] for name in names if name.startswith(prefixes)}
    return tuple(name for name in _STATISTICS if name in found)


def _table(name: str, values: Mapping[str, object]) -> Iterator[str]:
    """Yield an assignment of one value, or of a dict by stage; a list is written as the items of a tuple."""
    if list(values) == [""]:
        yield from _value(f"{name} = ", values[""], "")
        return
    yield f"{name} = {{"
    for stage, value in values.items():
        yield from _value(f"    {_string(stage)}: ", value, "    ", ",")
    yield "}"


def _value(head: str, value: object, indent: str, tail: str = "") -> Iterator[str]:
    if not isinstance(value, list):
        yield f"{head}{value!r}{tail}"
        return
    line = f"{head}({', '.join(value)}{',' if len(value) == 1 else ''}){tail}"
    if len(line) <= _MAX_WIDTH:
        yield line
        return
    yield f"{head}("
    for item in value:
        yield from _wrapped(f"{indent}    ", item)
    yield f"{indent}){tail}"


def _wrapped(indent: str, item: str) -> Iterator[str]:
    """Yield one item of a tuple; a generator that is too long for a line is split."""
    if not item.startswith("*(") or len(indent) + len(item) < _MAX_WIDTH:
        yield f"{indent}{item},"
        return
    text, *loops = item[2:-1].split(" for ")
    yield f"{indent}*("
    yield f"{indent}    {text}"
    yield from (f"{indent}    for {loop}" for loop in loops)
    yield f"{indent}),"


def _items(prefixes: Sequence[str]) -> list[str]:
    """Return the items of a tuple of strings; those that differ only in one number become a generator."""
    return min((_joined(prefixes, which) for which in (0, -1)), key=lambda items: (len(items), items))


def _joined(prefixes: Sequence[str], which: int) -> list[str]:
    """Return the items, joined over the first (0) or the last (-1) number of each prefix."""
    numbers: dict[tuple[str, str], list[int]] = {}
    for prefix in prefixes:
        if (parts := _around_number(prefix, which)) is not None:
            head, number, tail = parts
            numbers.setdefault((head, tail), []).append(number)
    tails: dict[tuple[str, tuple[int, ...]], list[str]] = {}
    for (head, tail), found in numbers.items():
        tails.setdefault((head, tuple(found)), []).append(tail)
    group_of = {(group[0], tail): group for group, all_ in tails.items() for tail in all_}
    items: dict[object, str] = {}  # by what they stand for, in the order of the first of it
    for prefix in prefixes:
        parts = _around_number(prefix, which)
        group = group_of[parts[0], parts[2]] if parts is not None else ("", ())
        if len(group[1]) < 2 or len(group[1]) * len(tails[group]) < _MIN_JOINED:
            items[prefix] = _string(prefix)
        elif group not in items:
            items[group] = _generator(*group, tails[group])
    return list(items.values())


def _around_number(prefix: str, which: int) -> tuple[str, int, str] | None:
    """Return what is before a number, it, and what is after its dot; None if it cannot be joined."""
    segments = prefix.split(".")
    places = [i for i, segment in enumerate(segments) if _NUMBER.fullmatch(segment)]
    if not places or not _PLAIN.fullmatch(prefix):
        return None
    at = places[which]
    head = "".join(f"{segment}." for segment in segments[:at])
    return head, int(segments[at]), ".".join(segments[at + 1 :])


def _generator(head: str, numbers: Sequence[int], tails: Sequence[str]) -> str:
    first, last = numbers[0], numbers[-1] + 1
    run = list(numbers) == list(range(first, last))
    over = f"range({f'{first}, ' if first else ''}{last})" if run else repr(tuple(numbers))
    if len(tails) == 1:
        return f'*(f"{head}{{i}}.{tails[0]}" for i in {over})'
    return f'*(f"{head}{{i}}.{{part}}" for i in {over} for part in {_tuple(tails)})'


def _tuple(texts: Sequence[str]) -> str:
    return f"({', '.join(map(_string, texts))}{',' if len(texts) == 1 else ''})"


def _string(text: str) -> str:
    """Return a string literal, in double quotes if possible."""
    literal = repr(text)
    return f'"{literal[1:-1]}"' if literal[0] == "'" and '"' not in literal else literal
