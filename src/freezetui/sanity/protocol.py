"""What the face and the engine say to each other: typed structs as JSON lines. Knows no torch."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from freezetui.config.schema import ConfigData, ModelSection
from freezetui.freeze.rules import Action, Rule
from freezetui.sanity.report import SanityReport


class CheckRequest(msgspec.Struct, frozen=True, kw_only=True):
    """One sanity step to run.

    Attributes:
        checkpoint: path or URL; only ever read. more: further files that are opened as one with it.
        key: which nested dict holds the state_dict; None chooses.
        architecture: what builds the model, e.g. "torchvision:vgg16"; "" recognises it from names and shapes.
        bare: whether to take the tensors alone, without a model and a forward pass.
        arguments: keyword arguments for it.
        input: shape of one example, without the batch dimension; () finds one.
        rules, default, norm_statistics: the choice to prove, as in ConfigData.
        device: "auto", "cpu", "cuda", "cuda:1" or "mps".
        steps: optimizer steps; batch: examples in each; seed: of the synthetic batch and of dropout.
        control: whether to run with everything trainable first, to see what would have moved.
    """

    checkpoint: str
    more: tuple[str, ...] = ()
    key: str | None = None
    architecture: str = ""
    bare: bool = False
    arguments: dict[str, Any] = {}
    input: tuple[int, ...] = ()
    rules: tuple[Rule, ...] = ()
    default: Action = "train"
    norm_statistics: Literal["freeze", "update"] = "freeze"
    device: str = "auto"
    steps: int = 3
    batch: int = 2
    seed: int = 0
    control: bool = True

    @property
    def config(self) -> ConfigData:
        """The choice as a config, so that the step applies it as a training script does."""
        model = ModelSection(
            checkpoint=self.checkpoint,
            architecture=self.architecture,
            arguments=self.arguments,
            input=self.input,
        )
        return ConfigData(
            model=model, default=self.default, rules=self.rules, norm_statistics=self.norm_statistics
        )


class Progress(msgspec.Struct, frozen=True, tag="progress"):
    """A phase has begun.

    Attributes:
        phase: "import", "build", "load", "input", "control", "step" or "compare".
        done, total: steps; total 0 where the phase has none.
        text: for people, e.g. "step 2 of 3".
    """

    phase: str
    done: int
    total: int
    text: str


class Finished(msgspec.Struct, frozen=True, tag="finished"):
    """The check has ended."""

    report: SanityReport


class Failed(msgspec.Struct, frozen=True, tag="failed"):
    """The check could not be run: an error a person can act on."""

    message: str
    hint: str = ""


Event = Progress | Finished | Failed

_ENCODER = msgspec.json.Encoder()
_REQUEST = msgspec.json.Decoder(CheckRequest)
_EVENT: msgspec.json.Decoder[Event] = msgspec.json.Decoder(Progress | Finished | Failed)


def encode(message: CheckRequest | Event) -> bytes:
    """The message as one line."""
    return _ENCODER.encode(message) + b"\n"


def decode_request(line: bytes) -> CheckRequest:
    """The request in a line.

    Raises:
        msgspec.DecodeError: the line holds none.
    """
    return _REQUEST.decode(line)


def decode_event(line: bytes) -> Event:
    """The event in a line.

    Raises:
        msgspec.DecodeError: the line holds none.
    """
    return _EVENT.decode(line)
