"""FreezeConfig: the choice as a file that a person reads and a training script loads."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from freezetui.checkpoint.places import is_url, name_of
from freezetui.checkpoint.tensors import TensorInfo
from freezetui.errors import ConfigError
from freezetui.freeze.plan import Tally, Totals
from freezetui.freeze.rules import Action, Rule

VERSION = 1
#: What the name of a checkpoint behind a URL may end with.
_ENDINGS = frozenset([".pth", ".pt", ".pt2", ".bin", ".ckpt", ".safetensors", ".gguf", ".tar"])
SUFFIX = ".freeze.yaml"
_SHARD = re.compile(r"[-_.]\d+-of-\d+$")
_MOST_NAMED = 3


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
    def of(cls, tally: Tally) -> Count:
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
        from freezetui.freeze.config_file import read_config

        return read_config(Path(path), cls)

    def save(self, path: str | Path) -> None:
        """Write the config atomically; comments in a YAML file that is there already survive.

        Raises:
            ConfigError: the file cannot be written, or what is there is no config.
        """
        from freezetui.freeze.config_file import write_config

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


def expect_of(totals: Totals) -> Expect:
    """The `expect` section for a choice."""
    return Expect(Count.of(totals.frozen), Count.of(totals.trainable))


def fingerprint(tensors: Iterable[TensorInfo]) -> str:
    """ "sha256:..." over the sorted names and shapes of the parameters; buffers do not count."""
    lines = sorted(f"{t.name}\t{'x'.join(map(str, t.shape))}" for t in tensors if not t.fixed)
    import hashlib  # here, since OpenSSL takes its time and most who open a file save later

    return "sha256:" + hashlib.sha256("\n".join(lines).encode("utf-8", "surrogatepass")).hexdigest()


def default_path(checkpoint: str | Path, *more: str | Path) -> Path:
    """Where the config of a checkpoint lies: `vgg16.pth` -> `vgg16.freeze.yaml` beside it.

    A folder's lies beside the folder, that of a URL in the working folder. Several files that are opened
    as one have one of their own, which no single one of them has: `unet+encoder.freeze.yaml`.
    """
    if more:
        first = default_path(checkpoint)
        stems = [default_path(file).name.removesuffix(SUFFIX) for file in (checkpoint, *more)]
        models = list(dict.fromkeys(_SHARD.sub("", stem) or stem for stem in stems))
        name = "+".join(models) if len(models) <= _MOST_NAMED else f"{models[0]}+{len(models) - 1}"
        return first.with_name(name + SUFFIX)
    name, path = name_of(checkpoint).removesuffix(".index.json"), Path(checkpoint)
    if is_url(str(checkpoint)):
        path = Path(name)
        is_folder = path.suffix not in _ENDINGS
    else:
        is_folder = path.is_dir()
    if path.name in ("", ".."):
        path = path.resolve()
    # A folder's name may hold a dot that ends nothing: Llama-3.1-8B.
    return path.with_name((name if is_folder else Path(name).stem or name) + SUFFIX)
