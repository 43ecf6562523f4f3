"""FreezeConfig: the choice as a file that a person reads and a training script loads."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from freezetui.checkpoint.types import TensorInfo
from freezetui.errors import ConfigError
from freezetui.freeze.plan import FreezeTotals, Size
from freezetui.freeze.rules import Action, Rule

VERSION = 1


class ModelSection(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """Which model a config was made for.

    Attributes:
        checkpoint: relative to the config's folder.
        architecture: what builds the nn.Module, e.g. "torchvision:vgg16"; "" where unknown.
        arguments: keyword arguments for it.
        input: shape of one example, without the batch dimension.
        fingerprint: see `fingerprint`.
    """

    checkpoint: str = ""
    architecture: str = ""
    arguments: dict[str, Any] = {}
    input: tuple[Annotated[int, Meta(ge=1, lt=2**31)], ...] = ()
    fingerprint: str = ""


class Count(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How many tensors, and elements in them; a tied tensor counts once."""

    tensors: int
    elements: int

    @classmethod
    def of(cls, tally: Size) -> Count:
        """The count of a tally."""
        return cls(tally.tensors, tally.elements)


class Expect(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the rules must select."""

    frozen: Count
    trainable: Count


class Stage(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """One stage of a schedule.

    Attributes:
        epochs: how long it lasts; None where the script decides.
        rules: added below the config's own rules.
        lr_scale: multiplies the learning rate.
    """

    name: str
    epochs: Annotated[int, Meta(ge=1)] | None = None
    rules: tuple[Rule, ...] = ()
    lr_scale: Annotated[float, Meta(ge=0)] = 1.0


class FreezeConfig(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """Which parameters are frozen, and for which model.

    Attributes:
        default: what becomes of a parameter that no rule names.
        rules: from top to bottom; the last rule that matches wins.
        norm_statistics: "freeze" keeps frozen norms in eval, "update" lets their statistics run.
        expect: what the rules must select; None checks nothing.
    """

    model: ModelSection = ModelSection()
    default: Action = "train"
    rules: tuple[Rule, ...] = ()
    norm_statistics: Literal["freeze", "update"] = "freeze"
    expect: Expect | None = None
    stages: tuple[Stage, ...] = ()

    @classmethod
    def load(cls, path: str | Path) -> FreezeConfig:
        """Read a `.freeze.yaml` or `.json` file.

        Raises:
            ConfigError: names the file, the line and the valid choices.
        """
        from freezetui.config.codec import read_config

        return read_config(Path(path), cls)

    def save(self, path: str | Path) -> None:
        """Write the config atomically; comments in a YAML file that is there already survive.

        Raises:
            ConfigError: the file cannot be written, or what is there is no config.
        """
        from freezetui.config.codec import write_config

        write_config(Path(path), self)

    def rules_for(self, stage: str | None = None) -> tuple[Rule, ...]:
        """The rules of a stage: the config's own, and the stage's below them; None means no stage.

        Raises:
            ConfigError: there is no such stage.
        """
        return self.rules if stage is None else (*self.rules, *self.stage(stage).rules)

    def stage(self, name: str) -> Stage:
        """The stage of this name.

        Raises:
            ConfigError: there is no such stage.
        """
        for stage in self.stages:
            if stage.name == name:
                return stage
        names = ", ".join(stage.name for stage in self.stages)
        raise ConfigError(
            f"the config has no stage {name!r}.", f"Stages: {names}." if names else "It has no stages."
        )


def expect_of(totals: FreezeTotals) -> Expect:
    """The `expect` section for a choice."""
    return Expect(Count.of(totals.frozen), Count.of(totals.trainable))


def fingerprint(tensors: Iterable[TensorInfo]) -> str:
    """ "sha256:..." over the sorted names and shapes of the parameters; buffers do not count."""
    lines = sorted(f"{t.name}\t{'x'.join(map(str, t.shape))}" for t in tensors if not t.untrainable_reason)
    import hashlib  # here, since OpenSSL takes its time and most who open a file save later

    return "sha256:" + hashlib.sha256("\n".join(lines).encode("utf-8", "surrogatepass")).hexdigest()
