"""Stubs of the globals that a pickle names: they record their arguments and do nothing.

Each has its own `__setstate__`. Without it, a pickle could set attributes on these very classes.
"""

from __future__ import annotations

from typing import Any

import msgspec

from freezetui.checkpoint.pickles.checked_dict import OrderedDictStub
from freezetui.checkpoint.pickles.opaque import CompiledModuleStub, FxModuleStub, StorageBytesStub

#: Name of torch's storage class -> its dtype.
STORAGES = {
    "FloatStorage": "float32",
    "DoubleStorage": "float64",
    "HalfStorage": "float16",
    "BFloat16Storage": "bfloat16",
    "LongStorage": "int64",
    "IntStorage": "int32",
    "ShortStorage": "int16",
    "CharStorage": "int8",
    "ByteStorage": "uint8",
    "BoolStorage": "bool",
    "ComplexFloatStorage": "complex64",
    "ComplexDoubleStorage": "complex128",
    "QInt8Storage": "qint8",
    "QUInt8Storage": "quint8",
    "QInt32Storage": "qint32",
    "QUInt4x2Storage": "quint4x2",
    "QUInt2x4Storage": "quint2x4",
    "UntypedStorage": "uint8",
}


class Rebuilt(msgspec.Struct):
    """The arguments of one of torch's rebuild functions, unchecked.

    A msgspec struct for speed: a file may contain 100,000 tensors. It stays tracked by the garbage collector:
    otherwise a chain of 100,000, one inside the other, would overflow the stack when it is freed.
    """

    def __setstate__(self, state: Any) -> None:
        """Ignore attributes set on a tensor: they do not affect its shape."""


class TensorStub(Rebuilt):
    """torch._utils._rebuild_tensor_v2, and _rebuild_tensor, which has only the first four."""

    storage: Any
    offset: Any
    size: Any
    stride: Any
    requires_grad: Any = False
    hooks: Any = None
    metadata: Any = None


class TypedTensorStub(Rebuilt):
    """torch._utils._rebuild_tensor_v3: the storage is untyped, the dtype separate."""

    storage: Any
    offset: Any
    size: Any
    stride: Any
    requires_grad: Any
    hooks: Any
    dtype: Any
    metadata: Any = None


class QuantizedTensorStub(Rebuilt):
    """torch._utils._rebuild_qtensor."""

    storage: Any
    offset: Any
    size: Any
    stride: Any
    quantizer: Any
    requires_grad: Any = False
    hooks: Any = None


class SparseTensorStub(Rebuilt):
    """torch._utils._rebuild_sparse_tensor; `data` is (indices..., values, size[, is_coalesced])."""

    layout: Any
    data: Any


class MetaTensorStub(Rebuilt):
    """torch._utils._rebuild_meta_tensor_no_storage."""

    dtype: Any
    size: Any
    stride: Any
    requires_grad: Any


class NestedTensorStub(Rebuilt):
    """torch._utils._rebuild_nested_tensor: the components are consecutive in `values`."""

    values: Any
    sizes: Any
    strides: Any
    offsets: Any


class JaggedTensorStub(Rebuilt):
    """torch.nested._internal.nested_tensor._rebuild_njt: a dict with the `values`, `offsets` and flag."""

    arguments: Any

    @property
    def requires_grad(self) -> Any:
        """As stored; None if the dict does not have it."""
        return self.arguments.get("requires_grad") if isinstance(self.arguments, dict) else None


class DeviceTensorStub(Rebuilt):
    """Moved to its device after loading: `data` is a CPU tensor, or a NumPy array (XLA, older torch)."""

    data: Any
    dtype: Any
    device: Any
    requires_grad: Any


class WrapperTensorStub(Rebuilt):
    """torch._utils._rebuild_wrapper_subclass (DTensor, torchao): the tensors inside are in `state`."""

    type: Any
    dtype: Any
    size: Any
    stride: Any
    offset: Any
    layout: Any
    device: Any
    requires_grad: Any
    state: Any = None


class LazyParameterStub(Rebuilt):
    """torch.nn.parameter.UninitializedParameter: no shape before the first forward."""

    requires_grad: Any = True


