"""Applies a freeze config to a live model, and verifies the result."""

from __future__ import annotations

import warnings
import weakref
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
from torch import nn

from freezetui import numbers
from freezetui.checkpoint.state_dict.wrappers import unwrap
from freezetui.checkpoint.types import TensorInfo
from freezetui.config.schema import ConfigData, Count, Expect
from freezetui.config.sync import differs
from freezetui.errors import ConfigError
from freezetui.freeze.live_plan import LivePlan, live_plan
from freezetui.freeze.name_map import NameMap
from freezetui.freeze.regexes import Budget
from freezetui.freeze.rules import resolve
from freezetui.models.live_names import ancestry, can_train, live_tensors, plain_path, same_tensor
from freezetui.models.name_map import file_tensors, map_names
from freezetui.models.saved_names import Saved
from freezetui.text import listed
from freezetui.training.norms import frozen_modules, frozen_norms, hold_norms
from freezetui.training.source import find_source
from freezetui.training.unasked import warn_of_base, warn_of_thawed

#: Models that a config was applied to: what is frozen in them now was frozen by us. Of each, the parameters
#: that trained and were frozen although the checkpoint's reader takes them for buffers.
_applied_to: weakref.WeakKeyDictionary[nn.Module, frozenset[str]] = weakref.WeakKeyDictionary()


class Applied(msgspec.Struct, frozen=True):
    """What a config did to a model, as read back from it.

    Attributes:
        frozen, trainable: parameter names without wrappers' prefixes, tied ones under every name.
        counts: tensors and elements of both; a tied tensor counts once.
        norms: paths of the norm layers that are kept in eval.
        new: trainable parameters that the checkpoint has nothing for, or has in another shape: a new head.
        unplaced: frozen tensors of the checkpoint that the model has no place for: an old head, a pooler.
        dropped: frozen tensors of the checkpoint that the library leaves out when it loads.
        tied: all names of each parameter that has several.
        problems: what strict=True would have refused, one line each.
    """

    frozen: tuple[str, ...]
    trainable: tuple[str, ...]
    counts: Expect
    norms: tuple[str, ...]
    new: tuple[str, ...] = ()
    unplaced: tuple[str, ...] = ()
    dropped: tuple[str, ...] = ()
    tied: tuple[tuple[str, ...], ...] = ()
    problems: tuple[str, ...] = ()

    def __str__(self) -> str:
        frozen, trainable = self.counts.frozen, self.counts.trainable or Count(0, 0)
        lists = (
            ("new in the model and trainable", self.new),
            ("frozen in the checkpoint and without a place in the model", (*self.unplaced, *self.dropped)),
        )
        return (
            f"frozen {_counted(frozen)}; trainable {_counted(trainable)}; "
            f"{numbers.plural(len(self.norms), 'norm layer stays', 'norm layers stay')} in eval"
        ) + "".join(f"; {what}: {listed(names, most=3, longest=None)}" for what, names in lists if names)


def _counted(count: Count) -> str:
    return f"{numbers.plural(count.tensors, 'tensor')}, {numbers.plural(count.elements, 'element')}"


def apply(
    config: ConfigData,
    model: nn.Module,
    stage: str | None = None,
    strict: bool = True,
    checkpoint: str | Path | None = None,
    root: str = "",
) -> Applied:
    """Set requires_grad of every parameter by name, and keep frozen norms in eval.

    The rules speak of the checkpoint's names; `find_source` says how they get to the live ones. Segments of
    DDP, FSDP, torch.compile, activation checkpointing and PEFT do not count. Parameters that PEFT added,
    and those of an adapter's base model, keep their flags unless a rule matches nothing else. Gradients of
    frozen parameters from an earlier stage are cleared, since an optimizer would still use them. Apply before
    building the optimizer, and again, with a new optimizer, for every stage.

    Args:
        config: what to freeze.
        model: changed in place.
        stage: adds that stage's rules below the config's own.
        strict: whether to refuse what does not fit; False warns instead.
        checkpoint: the file or directory that the config was saved for, if its names are not the live ones.
        root: the module of `model` that the checkpoint belongs to, e.g. "encoder"; "" finds it.

    Raises:
        ConfigError: the config was saved for a different model, or a flag cannot be set.
        PatternError: a pattern matches no parameter.
        CheckpointError: `checkpoint` cannot be read.
    """
    budget = Budget()
    source = find_source(config, model, stage, checkpoint, root, strict, budget)
    return apply_to(config, model, source, stage, strict, budget)


