"""What a checkpoint contains, as plain values."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import cache
from itertools import accumulate
from operator import mul
from typing import Literal

import msgspec

from freezetui.model_spec import ModelSpec

Kind = Literal["parameter", "buffer", "unknown"]

#: torch's `itemsize` in bytes by the dtype's name without `torch.`. It is 1 for the narrow integers too,
#: which torch stores one per byte.
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
    "float4_e2m1fn_x2": 1,
    "complex32": 4,
    "bcomplex32": 4,
    "complex64": 8,
    "complex128": 16,
    "qint8": 1,
    "quint8": 1,
    "qint32": 4,
    "quint4x2": 1,
    "quint2x4": 1,
    "bits1x8": 1,
    "bits2x4": 1,
    "bits4x2": 1,
    "bits8": 1,
    "bits16": 2,
} | {f"{sign}int{bits}": 1 for sign in ("", "u") for bits in range(1, 8)}

#: Values in one element of a packed dtype, whose torch shape counts bytes.
PACKED = {"float4_e2m1fn_x2": 2, "bits1x8": 8, "bits2x4": 4, "bits4x2": 2}
#: Elements per byte of the dtypes whose shape counts elements; each row (last dimension) starts a new byte.
ROW_PACKED = {"quint4x2": 2, "quint2x4": 4}
#: The dtype of a tensor if the file states none, or none that is supported.
UNKNOWN = "unknown"


@cache
def can_require_grad(dtype: str) -> bool:
    """Whether torch allows a tensor of this dtype to require grad: only floating-point and complex ones."""
    return dtype.startswith(("float", "bfloat", "complex", "bcomplex"))


@cache
def _why_no_grad(dtype: str) -> str:
    """Return a few words on a dtype that cannot require grad."""
    if dtype in ROW_PACKED:
        return f"quantized, {ROW_PACKED[dtype]} elements packed in a byte"
    if dtype.startswith("q"):
        return "quantized"
    if dtype.startswith("bits"):
        return "raw bits"
    narrow = dtype.removeprefix("u").removeprefix("int")
    if narrow in ("1", "2", "3", "4", "5", "6", "7"):
        return f"{narrow}-bit integers"
    return "booleans" if dtype == "bool" else "integers"


def contiguous_stride(shape: Sequence[int]) -> tuple[int, ...]:
    """Return the stride of a contiguous tensor: for each dimension how many elements a step skips."""
    steps = accumulate((max(size, 1) for size in reversed(shape[1:])), mul, initial=1)
    return tuple(steps)[::-1] if shape else ()


class StorageKey(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """The position of a tensor's bytes.

    Two tensors are tied if their StorageKey and shape are equal; sharing `key` alone is not a tie
    (an LSTM's flat weights are at disjoint offsets of one storage).

    Attributes:
        key: name of the storage inside its file (the zip member, the legacy key, the safetensors name). In a
            checkpoint with several parts, "N/" and that name in part N.
        offset: first element, counted in elements from the start of the storage.
        stride: in elements, one per dimension; None means contiguous.
        read_as: what the bytes stand for if not for themselves: "conj" or "neg" (torch's lazy bits: the
            conjugate, the negative), or the scale and zero point of a quantized tensor, or where those of
            its channels are.
    """

    key: str
    offset: int = 0
    stride: tuple[int, ...] | None = None
    read_as: str = ""


class Packing(msgspec.Struct, frozen=True, gc=False):
    """How a tensor is stored that is not one block of elements with strides.

    Attributes:
        what: for display: "sparse_csr", "nested", "meta", "Int8Tensor", "quint4x2".
        bytes: of all its parts in the file: a sparse tensor's indices and values, a subclass's inner tensors,
            the packed rows; for a nested tensor, its values; for a meta tensor, what it would need. Without
            the scales and zero points of torch's own quantized tensors, which torch does not count either.
        untrainable_reason: why it cannot require grad, in a few words; "" if only the dtype decides.
    """

    what: str
    bytes: int
    untrainable_reason: str = ""


#: Counts batches; it changes alone where the momentum of a norm is 0.
COUNTER = "num_batches_tracked"
AVERAGES = ("running_mean", "running_var")
#: Buffers that a norm updates in train mode.
STATISTICS = (*AVERAGES, COUNTER)
#: The vectors of a spectral norm, by which the weight is divided.
VECTORS = ("_u", "_v", "weight_u", "weight_v")
#: Buffers that a forward pass of a layer of torch rewrites in train mode.
REWRITTEN = (*STATISTICS, *VECTORS)


class TensorInfo(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """One named tensor of a checkpoint, as described by the header.

    Attributes:
        name: dotted, after unwrapping; the key that the model's state_dict uses.
        shape: one int per dimension; () for a scalar. As reported by torch: the whole shape of a sparse or
            distributed tensor, the shape of `values()` of a nested one; (0,) if the file does not say.
        dtype: torch's name without `torch.`, e.g. "bfloat16".
        kind: "parameter" or "buffer" if known, else "unknown".
        requires_grad: as stored; None if the file stores none (a plain state_dict never does).
        storage: position of its bytes; None if they are stored under the checkpoint's prefix and the name. If
            `packing` has parts, it only identifies tensors that are the same.
        guessed: True if `kind` was inferred from the name or the dtype and could be wrong.
        packing: how it is stored if not as one block with strides.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    kind: Kind = "unknown"
    requires_grad: bool | None = None
    storage: StorageKey | None = None
    guessed: bool = False
    packing: Packing | None = None

    @property
    def elements(self) -> int:
        """The number of values; 1 for a scalar, two for each element of float4_e2m1fn_x2."""
        return math.prod(self.shape) * PACKED.get(self.dtype, 1)

    @property
    def bytes(self) -> int:
        """Size of the tensor's own elements in bytes; of its parts if it has any (see `Packing`)."""
        if self.packing is not None:
            return self.packing.bytes
        return math.prod(self.shape) * ITEMSIZE.get(self.dtype, 0)

    @property
    def is_statistic(self) -> bool:
        """Whether this is a running statistic of a norm, by its name."""
        return self.name.rpartition(".")[2] in STATISTICS

    @property
    def untrainable_reason(self) -> str:
        """Why this tensor is not trainable, in a few words; "" if it is."""
        if self.packing is not None and self.packing.untrainable_reason:
            return f"{self.packing.what}: {self.packing.untrainable_reason}"
        if self.kind == "buffer":
            return "buffers do not require grad"
        if self.dtype == UNKNOWN:
            return "unknown dtype"
        if not can_require_grad(self.dtype):
            return f"{self.dtype}: {_why_no_grad(self.dtype)}, which cannot require grad"
        return ""


#: Receives the tensors of a checkpoint in order, some thousands at a time, while the rest is being read; it
#: may turn out to have others in the end.
Found = Callable[[Sequence[TensorInfo]], None]


class SkippedEntry(msgspec.Struct, frozen=True):
    """Something in the file that is not a weight of the model and was skipped.

    Attributes:
        key: its key in the file, e.g. "optimizer".
        what: one short line, e.g. "64 tensors, 1.1 GB" or "12".
    """

    key: str
    what: str


class Part(msgspec.Struct, frozen=True):
    """One of the files that a checkpoint consists of.

    Attributes:
        source: its path or URL.
        size: in bytes.
        version: changes with every write to a file of this machine; "" if not known.
    """

    source: str
    size: int
    version: str = ""


class Checkpoint(msgspec.Struct, frozen=True):
    """A checkpoint's header.

    Attributes:
        source: the path as given by the user.
        format: for display, e.g. "zip state_dict", "legacy pickle", "safetensors", "pickled nn.Module".
        tensors: the state_dict's tensors, in the file's order (safetensors: natural order of the names).
        key: the dotted key under which the state_dict was found; "" for the top level.
        prefix: the common prefix removed from all names, e.g. "module."; "" for none.
        wrappers: segments removed inside names, e.g. ("_orig_mod",); see `checkpoint.state_dict.wrappers`.
        choices: every key with a state_dict (`--key`), including the chosen one.
        skipped: optimizer, epoch and the like.
        module_types: module path -> qualified class name, if the file has it (pickled nn.Module,
            TorchScript); the root is "".
        module_paths: every module path in `_metadata`, including modules without parameters; may be empty.
        foreign: "module.name" of each global in a pickle that neither torch nor plain data needs.
        warnings: one line each.
        size: bytes of all its files.
        parts: the files; one, or the shards in order. With several, a storage's key starts with the part's
            number, or with those of the first and the last part that may contain it: "3/key", "3-5/key".
        label: the model for display, as named by a `config.json` beside the file; "" without one.
        model: what builds the model, from that `config.json`; empty if unknown.
        absent: names of tensors that an index lists and none of the files contains.
        incomplete: why its weights cannot be loaded from these files and what to do, in one line; "" if they
            can, as far as the header shows.
    """

    source: str
    format: str
    tensors: tuple[TensorInfo, ...]
    key: str = ""
    prefix: str = ""
    wrappers: tuple[str, ...] = ()
    choices: tuple[str, ...] = ()
    skipped: tuple[SkippedEntry, ...] = ()
    module_types: dict[str, str] = {}
    module_paths: tuple[str, ...] = ()
    foreign: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    size: int = 0
    parts: tuple[Part, ...] = ()
    label: str = ""
    model: ModelSpec = ModelSpec()
    absent: tuple[str, ...] = ()
    incomplete: str = ""

    @property
    def unwrapped(self) -> str:
        """What was removed to get the names: "key 'model', prefix 'module.' stripped"; "" for nothing."""
        parts = [f"key {self.key!r}"] if self.key else []
        if self.prefix:
            parts.append(f"prefix {self.prefix!r} stripped")
        if self.wrappers:
            parts.append(f"{' and '.join(self.wrappers)} stripped inside names")
        return ", ".join(parts)

    def name_in_file(self, tensor: TensorInfo) -> str:
        """Return a tensor's name in a file that stores tensors by name (safetensors, GGUF)."""
        if tensor.storage is None:
            return self.prefix + tensor.name
        return tensor.storage.key if len(self.parts) < 2 else tensor.storage.key.partition("/")[2]
