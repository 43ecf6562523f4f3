"""Reads shapes and dtypes of NumPy arrays in a pickle."""

from __future__ import annotations

from typing import Any

from freezetui.checkpoint.pickles.opaque import Opaque
from freezetui.checkpoint.pickles.stubs import ArrayStub, BufferArrayStub
from freezetui.checkpoint.types import ITEMSIZE, UNKNOWN

ARRAYS: frozenset[type] = frozenset((ArrayStub, BufferArrayStub))
#: NumPy's code of a dtype -> torch's name.
_DTYPES = {
    "b1": "bool",
    "i1": "int8",
    "i2": "int16",
    "i4": "int32",
    "i8": "int64",
    "u1": "uint8",
    "u2": "uint16",
    "u4": "uint32",
    "u8": "uint64",
    "f2": "float16",
    "f4": "float32",
    "f8": "float64",
    "c8": "complex64",
    "c16": "complex128",
}


def array_size(array: Any) -> Any:
    """Return the shape as stored, unchecked."""
    return array.size if type(array) is BufferArrayStub else _state(array)[1]


def array_dtype(array: Any) -> str:
    """Return torch's name of the dtype: "float32" for `numpy.dtype("f4")`; UNKNOWN if torch has none."""
    dtype = array.dtype if type(array) is BufferArrayStub else _state(array)[2]
    code = dtype.args[0] if isinstance(dtype, Opaque) and dtype.args else None
    if isinstance(code, type) and code.__name__ in ITEMSIZE:  # from ml_dtypes, such as bfloat16
        return code.__name__
    return _DTYPES.get(code.lstrip("<>|="), UNKNOWN) if type(code) is str else UNKNOWN


def _state(array: Any) -> tuple[Any, ...]:
    """Return (version, shape, dtype, ...); Nones if the pickle has no state."""
    return array.state if type(array.state) is tuple and len(array.state) > 2 else (None, None, None)
