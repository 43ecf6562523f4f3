"""Applies a freeze config to a live model, and verifies the result."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec
from torch import nn

from freezetui.checkpoint.types import TensorInfo
from freezetui.config.schema import ConfigData, Expect, fingerprint
from freezetui.errors import ConfigError
from freezetui.freeze.plan import FreezePlan
from freezetui.freeze.regexes import Budget
from freezetui.freeze.rules import overlay, resolve
from freezetui.freeze.tree import ParamTree
from freezetui.text import listed
from freezetui.training.names import LiveParameters
from freezetui.training.norms import frozen_norms, hold_norms


class Applied(msgspec.Struct, frozen=True):
    """What a config did to a model, as read back from it.

    Attributes:
        frozen, trainable: parameter names without wrappers' prefixes, tied ones under every name.
        counts: tensors and elements of both; a tied tensor counts once.
        norms: paths of the norm layers that are kept in eval.
    """

    frozen: tuple[str, ...]
    trainable: tuple[str, ...]
    counts: Expect
    norms: tuple[str, ...]

    def __str__(self) -> str:
        frozen, trainable = self.counts.frozen, self.counts.trainable
        return (
            f"frozen {frozen.tensors:,} tensors, {frozen.elements:,} elements; "
            f"trainable {trainable.tensors:,} tensors, {trainable.elements:,} elements; "
            f"{len(self.norms):,} norm layers stay in eval"
        )


def apply(config: ConfigData, model: nn.Module, stage: str | None = None, strict: bool = True) -> Applied:
    """Set requires_grad of every parameter by name, and keep frozen norms in eval.

    Names are compared without the segments of DDP, FSDP, torch.compile, activation checkpointing and PEFT.
    Gradients of frozen parameters from an earlier stage are cleared, since an optimizer would still use them.
    Apply before building the optimizer, and again, with a new optimizer, for every stage.

    Args:
        config: what to freeze.
        model: changed in place.
        stage: adds that stage's rules below the config's own.
        strict: whether the fingerprint and the expected counts must match too.

    Raises:
        ConfigError: the config was saved for a different model, or a flag cannot be set.
        PatternError: a pattern matches no parameter.
    """
    live = _live(config, model)
    budget = Budget()  # one for all patterns: each is matched once
    if strict:
        _compare_model(config, live.tree)
    common = resolve(config.rules, live.tree, config.default, budget)
    if strict and config.expect is not None:
        _compare_counts(config, config.expect, live.tree, common, budget)
    # All stages: a typo in a later one must not stop the training halfway.
    masks = [overlay(each.rules, live.tree, common[:], budget) for each in config.stages]
    mask = common if stage is None else masks[config.stages.index(config.stage(stage))]
    for parameter, tensor, train in zip(live.parameters, live.tree.tensors, mask, strict=True):
        if tensor.untrainable_reason:
            continue
        parameter.requires_grad_(bool(train))
        if not train:
            parameter.grad = None
    _read_back(live, mask)
    norms = frozen_norms(model) if config.norm_statistics == "freeze" else {}
    hold_norms(model, norms)
    return _applied(live, mask, [live.path(path) for path in norms])


def parameter_groups(
    config: ConfigData,
    model: nn.Module,
    lr: float,
    weight_decay: float | None = None,
    stage: str | None = None,
) -> list[dict[str, Any]]:
    """Return the trainable parameters, each once, as groups for any torch optimizer.

    Args:
        config: already applied to `model`, with the same stage.
        model: the live model.
        lr: learning rate; the stage's `lr_scale` multiplies it.
        weight_decay: None makes one group and leaves the decay to the optimizer; a number makes two,
            with that decay for matrices and kernels and none for vectors and scalars (biases, norms).
        stage: the same as for `apply`.

    Raises:
        ConfigError: the config is not applied to this model, or nothing is trainable.
    """
    live = _live(config, model)
    _read_back(live, resolve(config.rules_for(stage), live.tree, config.default))
    unique = {id(p): p for p in live.parameters if p.requires_grad}
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


def _live(config: ConfigData, model: nn.Module) -> LiveParameters:
    """Return the model's parameters, named as in the checkpoint that the config was saved for."""
    live = LiveParameters(model)
    if config.model.fingerprint and config.model.fingerprint not in _fingerprints(live.tree):
        wrapped = LiveParameters(model, parallel=False)
        if config.model.fingerprint in _fingerprints(wrapped.tree):
            return wrapped
    return live


