"""The messages between the UI and the engine: typed structs as JSON lines. Does not import torch."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from freezetui.config.schema import ConfigData
from freezetui.model_spec import ModelSpec
from freezetui.recognition.catalog import Recognition
from freezetui.sanity.report import SanityReport
from freezetui.sanity.training import Training


class CheckRequest(msgspec.Struct, frozen=True, kw_only=True):
    """A check to run.

    Attributes:
        checkpoint: path or URL; never written. more: further files that are opened together with it.
        key: which nested dict holds the state_dict; None chooses one.
        model: what builds the model, its paths relative to the working directory; without an architecture
            only the tensors are checked, with no model and no forward pass.
        recognition: the architecture recognized from the checkpoint's names and shapes; None if unknown.
        config: the plan to check, as saving writes it; of its `model` section only the root is used, and the
            fingerprint, which tells that the checkpoint has changed.
        stage: the stage to check; None for the common rules alone. later: further stages, each checked by
            itself, from the checkpoint's own weights.
        device: "auto", "cpu", "cuda", "cuda:1" or "mps".
        steps: optimizer steps; batch: examples in each; seed: of the synthetic batch and of dropout.
        control: whether to run with everything trainable too, to see what would have changed.
        training: how the user's script trains; it never comes from a config.
    """

    checkpoint: str
    more: tuple[str, ...] = ()
    key: str | None = None
    model: ModelSpec = ModelSpec()
    recognition: Recognition | None = None
    config: ConfigData = ConfigData()
    stage: str | None = None
    later: tuple[str | None, ...] = ()
    device: str = "auto"
    steps: int = 3
    batch: int = 2
    seed: int = 0
    control: bool = True
    training: Training = Training()

    def then(self, later: Iterable[str | None]) -> CheckRequest:
        """Return a request that checks these stages, too, after its own."""
        return msgspec.structs.replace(self, later=tuple(later))

    def after(self, done: int) -> CheckRequest | None:
        """Return a request for the stages without the first `done`; None if there are none."""
        left = (self.stage, *self.later)[done:]
        return msgspec.structs.replace(self, stage=left[0], later=left[1:]) if left else None


class Progress(msgspec.Struct, frozen=True, tag="progress"):
    """A phase has begun.

    Attributes:
        phase: "import", "build", "load", "input", "own", "step", "control" or "compare".
        done, total: steps; total is 0 if the phase has none.
        text: for display, e.g. "step 2 of 3".
    """

    phase: str
    done: int
    total: int
    text: str


class Finished(msgspec.Struct, frozen=True, tag="finished"):
    """The check of a stage has ended."""

    report: SanityReport


class Failed(msgspec.Struct, frozen=True, tag="failed"):
    """The check could not be run: an error that the user can act on."""

    message: str
    hint: str = ""


Event = Progress | Finished | Failed

_EVENT: msgspec.json.Decoder[Event] = msgspec.json.Decoder(Progress | Finished | Failed)

#: A line -> its message; they raise msgspec.DecodeError if it is not one.
decode_request = msgspec.json.Decoder(CheckRequest).decode
decode_event = _EVENT.decode