def apply_checked(
    config: ConfigData, model: nn.Module, tensors: Sequence[TensorInfo], stage: str | None = None
) -> Applied:
    """Apply strictly with the tensors of an open checkpoint, as `apply` does with one that it finds.

    Raises:
        ConfigError, PatternError: as `apply`.
    """
    names = map_names(model, file_tensors(tensors), config.model.root)
    return apply_to(config, model, Saved(names, tuple(tensors)), stage)


def apply_to(
    config: ConfigData,
    model: nn.Module,
    source: Saved,
    stage: str | None = None,
    strict: bool = True,
    budget: Budget | None = None,
) -> Applied:
    """Apply with a known source; see `apply`."""
    budget = budget or Budget()
    plan = _decide(config, model, source, stage, budget)
    problems = plan.problems
    if difference := differs(config, stage, source.tensors, budget, lenient=True):
        why = ConfigError(
            f"the config does not fit the checkpoint: {difference}.",
            "Save the config again for this checkpoint, or apply it with strict=False.",
        )
        problems = (why, *problems)
    if strict and problems:
        raise problems[0]
    for problem in problems:
        warnings.warn(str(problem), stacklevel=3)
    for other in config.stages:  # a typo in a later one must not stop the training halfway
        if other.name != stage:
            resolve(other.rules, plan.tree, config.default, budget)
    _set_flags(model, plan)
    warn_of_base(model, source.names)
    norms = frozen_norms(model) if config.norm_statistics == "freeze" else {}
    whole = frozen_modules(model) if config.frozen_modules == "eval" else {}
    hold_norms(model, norms | whole)
    return _report(model, source.names, plan, list(norms), tuple(map(str, problems)))


def parameter_groups(
    config: ConfigData,
    model: nn.Module,
    lr: float,
    weight_decay: float | None = None,
    stage: str | None = None,
    checkpoint: str | Path | None = None,
    root: str = "",
) -> list[dict[str, Any]]:
    """Return the trainable parameters, each once, as groups for any torch optimizer.

    Args:
        config: already applied to `model`, with the same stage.
        model: the live model.
        lr: learning rate; the stage's `lr_scale` multiplies it.
        weight_decay: None makes one group and leaves the decay to the optimizer; a number makes two,
            with that decay for matrices and kernels and none for vectors and scalars (biases, norms).
        stage, checkpoint, root: the same as for `apply`.

    Raises:
        ConfigError: the config is not applied to this model, or nothing is trainable.
    """
    budget = Budget()
    source = find_source(config, model, stage, checkpoint, root, False, budget)
    plan = _decide(config, model, source, stage, budget)
    _read_back(model, plan, " with the same stage" if config.stages else "")
    unique = {id(p): p for p in model.parameters() if p.requires_grad}
    if not unique:
        raise ConfigError("every parameter is frozen: no parameters to optimize.", "Add a train rule.")
    if stage is not None:
        lr *= config.stage(stage).lr_scale
    if weight_decay is None:
        return [{"params": list(unique.values()), "lr": lr}]
    halves = (
        ([p for p in unique.values() if p.ndim >= 2], weight_decay),
        ([p for p in unique.values() if p.ndim < 2], 0.0),
    )
    return [{"params": params, "lr": lr, "weight_decay": decay} for params, decay in halves if params]


def _decide(
    config: ConfigData, model: nn.Module, source: Saved, stage: str | None, budget: Budget
) -> LivePlan:
    """Return what the config makes of the model, without changing it."""
    rows = live_tensors(model)
    untrainable = {r.name for r in rows if not can_train(r.tensor)}
    rules = config.rules_for(stage)
    return live_plan(rules, config.default, source.tensors, source.names, untrainable, budget)


