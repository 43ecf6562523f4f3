"""Makes src/freezetui/checkpoint/pickles/torch_globals.py from the installed torch.

What torch's own `weights_only` unpickler allows, and the classes and functions of torch that only hold data
or compute: modules, optimizers, schedulers, observers, the metadata of distributed checkpoints. Names that an
older list has stay, so that files of older versions are not reported.

    python scripts/make_torch_globals.py
"""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import re
import textwrap
import types
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import _weights_only_unpickler as unpickler

TARGET = Path(__file__).parents[1] / "src/freezetui/checkpoint/pickles/torch_globals.py"

#: Packages of which every class that a module of theirs defines is taken.
PACKAGES = (
    "torch.nn.modules",
    "torch.nn.qat",
    "torch.nn.quantizable",
    "torch.nn.intrinsic",
    "torch.ao.nn",
    "torch.ao.quantization.fake_quantize",
    "torch.ao.quantization.observer",
    "torch.ao.quantization.qconfig",
    "torch.ao.quantization.stubs",
    "torch.nn.parallel.data_parallel",
    "torch.nn.parallel.distributed",
    "torch.nn.parameter",
    "torch.nn.utils.parametrizations",
    "torch.nn.utils.parametrize",
    "torch.nn.utils.prune",
    "torch.nn.utils.spectral_norm",
    "torch.nn.utils.weight_norm",
    "torch.optim",
    "torch.distributed.checkpoint.filesystem",
    "torch.distributed.checkpoint.metadata",
    "torch.distributed.tensor._dtensor_spec",
    "torch.distributed.tensor.placement_types",
    "torch.distributed._shard.metadata",
    "torch.distributed._shard.sharded_tensor.metadata",
    "torch.distributed._shard.sharding_spec",
    "torch.serialization",
)
#: Of these modules only the names here: all else in them reaches files or runs code.
ONLY = {
    "torch.distributed.checkpoint.filesystem": ("_StorageInfo", "_StoragePrefix"),
    "torch.serialization": (),
}
#: Functions that a module keeps as an attribute, such as an activation; `torch` also holds some that read.
COMPUTES = {
    "torch": "relu relu_ tanh sigmoid softmax log_softmax sin cos exp abs rsqrt selu celu",
    "torch._C._nn": "gelu silu mish hardtanh leaky_relu softplus elu_ log_sigmoid linear",
}
#: Written by torch, and kept in no list of its own.
ALSO = (
    "torch.ScriptObject",
    "torch._tensor._rebuild_from_type",
    "torch._utils._rebuild_xla_tensor",
    "torch.contiguous_format",
    "torch.preserve_format",
    "torch.channels_last",
    "torch.channels_last_3d",
    "torch.strided",
    "torch.distributed.checkpoint.metadata._MEM_FORMAT_ENCODING",
    "torch.nn.backends.thnn._get_thnn_function_backend",
    "torch.tensor._rebuild_from_type",
    "torch.tensor.Tensor",
)


def main() -> None:
    """Write the list."""
    before = _before()
    names = sorted({*before, *_allowed(), *_classes(), *_functions(), *ALSO})
    modules: dict[str, list[str]] = {}
    for name in names:
        module, _, last = name.rpartition(".")
        modules.setdefault(module, []).append(last)
    lines = [f"{module}: {' '.join(each)}" for module, each in modules.items()]
    wrapped = [part for line in lines for part in textwrap.wrap(line, 108, subsequent_indent="    ")]
    TARGET.write_text(
        '"""The globals of torch that hold data or compute, made by scripts/make_torch_globals.py."""\n\n'
        "from __future__ import annotations\n\n"
        "#: In the form that known_globals.py describes.\n"
        'TORCH_GLOBALS = """\\\n' + "\n".join(wrapped) + '\n"""\n'
    )
    print(f"{len(names)} names, {len(set(names) - before)} of them new")


def _before() -> set[str]:
    from freezetui.checkpoint.pickles.known_globals import parsed

    if not TARGET.exists():
        return set()
    from freezetui.checkpoint.pickles.torch_globals import TORCH_GLOBALS

    return set(parsed(TORCH_GLOBALS))


def _allowed() -> set[str]:
    """What `weights_only` allows, what it names when it refuses, and what an import adds."""
    for name in (
        "torch.nested._internal.nested_tensor",
        "torch.distributed.tensor",
        "torch._dynamo.decorators",
    ):
        importlib.import_module(name)
    source = inspect.getsource(unpickler.Unpickler.load)
    named = set(re.findall(r'^ *"(torch\.[\w.]+\.\w+)",$', source, re.MULTILINE))
    return {*unpickler._get_allowed_globals(), *unpickler._get_user_allowed_globals(), *named}


def _classes() -> Iterator[str]:
    for package in PACKAGES:
        for module in _modules(package):
            for name, value in vars(module).items():
                is_own = inspect.isclass(value) and value.__module__ == module.__name__
                if is_own and name in ONLY.get(module.__name__, (name,)):
                    yield f"{module.__name__}.{name}"


def _modules(name: str) -> Iterator[types.ModuleType]:
    """A module, and all below it that can be imported here."""
    try:
        module = importlib.import_module(name)
    except ImportError:
        return
    yield module
    for inner in pkgutil.iter_modules(getattr(module, "__path__", ())):
        yield from _modules(f"{name}.{inner.name}")


def _functions() -> Iterator[str]:
    """`torch.nn.functional` computes and does nothing else."""
    module = torch.nn.functional
    for name, value in vars(module).items():
        if inspect.isfunction(value) and value.__module__ == module.__name__ and not name.startswith("_"):
            yield f"{module.__name__}.{name}"
    yield from (f"{module}.{name}" for module, names in COMPUTES.items() for name in names.split())


if __name__ == "__main__":
    main()