def _compare_model(config: ConfigData, tree: ParamTree) -> None:
    """Raise a ConfigError if names and shapes are not those that the config was saved for."""
    if config.model.fingerprint and config.model.fingerprint not in _fingerprints(tree):
        raise ConfigError(
            "the config was saved for a model with different parameter names or shapes"
            f"{_difference(config, tree)}.",
            "Apply it with strict=False to go by the patterns alone.",
        )


def _compare_counts(
    config: ConfigData, expect: Expect, tree: ParamTree, mask: bytearray, budget: Budget
) -> None:
    """Raise a ConfigError if the counts are not those that the config was saved with."""
    got = _counts(tree, mask)
    if got != expect and not _expected_untied(config, tree, mask, budget):
        raise ConfigError(
            f"the rules do not select what the config's `expect` section records: {_versus(expect, got)}.",
            "Save the config again for this model, or apply it with strict=False.",
        )


def _expected_untied(config: ConfigData, tree: ParamTree, mask: bytearray, budget: Budget) -> bool:
    """Whether the counts match with every name counted: a file may contain copies of tied tensors.

    Raises:
        ConfigError: they match, but the rules freeze one name of a tie and train another.
    """
    untied = ParamTree([msgspec.structs.replace(tensor, storage=None) for tensor in tree.tensors])
    meant = resolve(config.rules, untied, config.default, budget)
    if _counts(untied, meant) != config.expect:
        return False
    for tensor, train, wish in zip(tree.tensors, mask, meant, strict=True):
        if train != wish:
            raise ConfigError(
                f"{tensor.name} is tied to a parameter that the rules {'train' if train else 'freeze'}.",
                "Freeze all names of a tie, or train all of them.",
            )
    return True


def _fingerprints(tree: ParamTree) -> set[str]:
    """Return the fingerprints with every tied name, and with the first of each tie as in safetensors."""
    first = [t for t, previous in zip(tree.tensors, tree.ties, strict=True) if previous < 0]
    return {fingerprint(tree.tensors), fingerprint(first)}


def _difference(config: ConfigData, tree: ParamTree) -> str:
    if config.expect is None:
        return ""
    frozen, trainable = config.expect.frozen, config.expect.trainable
    tensors, elements = frozen.tensors + trainable.tensors, frozen.elements + trainable.elements
    got_tensors, got_elements, _ = FreezePlan(tree).totals().parameters
    if (tensors, elements) == (got_tensors, got_elements):
        return f" (as many tensors, {tensors:,}, and elements, {elements:,}, but different names or shapes)"
    return (
        f" ({tensors:,} tensors, {elements:,} elements expected; "
        f"{got_tensors:,} tensors, {got_elements:,} elements found)"
    )


def _versus(wanted: Expect, got: Expect) -> str:
    return "; ".join(
        f"{w.tensors:,} {what} tensors, {w.elements:,} elements expected, "
        f"{g.tensors:,} tensors, {g.elements:,} elements found"
        for what, w, g in (
            ("frozen", wanted.frozen, got.frozen),
            ("trainable", wanted.trainable, got.trainable),
        )
        if w != g
    )


def _read_back(live: LiveParameters, mask: bytearray) -> None:
    """Raise a ConfigError if the live flags are not those of `mask`."""
    wrong = [
        tensor.name
        for parameter, tensor, train in zip(live.parameters, live.tree.tensors, mask, strict=True)
        if not tensor.untrainable_reason and parameter.requires_grad != bool(train)
    ]
    if wrong:
        raise ConfigError(
            f"requires_grad of {listed(wrong, most=1, longest=None)} is not what the config says.",
            "Apply the config to this model, and do not change requires_grad afterwards.",
        )


def _counts(tree: ParamTree, mask: bytearray) -> Expect:
    return Expect.of(FreezePlan(tree, mask).totals())


def _applied(live: LiveParameters, mask: bytearray, norms: Iterable[str]) -> Applied:
    tensors: list[tuple[TensorInfo, int]] = [
        pair for pair in zip(live.tree.tensors, mask, strict=True) if not pair[0].untrainable_reason
    ]
    return Applied(
        frozen=tuple(tensor.name for tensor, train in tensors if not train),
        trainable=tuple(tensor.name for tensor, train in tensors if train),
        counts=_counts(live.tree, mask),
        norms=tuple(norms),
    )
