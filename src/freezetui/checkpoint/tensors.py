"""What a checkpoint holds, as plain values."""

from __future__ import annotations

import math
from functools import cache
from typing import Any, Literal

import msgspec

Kind = Literal["parameter", "buffer", "unknown"]

#: Bytes of one element, by the name torch gives the dtype (`torch.` left out).
ITEMSIZE: dict[str, int] = {
    "bool": 1,
    "uint8": 1,
    "int8": 1,
    "int16": 2,
    "uint16": 2,
    "int32": 4,
    "uint32": 4,
    "int64": 8,
    "uint64": 8,
    "float8_e4m3fn": 1,
    "float8_e4m3fnuz": 1,
    "float8_e5m2": 1,
    "float8_e5m2fnuz": 1,
    "float8_e8m0fnu": 1,
    "float16": 2,
    "bfloat16": 2,
    "float32": 4,
    "float64": 8,
    "complex32": 4,
    "complex64": 8,
    "complex128": 16,
    "qint8": 1,
    "quint8": 1,
    "qint32": 4,
}


@cache
def can_require_grad(dtype: str) -> bool:
    """Whether torch lets a tensor of this dtype require grad: floating point and complex ones only."""
    return dtype.startswith(("float", "bfloat", "complex"))


class Storage(msgspec.Struct, frozen=True, gc=False):
    """Where a tensor's bytes lie.

    Two tensors are tied when their Storage and shape are equal; sharing `key` alone is no tie
    (an LSTM's flat weights lie at disjoint offsets of one storage).

    Attributes:
        key: names the storage inside its file (the zip member, the legacy key, the safetensors name).
        offset: first element, counted in elements from the storage's start.
        stride: in elements, one per dimension; None means contiguous.
    """

    key: str
    offset: int = 0
    stride: tuple[int, ...] | None = None


class TensorInfo(msgspec.Struct, frozen=True, gc=False):
    """One named tensor of a checkpoint, as its header tells it.

    Attributes:
        name: dotted, after unwrapping; the key that the model's state_dict uses.
        shape: one int per dimension; () for a scalar.
        dtype: torch's name without `torch.`, e.g. "bfloat16".
        kind: "parameter" or "buffer" where that is known, else "unknown".
        requires_grad: as stored; None where the file stores none (a plain state_dict never does).
        storage: where its bytes lie; None where the format keeps none.
        guessed: True where `kind` was inferred from the name or the dtype and could be wrong.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    kind: Kind = "unknown"
    requires_grad: bool | None = None
    storage: Storage | None = None
    guessed: bool = False

    @property
    def elements(self) -> int:
        """How many elements the shape holds; 1 for a scalar."""
        return math.prod(self.shape)

    @property
    def bytes(self) -> int:
        """Size of the tensor's own elements, in bytes."""
        return math.prod(self.shape) * ITEMSIZE.get(self.dtype, 0)

    @property
    def fixed(self) -> str:
        """Why this tensor cannot be toggled, in a few words; empty where it can."""
        if self.kind == "buffer":
            return "buffer: no gradient ever reaches it"
        if not can_require_grad(self.dtype):
            return f"{self.dtype}: only floating point and complex tensors can require grad"
        return ""


class Passed(msgspec.Struct, frozen=True):
    """Something in the file that is no weight of the model and was passed over.

    Attributes:
        key: where it stands in the file, e.g. "optimizer".
        what: one short line, e.g. "64 tensors, 1.1 GB" or "12".
    """

    key: str
    what: str


class Part(msgspec.Struct, frozen=True):
    """One of the files that a checkpoint consists of.

    Attributes:
        source: its path or URL.
        size: in bytes.
    """

    source: str
    size: int


class Checkpoint(msgspec.Struct, frozen=True):
    """A checkpoint's header.

    Attributes:
        source: the path as the person gave it.
        format: for people, e.g. "zip state_dict", "legacy pickle", "safetensors", "pickled nn.Module".
        tensors: the state_dict's tensors, in the file's order (safetensors: natural order of the names).
        key: the dotted key under which the state_dict was found; "" for the top level.
        prefix: what was stripped from the front of every name, e.g. "module."; "" for nothing.
        choices: every key that holds a state_dict (`--key`), the chosen one included.
        passed_over: optimizer, epoch and the like.
        module_types: module path -> qualified class name where the file knows it (pickled nn.Module,
            TorchScript); the root is "".
        module_paths: every module path that `_metadata` names, parameterless ones too; may be empty.
        foreign: "module.name" of each global a pickle names that neither torch nor plain data needs.
        warnings: one line each.
        size: bytes of all its files.
        parts: the files; one, or the shards in order. A storage's key then begins with the part's number.
        label: the model for people, as a `config.json` beside the file names it; "" without one.
        architecture: what builds it; "" where that is not known. arguments: keyword arguments for it.
    """

    source: str
    format: str
    tensors: tuple[TensorInfo, ...]
    key: str = ""
    prefix: str = ""
    choices: tuple[str, ...] = ()
    passed_over: tuple[Passed, ...] = ()
    module_types: dict[str, str] = {}
    module_paths: tuple[str, ...] = ()
    foreign: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    size: int = 0
    parts: tuple[Part, ...] = ()
    label: str = ""
    architecture: str = ""
    arguments: dict[str, Any] = {}

    @property
    def unwrapped(self) -> str:
        """What was taken off to reach the names, for people: "key model, prefix module."; "" for nothing."""
        parts = [f"key {self.key}"] if self.key else []
        if self.prefix:
            parts.append(f"prefix {self.prefix}")
        return ", ".join(parts)
