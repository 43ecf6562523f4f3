"""The messages between the UI and the describer: typed structs as JSON lines."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from freezetui.checkpoint.types import TensorInfo
from freezetui.description.types import Description
from freezetui.model_spec import ModelSpec
from freezetui.recognition.catalog import Recognition


class FileTensor(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One tensor of the file: name, shape and dtype."""

    name: str
    shape: tuple[int, ...]
    dtype: str


class DescribeRequest(msgspec.Struct, frozen=True, kw_only=True):
    """One model to describe.

    Attributes:
        source: a file of the checkpoint, next to which its `config.json` is. Only that is read.
        model: what builds the model.
        recognition: the architecture recognized from the checkpoint's names and shapes; None if unknown.
        tensors: the file's, in its order.
    """

    source: str
    model: ModelSpec
    recognition: Recognition | None = None
    tensors: tuple[FileTensor, ...] = ()


class Working(msgspec.Struct, frozen=True, tag="working"):
    """A phase has begun: "import", whose duration depends on the disk, or "build", which is limited."""

    phase: str


class Described(msgspec.Struct, frozen=True, tag="described"):
    """The answer to a request."""

    description: Description


class Failed(msgspec.Struct, frozen=True, tag="failed"):
    """The model could not be described: an error that the user can act on."""

    message: str
    hint: str = ""


Answer = Working | Described | Failed

_ANSWER: msgspec.json.Decoder[Answer] = msgspec.json.Decoder(Working | Described | Failed)

#: A line -> its message; they raise msgspec.DecodeError if it is not one.
decode_request = msgspec.json.Decoder(DescribeRequest).decode
decode_answer = _ANSWER.decode


def file_tensors(tensors: Iterable[TensorInfo]) -> tuple[FileTensor, ...]:
    """Return the tensors of a checkpoint as a request has them."""
    return tuple(FileTensor(tensor.name, tensor.shape, tensor.dtype) for tensor in tensors)
