"""The sections of a freeze config, as plain data."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import compress
from operator import add, attrgetter
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from freezetui.checkpoint.types import TensorInfo
from freezetui.errors import ConfigError
from freezetui.freeze.plan import FreezeTotals, Size
from freezetui.freeze.rules import Action, Rule
from freezetui.freeze.tree import trainable
from freezetui.model_spec import ModelSpec

VERSION = 1
#: The value of --stage that stands for each stage in turn.
ALL_STAGES = "all"
ONLY_STAGE_ALL = "--stage all means the stage called all here: rename it to take each stage in turn."


class ModelSection(ModelSpec, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """The model that a config was saved for, and what builds it.

    Attributes:
        checkpoint: relative to the config's directory.
        fingerprint: see `fingerprint`; informs, and refuses nothing.
        root: the module of the script's model that the checkpoint belongs to, e.g. "encoder"; "" finds it.
        key: which state_dict of the checkpoint, e.g. "model_ema"; "" if it holds only one.
    """

    checkpoint: str = ""
    fingerprint: str = ""
    root: str = ""
    key: str = ""


class Count(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """A number of tensors and of their elements; a tied tensor counts once.

    Attributes:
        fingerprint: see `fingerprint`; recorded for what is frozen, "" elsewhere.
    """

    tensors: int
    elements: int
    fingerprint: str = ""

    @classmethod
    def of(cls, size: Size) -> Count:
        """Return the count of a size, without its bytes."""
        return cls(size.tensors, size.elements)


class Expect(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """What the rules select in the checkpoint.

    Attributes:
        frozen: must be what the rules freeze; by its fingerprint, or without one by its counts.
        trainable: informs, and refuses nothing.
    """

    frozen: Count
    trainable: Count | None = None

    @classmethod
    def of(cls, totals: FreezeTotals) -> Expect:
        """Return the counts of a plan with these totals."""
        return cls(Count.of(totals.frozen), Count.of(totals.trainable))


class Stage(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """One stage of a schedule.

    Attributes:
        epochs: its length; None lets the script decide.
        rules: added below the config's own rules.
        lr_scale: multiplies the learning rate.
        expect: what the rules select in this stage; None checks nothing.
    """

    name: str
    epochs: Annotated[int, Meta(ge=1)] | None = None
    rules: tuple[Rule, ...] = ()
    lr_scale: Annotated[float, Meta(ge=0)] = 1.0
    expect: Expect | None = None


class ConfigData(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """Which parameters are frozen, and for which model.

    Attributes:
        default: the action for a parameter that no rule matches.
        rules: from top to bottom; the last rule that matches wins.
        norm_statistics: "freeze" keeps frozen norms in eval, "update" lets their statistics change.
        frozen_modules: "eval" keeps modules whose parameters are all frozen in eval, dropout included.
        expect: what the rules must select; None checks nothing.
    """

    model: ModelSection = ModelSection()
    default: Action = "train"
    rules: tuple[Rule, ...] = ()
    norm_statistics: Literal["freeze", "update"] = "freeze"
    frozen_modules: Literal["train", "eval"] = "train"
    expect: Expect | None = None
    stages: tuple[Stage, ...] = ()

    def rules_for(self, stage: str | None = None) -> tuple[Rule, ...]:
        """Return the config's own rules, followed by those of the stage, if any.

        Raises:
            ConfigError: the config does not have this stage.
        """
        return self.rules if stage is None else (*self.rules, *self.stage(stage).rules)

    def stage(self, name: str) -> Stage:
        """Return the stage of this name.

        Raises:
            ConfigError: the config does not have this stage.
        """
        for stage in self.stages:
            if stage.name == name:
                return stage
        raise no_such_stage(name, [stage.name for stage in self.stages])

    def expect_for(self, stage: str | None = None) -> Expect | None:
        """Return what the rules of `rules_for` must select; None if it is not recorded.

        Raises:
            ConfigError: the config does not have this stage.
        """
        if stage is None or not self.stage(stage).rules:
            return self.expect
        return self.stage(stage).expect


def no_such_stage(name: str | None, stages: Sequence[str]) -> ConfigError:
    """Return the error on a stage that a config with these stages does not have."""
    hint = f"Stages: {', '.join(stages)}." if stages else "It has no stages."
    return ConfigError(f"the config has no stage {name!r}.", hint)


def fingerprint(tensors: Iterable[TensorInfo]) -> str:
    """Return "sha256:..." over the sorted names and shapes of the parameters; buffers do not count."""
    import hashlib  # here, since importing OpenSSL is slow and not needed for the first screen

    given = list(tensors)
    parameters = list(compress(given, trainable(given)))
    shapes = list(map(attrgetter("shape"), parameters))
    texts = {shape: f"\t{'x'.join(map(str, shape))}" for shape in {*shapes}}  # models repeat their shapes
    lines = sorted(map(add, map(attrgetter("name"), parameters), map(texts.__getitem__, shapes)))
    return "sha256:" + hashlib.sha256("\n".join(lines).encode("utf-8", "surrogatepass")).hexdigest()
