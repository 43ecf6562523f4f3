"""Spec: what builds a model, as the person wrote it."""

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
from freezetui.user_code import user_code

_MAX_NAMED = 12
FORMS = "Write torchvision:NAME, package.module:callable or path/to/file.py:callable."


class Spec(NamedTuple):
    """What builds a model.

    Attributes:
        kind: where the factory lives.
        source: "torchvision", the dotted module, or the file's path.
        name: the model's name, or the factory's; dotted for an attribute of a class.
    """

    kind: Literal["torchvision", "module", "file"]
    source: str
    name: str

    def __str__(self) -> str:
        return f"{self.source}:{self.name}"


def parse_spec(text: str) -> Spec:
    """Read `torchvision:NAME`, `package.module:callable` or `path/to/file.py:callable`.

    Raises:
        ModelError: none of the three, no such file, or a name torchvision is not known to have.
    """
    source, colon, name = text.strip().rpartition(":")
    if not colon or not source or not all(part.isidentifier() for part in name.split(".")):
        raise ModelError(f"{text!r} names no architecture.", FORMS)
    if source == "torchvision":
        return Spec("torchvision", source, name)
    if source.endswith(".py") or "/" in source or os.sep in source:
        if not Path(source).is_file():
            raise ModelError(f"{text!r}: there is no file {source}.", FORMS)
        return Spec("file", source, name)
    if not all(part.isidentifier() for part in source.split(".")):
        raise ModelError(f"{text!r} names no architecture.", FORMS)
    return Spec("module", source, name)


def call(spec: Spec, arguments: Mapping[str, Any]) -> nn.Module:
    """The model that the spec's factory makes; runs the person's code, or torchvision's.

    Raises:
        ModelError: the factory cannot be imported, raised, or made no nn.Module. The traceback of what
            the person's own code raised goes to stderr.
    """
    factory = _torchvision_factory(spec.name, arguments) if spec.kind == "torchvision" else _factory(spec)
    if isinstance(factory, nn.Module):
        if arguments:
            raise ModelError(f"{spec} is a model already and takes no arguments.", "Leave the arguments out.")
        return factory
    if not callable(factory):
        raise ModelError(f"{spec} is a {type(factory).__name__}, not a callable that makes a model.", FORMS)
    with user_code(f"{spec}({_written(arguments)})"):
        model = factory(**arguments)
    if not isinstance(model, nn.Module):
        raise ModelError(
            f"{spec} returned a {type(model).__name__}, not a torch.nn.Module.",
            "Name a callable that returns the model itself.",
        )
    return model


def _factory(spec: Spec) -> Any:
    """The named attribute of the person's module or file."""
    with user_code(f"Importing {spec.source}"):
        module = _import(spec)
    found: Any = module
    for part in spec.name.split("."):
        if not hasattr(found, part):
            names = [n for n, value in vars(found).items() if callable(value) and not n.startswith("_")]
            raise ModelError(f"{spec.source} has no {spec.name}.", _closest(part, names))
        found = getattr(found, part)
    return found


def _import(spec: Spec) -> ModuleType:
    """Import as `python -m` would, the working folder first; a file with its own folder first."""
    path = Path(spec.source).resolve()
    folder = str(path.parent if spec.kind == "file" else Path.cwd())
    if folder not in sys.path:
        sys.path.insert(0, folder)
    if spec.kind == "module":
        return importlib.import_module(spec.source)
    found = importlib.util.spec_from_file_location(path.stem, path)
    if found is None or found.loader is None:
        raise ImportError(f"{path.name} is no Python file")
    module = sys.modules[path.stem] = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    return module


def _torchvision_factory(name: str, arguments: Mapping[str, Any]) -> Callable[..., Any]:
    """The builder, told to fetch no weights."""
    models = _torchvision_models()
    if name not in models.list_models():
        raise ModelError(f"torchvision has no model {name}.", _closest(name, models.list_models()))
    builder = models.get_model_builder(name)
    none = {w: None for w in ("weights", "weights_backbone") if w in inspect.signature(builder).parameters}
    given = [argument for argument in arguments if argument in none]
    if given:
        raise ModelError(
            f"{given[0]} cannot be given: the weights come from the checkpoint.", "Leave it out."
        )
    return lambda **given: builder(**none, **given)


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
