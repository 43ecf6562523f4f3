"""Factory: parses the architecture in a ModelSpec, and calls it to build the model."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import os
import sys
from collections.abc import Callable, Mapping
from difflib import get_close_matches
from pathlib import Path
from types import ModuleType
from typing import Any, Literal, NamedTuple

from torch import nn

from freezetui.errors import ModelError
from freezetui.model_spec import ARCHITECTURE_FORMS
from freezetui.text import kind_of
from freezetui.user_code import user_code

_MAX_NAMED = 12


class Factory(NamedTuple):
    """What builds a model.

    Attributes:
        kind: where the factory is defined.
        source: "torchvision", the dotted module, or the file's path.
        name: the model's name, or the factory's; dotted for an attribute of a class.
    """

    kind: Literal["torchvision", "module", "file"]
    source: str
    name: str

    def __str__(self) -> str:
        return f"{self.source}:{self.name}"


def parse_factory(text: str) -> Factory:
    """Read `torchvision:NAME`, `package.module:callable` or `path/to/file.py:callable`.

    Raises:
        ModelError: it has none of these forms, or the file does not exist.
    """
    source, colon, name = text.strip().rpartition(":")
    if not colon or not source or not all(part.isidentifier() for part in name.split(".")):
        raise ModelError(f"{text!r} is not a valid architecture spec.", ARCHITECTURE_FORMS)
    if source == "torchvision":
        return Factory("torchvision", source, name)
    if source.endswith(".py") or "/" in source or os.sep in source:
        if not os.path.isfile(source):  # noqa: PTH113 (does not raise where the name is too long)
            raise ModelError(f"{text!r}: no such file: {source}.", ARCHITECTURE_FORMS)
        return Factory("file", source, name)
    if not all(part.isidentifier() for part in source.split(".")):
        raise ModelError(f"{text!r} is not a valid architecture spec.", ARCHITECTURE_FORMS)
    return Factory("module", source, name)


def call(factory: Factory, arguments: Mapping[str, Any]) -> nn.Module:
    """Return the model that the factory builds; runs the user's code, or torchvision's.

    Raises:
        ModelError: the factory cannot be imported, raised, or returned no nn.Module. The traceback of an
            error in the user's code is printed to stderr.
    """
    is_ours = factory.kind == "torchvision"
    build = _torchvision_builder(factory.name, arguments) if is_ours else imported(factory)
    if isinstance(build, nn.Module):
        if arguments:
            raise ModelError(
                f"{factory} is already a model instance and takes no arguments.", "Leave the arguments out."
            )
        return build
    if not callable(build):
        raise ModelError(
            f"{factory} is {kind_of(build)}, not a callable that builds a model.", ARCHITECTURE_FORMS
        )
    with user_code(f"{factory}({_written(arguments)})"):
        model = build(**arguments)
    if not isinstance(model, nn.Module):
        raise ModelError(
            f"{factory} returned {kind_of(model)}, not a torch.nn.Module.",
            "Use a callable that returns the model itself.",
        )
    return model


def imported(factory: Factory, option: str = "--architecture") -> Any:
    """Return the named attribute of the user's module or file; runs the user's code.

    Args:
        option: of the command line, which names it.

    Raises:
        ModelError: it cannot be imported, or has no such attribute.
    """
    try:
        with user_code(f"Importing {factory.source}", lambda error: _is_missing(factory, error)):
            module = _import(factory)
    except ModuleNotFoundError as error:
        raise ModelError(f"No module named {error.name!r}.", f"Install it, or correct {option}.") from None
    except ModelError as error:
        raise ModelError(error.message, f"{error.hint}{_advice(error.__cause__, option)}".strip()) from error
    found: Any = module
    for part in factory.name.split("."):
        if not hasattr(found, part):
            names = [n for n, value in vars(found).items() if callable(value) and not n.startswith("_")]
            hint = _closest(part, names)
            if factory.source == "timm":  # its functions are not exported by the package
                hint = f"Write --architecture timm:create_model --arg model_name={factory.name}"
            raise ModelError(f"{factory.source} has no {factory.name}.", hint)
        found = getattr(found, part)
    return found


def _advice(error: BaseException | None, option: str) -> str:
    """Return what to do about an error of a script that is not made to be imported; "" for others."""
    if isinstance(error, SystemExit):
        return " Put what reads the command line, or runs, below if __name__ == '__main__'."
    if isinstance(error, ImportError) and "relative import" in str(error):
        return f" Name it as a module of its package: {option} package.module:name."
    return ""


def _is_missing(factory: Factory, error: BaseException) -> bool:
    """Whether the module itself, or a package that contains it, does not exist."""
    if not isinstance(error, ModuleNotFoundError) or factory.kind != "module":
        return False
    return f"{factory.source}.".startswith(f"{error.name}.")


def _import(factory: Factory) -> ModuleType:
    """Import as `python -m` would, the working directory first; a file with its own directory first."""
    path = Path(factory.source).resolve()
    directory = str(path.parent if factory.kind == "file" else Path.cwd())
    if directory not in sys.path:
        sys.path.insert(0, directory)
    if factory.kind == "module":
        return importlib.import_module(factory.source)
    found = importlib.util.spec_from_file_location(path.stem, path)
    if found is None or found.loader is None:
        raise ImportError(f"{path.name} is not a Python file")
    module = sys.modules[path.stem] = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    return module


def _torchvision_builder(name: str, arguments: Mapping[str, Any]) -> Callable[..., Any]:
    """Return the builder, with no weights to download."""
    models = _torchvision_models()
    if name not in models.list_models():
        raise ModelError(f"torchvision has no model {name}.", _closest(name, models.list_models()))
    builder = models.get_model_builder(name)
    none = {w: None for w in ("weights", "weights_backbone") if w in inspect.signature(builder).parameters}
    refused = [argument for argument in arguments if argument in none]
    if refused:
        raise ModelError(
            f"{refused[0]} is not allowed: weights are loaded from the checkpoint.", "Leave it out."
        )
    return lambda **arguments: builder(**none, **arguments)


def _torchvision_models() -> Any:
    try:
        return importlib.import_module("torchvision.models")
    except ImportError:
        raise ModelError("torchvision is not installed.", "Run: pip install torch torchvision") from None
    except RuntimeError as error:
        raise ModelError(
            f"torchvision does not match torch: {' '.join(str(error).split())}.",
            "Run: pip install --upgrade --force-reinstall torch torchvision",
        ) from None


def _written(arguments: Mapping[str, Any]) -> str:
    return ", ".join(f"{name}={value!r}" for name, value in arguments.items())


def _closest(name: str, names: list[str]) -> str:
    close = get_close_matches(name, names, n=3, cutoff=0.5)
    if close:
        return f"Did you mean {', '.join(close)}?"
    return f"It has {', '.join(names)}." if 0 < len(names) <= _MAX_NAMED else ""
