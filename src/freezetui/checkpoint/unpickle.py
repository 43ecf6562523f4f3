"""The inert unpickler: a pickle read as data. Nothing that it names is imported or called."""

from __future__ import annotations

import pickle
from typing import Any, BinaryIO

import msgspec

from freezetui.checkpoint.text import printable
from freezetui.errors import CheckpointError

_MOST_GLOBALS = 20_000

#: torch's storage classes by name, and the dtype that each holds.
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
    "UntypedStorage": "uint8",
}


class Tensor(msgspec.Struct, gc=False):
    """The arguments of torch._utils._rebuild_tensor_v2, unchecked."""

    storage: Any
    offset: Any
    size: Any
    stride: Any
    requires_grad: Any = False
    hooks: Any = None
    metadata: Any = None


class TypedTensor(msgspec.Struct, gc=False):
    """The arguments of torch._utils._rebuild_tensor_v3: the storage is untyped, the dtype stands apart."""

    storage: Any
    offset: Any
    size: Any
    stride: Any
    requires_grad: Any
    hooks: Any
    dtype: Any
    metadata: Any = None


class Parameter(msgspec.Struct, gc=False):
    """The arguments of torch._utils._rebuild_parameter and of its variant with a state."""

    data: Any
    requires_grad: Any
    hooks: Any = None
    state: Any = None


class Subclass(msgspec.Struct, gc=False):
    """The arguments of torch._tensor._rebuild_from_type_v2: a tensor with attributes of its own."""

    rebuild: Any
    type: Any
    args: Any
    state: Any = None


class Mapping(dict[Any, Any]):
    """Stands for OrderedDict, defaultdict and their like; attributes such as `_metadata` stay readable."""

    def __init__(self, *args: Any) -> None:
        super().__init__(args[0] if args and isinstance(args[0], list | dict) else ())


class Opaque:
    """Stands for an instance of a class that the pickle names, or for what a function it names returns."""

    state: Any = None

    args: tuple[Any, ...]
    items: list[Any]

    def __new__(cls, *args: Any, **_: Any) -> Opaque:
        self = super().__new__(cls)
        self.args, self.items = args, []
        return self

    def __setstate__(self, state: Any) -> None:
        self.state = state

    def __setitem__(self, key: Any, value: Any) -> None:
        self.items.append((key, value))

    def append(self, item: Any) -> None:
        """What the pickle appends."""
        self.items.append(item)

    def extend(self, items: Any) -> None:
        """What the pickle appends."""
        self.items.extend(items)


_KNOWN: dict[tuple[str, str], Any] = {
    ("collections", "OrderedDict"): Mapping,
    ("collections", "defaultdict"): Mapping,
    ("torch._utils", "_rebuild_tensor"): Tensor,
    ("torch._utils", "_rebuild_tensor_v2"): Tensor,
    ("torch._utils", "_rebuild_tensor_v3"): TypedTensor,
    ("torch._utils", "_rebuild_parameter"): Parameter,
    ("torch._utils", "_rebuild_parameter_with_state"): Parameter,
    ("torch._tensor", "_rebuild_from_type_v2"): Subclass,
}
_PLAIN_MODULES = (
    "torch",
    "collections",
    "builtins",
    "__builtin__",
    "_codecs",
    "copyreg",
    "copy_reg",
    "numpy",
)


class Unpickler(pickle.Unpickler):
    """Reads one pickle after the other from a stream.

    Attributes:
        foreign: "module.name" of each global that belongs neither to torch nor to plain containers.
    """

    # A builtin, so that 100,000 tensors cost no Python call: a persistent id is ("storage", type, key, ...).
    persistent_load = tuple

    def __init__(self, stream: BinaryIO, source: str) -> None:
        super().__init__(stream, encoding="utf-8", errors="replace")
        self._source = source
        self._globals: dict[tuple[str, str], Any] = {}
        self.foreign: list[str] = []

    def find_class(self, module: str, name: str) -> Any:
        """A stand-in for a global; the same one each time."""
        known = self._globals.get((module, name))
        if known is None:
            if len(self._globals) >= _MOST_GLOBALS:
                raise pickle.UnpicklingError("too many different globals")
            known = self._globals[module, name] = self._stand_in(module, name)
        return known

    def _stand_in(self, module: str, name: str) -> Any:
        root = module.partition(".")[0]
        if root == "torch" and name in STORAGES:
            return STORAGES[name]
        if (module, name) in _KNOWN:
            return _KNOWN[module, name]
        if root not in _PLAIN_MODULES or (root in ("builtins", "__builtin__") and name in _CALLS):
            self.foreign.append(printable(f"{module}.{name}"))
        return type(name.rpartition(".")[2] or "_", (Opaque,), {"__module__": module, "__slots__": ()})

    def next(self) -> Any:
        """The next pickle's value.

        Raises:
            CheckpointError: the pickle is damaged.
        """
        try:
            return self.load()
        except (MemoryError, RecursionError):
            raise CheckpointError(
                f"{self._source} needs more memory to read than there is.", "It may be hostile."
            ) from None
        except Exception as error:  # the pickle machine raises whatever a damaged stream leads to
            problem = printable(f"{type(error).__name__}: {error}".splitlines()[0][:120])
            raise CheckpointError(
                f"{self._source} holds a damaged pickle ({problem}).", "Fetch or save the file again."
            ) from None


_CALLS = frozenset(("eval", "exec", "compile", "open", "getattr", "setattr", "__import__", "apply", "input"))


class LegacyUnpickler(Unpickler):
    """For the run of pickles of torch before 1.6, where a persistent id may also stand for a class.

    Attributes:
        storages: ("storage", dtype, key, device, elements, view) of each storage met.
    """

    def __init__(self, stream: BinaryIO, source: str) -> None:
        super().__init__(stream, source)
        self.storages: list[tuple[Any, ...]] = []

    def persistent_load(self, pid: Any) -> Any:  # type: ignore[override]
        """("module", class, file, source text) -> the class's stand-in; a storage is remembered."""
        if pid[0] == "module":
            return pid[1]
        self.storages.append(tuple(pid))
        return self.storages[-1]