class LazyBufferStub(Rebuilt):
    """torch.nn.parameter.UninitializedBuffer."""

    requires_grad: Any = False


class ParameterStub(Rebuilt):
    """torch._utils._rebuild_parameter and _rebuild_parameter_with_state."""

    data: Any
    requires_grad: Any
    hooks: Any = None
    state: Any = None


class SubclassStub(Rebuilt):
    """torch._tensor._rebuild_from_type_v2, and _rebuild_from_type before it: a tensor with attributes."""

    rebuild: Any
    type: Any
    args: Any
    state: Any = None


class ArrayStub(Rebuilt):
    """numpy's `_reconstruct`; `state` is (version, shape, dtype, whether in Fortran order, bytes)."""

    type: Any = None
    size: Any = None
    code: Any = None
    state: Any = None

    def __setstate__(self, state: Any) -> None:
        self.state = state


class BufferArrayStub(Rebuilt):
    """numpy's `_frombuffer`, used by pickle protocol 5."""

    data: Any
    dtype: Any
    size: Any
    order: Any = "C"


class UnreadStub:
    """The result of any other `_rebuild...` function: a tensor of which only the name is known."""

    __slots__ = ()

    def __new__(cls, *_: Any, **__: Any) -> UnreadStub:
        return super().__new__(cls)

    def __setstate__(self, state: Any) -> None:
        """Ignore the state: its meaning is unknown."""


#: Globals that occur in state_dicts -> their stubs.
STUBS: dict[tuple[str, str], Any] = {
    ("collections", "OrderedDict"): OrderedDictStub,
    ("collections", "defaultdict"): OrderedDictStub,
    ("torch", "Size"): ().__add__,
    ("torch._utils", "_rebuild_tensor"): TensorStub,
    ("torch._utils", "_rebuild_tensor_v2"): TensorStub,
    ("torch._utils", "_rebuild_tensor_v3"): TypedTensorStub,
    ("torch._utils", "_rebuild_qtensor"): QuantizedTensorStub,
    ("torch._utils", "_rebuild_sparse_tensor"): SparseTensorStub,
    ("torch._utils", "_rebuild_meta_tensor_no_storage"): MetaTensorStub,
    ("torch._utils", "_rebuild_parameter"): ParameterStub,
    ("torch._utils", "_rebuild_parameter_with_state"): ParameterStub,
    ("torch._utils", "_rebuild_nested_tensor"): NestedTensorStub,
    ("torch.nested._internal.nested_tensor", "_rebuild_njt"): JaggedTensorStub,
    ("torch._utils", "_rebuild_wrapper_subclass"): WrapperTensorStub,
    ("torch._utils", "_rebuild_device_tensor_from_cpu_tensor"): DeviceTensorStub,
    ("torch._utils", "_rebuild_device_tensor_from_numpy"): DeviceTensorStub,
    ("torch._utils", "_rebuild_xla_tensor"): DeviceTensorStub,
    ("torch._tensor", "_rebuild_from_type"): SubclassStub,
    ("torch._tensor", "_rebuild_from_type_v2"): SubclassStub,
    ("torch.nn.parameter", "UninitializedParameter"): LazyParameterStub,
    ("torch.nn.parameter", "UninitializedBuffer"): LazyBufferStub,
    ("torch.storage", "_load_from_bytes"): StorageBytesStub,
    ("torch._dynamo.eval_frame", "OptimizedModule"): CompiledModuleStub,
    ("torch.fx.graph_module", "reduce_graph_module"): FxModuleStub,
    ("torch.fx.graph_module", "reduce_package_graph_module"): FxModuleStub,
    ("torch.fx.graph_module", "reduce_deploy_graph_module"): FxModuleStub,
    ("numpy.core.multiarray", "_reconstruct"): ArrayStub,
    ("numpy._core.multiarray", "_reconstruct"): ArrayStub,
    ("numpy.core.numeric", "_frombuffer"): BufferArrayStub,
    ("numpy._core.numeric", "_frombuffer"): BufferArrayStub,
}


def rebuilds_a_tensor(name: str) -> bool:
    """Whether an unknown global is, by its name, a function that rebuilds tensors."""
    return name.startswith("_rebuild") and ("tensor" in name or "param" in name)