def _set_flags(model: nn.Module, plan: LivePlan) -> None:
    """Set the flags, clear gradients of what is frozen, and read the flags back.

    Raises:
        ConfigError: a flag cannot be set, or DDP would not reduce what begins to train.
    """
    parameters = {row.name: row.tensor for row in live_tensors(model) if row.kind == "parameter"}
    thawed = [n for n, train in plan.trains.items() if train and not parameters[n].requires_grad]
    _refuse_thaw_in_ddp(model, [parameters[name] for name in thawed], thawed)
    silent = [name for name in thawed if name in plan.by_default]
    if silent and model not in _applied_to:
        warn_of_thawed(silent, plan.by_default[silent[0]])
    earlier = _applied_to.get(model, frozenset())
    presumed = earlier | {name for name in plan.presumed if parameters[name].requires_grad}
    for name, train in {**dict.fromkeys(earlier, True), **plan.trains}.items():
        parameter = parameters[name]
        type(parameter).requires_grad_(parameter, train)  # a script may have set an attribute of that name
        if not train:
            parameter.grad = None
    _applied_to[model] = presumed
    _read_back(model, plan)


def _refuse_thaw_in_ddp(model: nn.Module, thawed: Sequence[Any], names: Sequence[str]) -> None:
    """Raise a ConfigError if DDP wraps a parameter that is frozen now: its gradient would not be reduced."""
    ids = {id(parameter): name for parameter, name in zip(thawed, names, strict=True)}
    for module in model.modules() if ids else ():
        inside = (ids[id(p)] for p in module.parameters() if id(p) in ids)
        if "DistributedDataParallel" in ancestry(module) and (name := next(inside, None)):
            raise ConfigError(
                f"{name} is frozen inside DistributedDataParallel, which would not reduce its gradient: "
                "the ranks would diverge.",
                "Apply the config before wrapping, and wrap again for every stage that unfreezes.",
            )


def _read_back(model: nn.Module, plan: LivePlan, how: str = "") -> None:
    """Raise a ConfigError if the live flags are not those of the plan; `how` the config must be applied."""
    rows = {row.name: row for row in live_tensors(model) if row.kind == "parameter"}
    wrong = [
        rows[name].plain for name, train in plan.trains.items() if rows[name].tensor.requires_grad != train
    ]
    if wrong:
        raise ConfigError(
            f"requires_grad of {listed(wrong, most=1, longest=None)} is not set as the config says.",
            f"Apply the config to this model{how}, and do not change requires_grad afterwards.",
        )


def _report(
    model: nn.Module, names: NameMap, plan: LivePlan, norms: Sequence[str], problems: tuple[str, ...]
) -> Applied:
    rows = [r for r in live_tensors(model) if r.kind == "parameter" and can_train(r.tensor)]
    rows = [r for r in rows if not names.by_name[r.name].replaced]
    plain = _plain_names(model)
    modules = {name.rpartition(".")[0]: short.rpartition(".")[0] for name, short in plain.items()}
    return Applied(
        frozen=tuple(plain[row.name] for row in rows if not row.tensor.requires_grad),
        trainable=tuple(plain[row.name] for row in rows if row.tensor.requires_grad),
        counts=Expect(_count(rows, False), _count(rows, True)),
        norms=tuple(modules.get(path, plain_path(path)) for path in norms),
        new=tuple(plain[name] for name in plan.new),
        unplaced=plan.unplaced,
        dropped=plan.dropped,
        tied=tuple(tuple(plain[name] for name in group) for group in names.ties),
        problems=problems,
    )


def _plain_names(model: nn.Module) -> dict[str, str]:
    """Return live name -> the name without wrappers' segments."""
    rows = list(live_tensors(model))
    return dict(zip([row.name for row in rows], unwrap([row.plain for row in rows]).names, strict=True))


def _count(rows: Sequence[Any], train: bool) -> Count:
    unique = {same_tensor(r.tensor): r.tensor.numel() for r in rows if r.tensor.requires_grad == train}
    return Count(len(unique), sum(unique.values()))
