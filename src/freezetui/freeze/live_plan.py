"""What the rules of a config make of a live model: flags by live name, and what does not fit. No torch."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from itertools import chain, starmap
from typing import NamedTuple

from freezetui.checkpoint.types import TensorInfo
from freezetui.errors import ConfigError
from freezetui.freeze.name_map import LiveTensor, NameMap, Reshaped
from freezetui.freeze.peft_prefixes import added_prefix
from freezetui.freeze.regexes import Budget
from freezetui.freeze.rules import Action, Rule, matched, paint
from freezetui.freeze.tree import ParamTree
from freezetui.text import listed, quoted

#: Parameters of these origins keep their own flag unless a rule matches nothing but such parameters.
_KEPT = ("adapter", "outside", "base")


class LivePlan(NamedTuple):
    """What a config makes of a live model.

    Attributes:
        trains: live parameter -> requires_grad; parameters that keep their own flag are not in it.
        tree: the tensors of the file, and after them the live parameters that it lacks.
        new: live parameters that the file has nothing for, or nothing of their shape, and that train.
        unplaced: tensors of the file that are frozen, and that the model has no place for.
        dropped: the same that the library leaves out when it loads.
        by_default: live parameters that train only because no rule names them -> the name for a rule.
        presumed: frozen live parameters that the file's reader takes for buffers, by name or dtype.
        problems: why a strict `apply` refuses; empty if it does not.
    """

    trains: dict[str, bool]
    tree: ParamTree
    new: tuple[str, ...]
    unplaced: tuple[str, ...]
    dropped: tuple[str, ...]
    by_default: dict[str, str]
    presumed: frozenset[str]
    problems: tuple[ConfigError, ...]


def live_plan(
    rules: Sequence[Rule],
    default: Action,
    tensors: Sequence[TensorInfo],
    names: NameMap,
    untrainable: Collection[str] = (),
    budget: Budget | None = None,
) -> LivePlan:
    """Return what the rules make of a live model.

    Patterns speak of the file's names, and of the live names, without wrappers, of what the file lacks.

    Args:
        tensors: the file's.
        names: maps them to the live model.
        untrainable: live names of parameters that no gradient can reach, such as integers.
        budget: what the patterns may take together.

    Raises:
        PatternError: a pattern matches nothing, or takes too long.
        ConfigError: of tensors that become one live parameter, some are frozen and some train.
    """
    extras = _extras(names, tensors, untrainable)
    tree = ParamTree([*tensors, *(TensorInfo(n, t.shape, "float32", "parameter") for n, t in extras.items())])
    mask = bytearray([default == "train"]) * len(tree.tensors)
    named, by_rule, orphans = _follow(rules, tree, mask, names, extras, budget or Budget())
    flags = {t.name: bool(train) for t, train in zip(tree.tensors, mask, strict=True)}
    stored = {t.name: flags[t.name] for t in tensors if not t.untrainable_reason}
    _freeze_ties(names, stored, by_rule)
    trains = {name: flag for name, flag in names.to_live(stored).items() if name not in untrainable}
    for reshaped in names.reshaped:
        trains[reshaped.live] = stored.get(reshaped.file, True)
    for name, tensor in extras.items():
        if tensor.origin not in _KEPT or name in named:
            trains[tensor.name] = flags[name] and not tensor.replaced
    presumed = _presumed_buffers(names, tensors, flags).difference(trains, untrainable)
    trains |= dict.fromkeys(presumed, False)
    trains |= {t.name: trains[t.tied_to] for t in names.live if t.tied_to in trains}
    homeless = tuple(file for file in names.unplaced if stored.get(file) is False)
    return LivePlan(
        trains=trains,
        tree=tree,
        new=tuple(name for name in names.missing if trains.get(name)),
        unplaced=homeless,
        dropped=tuple(file for file in names.dropped if stored.get(file) is False),
        by_default=_by_default(names, trains, by_rule),
        presumed=presumed,
        problems=tuple(_problems(names, stored, trains, orphans, homeless)),
    )


def _follow(
    rules: Iterable[Rule],
    tree: ParamTree,
    mask: bytearray,
    names: NameMap,
    extras: Mapping[str, LiveTensor],
    budget: Budget,
) -> tuple[set[str], set[str], list[ConfigError]]:
    """Apply the rules on `mask`, in place.

    Returns:
        what is matched by rules that match nothing but parameters which keep their own flag; what any rule
        matches; an error for each rule that is left without a live parameter.

    Raises:
        PatternError: a pattern matches nothing, or takes too long.
    """
    kept = {name for name, tensor in extras.items() if tensor.origin in _KEPT}
    named: set[str] = set()
    by_rule: set[str] = set()
    orphans: list[ConfigError] = []
    for rule in rules:
        with budget.charged():
            spans = matched(rule.pattern, tree, budget)
            found = [tree.tensors[i].name for i in chain.from_iterable(starmap(range, spans))]
            if kept.issuperset(found):
                named.update(found)
            elif not any(name in extras or _has_parameter(names, name) for name in found):
                orphans.append(_without_parameter(rule, any(map(names.live_of, found))))
            by_rule.update(found)
            paint(mask, tree, spans, rule.action)
    return named, by_rule, orphans


def _presumed_buffers(
    names: NameMap, tensors: Iterable[TensorInfo], flags: Mapping[str, bool]
) -> frozenset[str]:
    """Return the live parameters of which the file has only what looks like buffers, all of them frozen.

    Those that train keep their flag: a mask or a window is often a parameter that its module has frozen.
    """
    frozen = {t.name for t in tensors if t.kind == "buffer" and t.guessed and not flags[t.name]}
    live = (tensor for tensor in names.live if tensor.kind == "parameter" and tensor.files)
    return frozenset(tensor.name for tensor in live if frozen.issuperset(tensor.files))


def _freeze_ties(names: NameMap, stored: dict[str, bool], by_rule: set[str]) -> None:
    """Freeze the copies of a frozen tensor that the model ties to it, if they train by default alone."""
    for group in names.ties:
        files = [file for file in names.files_of(group[0]) if file in stored]
        trained = [file for file in files if stored[file]]
        if len(trained) < len(files) and by_rule.isdisjoint(trained):
            stored.update(dict.fromkeys(trained, False))


def _by_default(names: NameMap, trains: Mapping[str, bool], by_rule: Collection[str]) -> dict[str, str]:
    """Return the live parameters that train although no rule matches them -> their name in a rule."""
    found = {}
    for tensor in names.live:
        known = tensor.files or (tensor.clean or tensor.name,)
        if trains.get(tensor.name) and not any(name in by_rule for name in known):
            found[tensor.name] = known[0]
    return found


def _extras(
    names: NameMap, tensors: Iterable[TensorInfo], untrainable: Collection[str]
) -> dict[str, LiveTensor]:
    """Return, by their names in the tree, the live parameters that the file has no tensor for."""
    taken = {tensor.name for tensor in tensors}
    extras: dict[str, LiveTensor] = {}
    for tensor in names.live:
        own = tensor.kind == "parameter" and not tensor.files and not tensor.tied_to
        name = tensor.clean or tensor.name
        if own and name not in taken and tensor.name not in untrainable:
            extras.setdefault(name, tensor)
    return extras


def _has_parameter(names: NameMap, file: str) -> bool:
    """Whether a tensor of the file has a live parameter, of its own shape or another one."""
    return any(names.by_name[live].kind == "parameter" for live in names.live_of(file)) or any(
        reshaped.file == file for reshaped in names.reshaped
    )


def _problems(
    names: NameMap,
    stored: Mapping[str, bool],
    trains: Mapping[str, bool],
    orphans: Iterable[ConfigError],
    homeless: Collection[str],
) -> Iterator[ConfigError]:
    """Yield what a strict `apply` refuses."""
    if stored and not any(_has_parameter(names, file) for file in stored):
        yield ConfigError(
            "the model has no place for any tensor of the checkpoint.",
            "Apply the config to the model that the checkpoint is for.",
        )
        return
    shapes = {r.live: r for r in names.reshaped}
    if changed := [r for r in names.reshaped if not trains.get(r.live, True)]:
        yield _other_shapes(changed, stored)
    fresh = [name for name in names.missing if name not in shapes and trains.get(name) is False]
    fresh = [name for name in fresh if not names.by_name[name].replaced]
    if fresh:
        yield _without_values(fresh, [names.by_name[name].clean or name for name in fresh])
    yield from orphans
    if lost := lost_block(names.inverse, homeless):
        yield ConfigError(
            f"the checkpoint has the block {lost}, which is frozen, and the model does not.",
            "Apply the config to the model that the checkpoint is for.",
        )


def _without_parameter(rule: Rule, are_buffers: bool) -> ConfigError:
    """Return the error of a rule that matches no live parameter; `are_buffers` if it matches live buffers."""
    said = f"the rule {rule.action}: {quoted(rule.pattern)} matches only"
    if are_buffers:
        return ConfigError(f"{said} buffers of the model, which never train.", "Remove the rule.")
    return ConfigError(
        f"{said} tensors that the model has no place for.",
        "Remove the rule, or load the checkpoint into a model that has them.",
    )


def _other_shapes(changed: Sequence[Reshaped], stored: Collection[str]) -> ConfigError:
    """Return the error of frozen tensors with other shapes in the model: a new head, or another model."""
    first, more = changed[0], len(changed) - 1
    its = "they would keep their" if more else "it would keep its"
    also = f" (and {more:,} more)" if more else ""
    parent = first.file.rpartition(".")[0]
    files = {each.file for each in changed}
    if not more:
        hint = f"Add a rule below: train: {first.file}"
    elif parent and files == {name for name in stored if name.startswith(f"{parent}.")}:
        hint = f"Add a rule below: train: {parent}"
    else:
        hint = "Apply the config to the model that the checkpoint is for, or train them by rules."
    return ConfigError(
        f"{first.live} is {list(first.live_shape)} in the model and {list(first.file_shape)} in the "
        f"checkpoint{also}: frozen, {its} random values.",
        hint,
    )


def _without_values(fresh: Sequence[str], clean: Sequence[str]) -> ConfigError:
    """Return the error of frozen tensors that the checkpoint lacks.

    Args:
        clean: the same names as rules speak of them.
    """
    said, rule = listed(fresh, most=1, longest=None), clean[0]
    if len(fresh) == 1:
        what, hint = "it: it would keep its", f"Add a rule below: train: {rule}"
    else:
        what, hint = "them: they would keep their", f"Add a rule below for each: train: {rule}"
        parent, added = rule.rpartition(".")[0], set(map(added_prefix, clean))
        if len(added) == 1 and "" not in added:
            hint = f"Add a rule below: train: '**.{added.pop()}*'"
        elif parent and all(name.startswith(f"{parent}.") for name in clean):
            hint = f"Add a rule below: train: {parent}"
    return ConfigError(
        f"{said} would be frozen, but the checkpoint has nothing for {what} random values.", hint
    )


def lost_block(placed: Iterable[str], homeless: Collection[str]) -> str:
    """Return a numbered block that has no place though its siblings have one; "" if there is none.

    A block has modules of its own; a layer cut off the end of a Sequential, as is usual for heads, has not.
    """
    known = {family for name in placed for family, _ in _families(name)} if homeless else set()
    return next((block for name in homeless for family, block in _families(name) if family in known), "")


def _families(name: str) -> Iterator[tuple[tuple[str, str], str]]:
    """Yield what a name shares with those of sibling blocks, and the path of its own block."""
    segments = name.split(".")
    for i, segment in enumerate(segments[:-2]):
        if segment.isdigit():
            above, below = ".".join(segments[:i]), ".".join(segments[i + 1 :])
            yield (above, below), ".".join(segments[: i + 1])
