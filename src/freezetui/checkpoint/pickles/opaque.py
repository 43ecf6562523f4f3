"""Stubs for everything that is not a tensor: instances of any class, and results of functions."""

from __future__ import annotations

import pickle
import re
from collections.abc import Callable
from typing import Any

_MAX_ARGUMENTS = 1000
#: Classes that one pickle may create; each takes a kilobyte.
_MAX_CLASSES = 20_000
_MAX_NAME = 200
_STORAGE_CLASS, _MAX_HEAD = re.compile(rb"ctorch(?:\.\w+)*\n(\w+Storage)\n"), 4096


class Opaque:
    """Stub of an instance of a class, or of the result of a function, that the pickle names."""

    state: Any = None
    #: Whether the pickle calls the class, as it would a function; instances are created without a call.
    called = False

    args: tuple[Any, ...]
    items: list[Any]

    def __new__(cls, *args: Any, **_: Any) -> Opaque:
        # Every call copies its arguments: a long tuple in the memo could be copied many times.
        if len(args) > _MAX_ARGUMENTS:
            raise MemoryError
        self = super().__new__(cls)
        self.args, self.items = args, []
        return self

    def __init__(self, *_: Any, **__: Any) -> None:
        # Not on Opaque itself: every class of every later file would inherit the flag (see own_class).
        if not self.called and type(self) is not Opaque:
            type(self).called = True

    def __call__(self, *args: Any, **_: Any) -> Opaque:
        """Return a stub: the result of a function may be called in turn."""
        return Opaque.__new__(Result, *args)

    def __setstate__(self, state: Any) -> None:
        self.state = state

    def __setitem__(self, key: Any, value: Any) -> None:
        self.items.append((key, value))

    def append(self, item: Any) -> None:
        """Record an item that the pickle appends."""
        self.items.append(item)


class Result(Opaque):
    """Stub of what the pickle gets by calling the result of a call."""

    __slots__ = ()


class FxModuleStub(Opaque):
    """Stub of torch.fx's `reduce_graph_module`: a module's attributes, with its code as text, not run."""

    def __init__(self, *args: Any) -> None:
        super().__init__()
        self.state = next((arg for arg in args if isinstance(arg, dict)), None)


class CompiledModuleStub(Opaque):
    """Stub of torch.compile's OptimizedModule, which is pickled as a call with the module."""

    def __init__(self, *args: Any) -> None:
        super().__init__()
        if args:
            self.state = {"_modules": {"_orig_mod": args[0]}}


# A module's class is identified by its own name.
FxModuleStub.__module__, FxModuleStub.__name__ = "torch.fx.graph_module", "GraphModule"
CompiledModuleStub.__module__, CompiledModuleStub.__name__ = "torch._dynamo.eval_frame", "OptimizedModule"


class StorageBytesStub(Opaque):
    """Stub of torch.storage's `_load_from_bytes`: a storage as a file of its own inside a plain pickle.

    Attributes:
        kind: the name of the storage's class, if it occurs at the start of that file; otherwise "".
    """

    kind = ""

    def __init__(self, *args: Any) -> None:
        super().__init__()
        found = _STORAGE_CLASS.search(args[0][:_MAX_HEAD]) if args and type(args[0]) is bytes else None
        if found:
            self.kind = found[1].decode()


#: Functions that create or look up a class: cloudpickle and dill write classes of a script that way, and
#: torch's pickle protocol writes a class inside a class as `getattr(Outer, "Inner")`.
CLASS_MAKERS = frozenset(
    ("_make_skeleton_class", "_make_skeleton_enum", "_create_type", "_get_attr", "getattr")
)


def class_maker() -> Callable[..., type[Opaque]]:
    """Return a stub of those functions: each call returns a stub of the requested class."""
    made = 0

    def make(*args: Any) -> type[Opaque]:
        nonlocal made
        made += 1
        if made > _MAX_CLASSES or len(args) > _MAX_ARGUMENTS:
            raise pickle.UnpicklingError("too many classes")
        name = next((arg for arg in args if type(arg) is str), "")
        where = next((arg.get("__module__") for arg in args if isinstance(arg, dict)), None)
        return opaque_class(where if type(where) is str else "__main__", name)

    return make


def own_class(shared: type[Opaque]) -> type[Opaque]:
    """Return a subclass for one file: a call in that file must not flag the class that later files share."""
    return type(shared.__name__, (shared,), {"__module__": shared.__module__, "__slots__": ()})


def opaque_class(module: str, name: str) -> type[Opaque]:
    """Return a stub of the class with this name."""
    last = name[-_MAX_NAME:].rpartition(".")[2].replace("\0", "") or "_"
    return type(last, (Opaque,), {"__module__": module, "__slots__": ()})
