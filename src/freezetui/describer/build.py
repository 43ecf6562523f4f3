"""Builds a library's model on the meta device: no weights, no user code, no remote code, no downloads."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module

import torch
from torch import Tensor, nn

from freezetui.checkpoint.types import Checkpoint, Part, TensorInfo
from freezetui.description.protocol import DescribeRequest
from freezetui.errors import ModelError
from freezetui.models.resize import resize
from freezetui.models.spec import Factory, call
from freezetui.models.transformers_models import is_pretrained, pretrained_model
from freezetui.recognition.catalog import Recognition

_META = torch.device("meta")
#: Arguments of timm's `create_model` that read files or the network.
_LOADING = ("pretrained", "checkpoint_path", "pretrained_cfg", "pretrained_cfg_overlay", "cache_dir")


def library_of(factory: Factory) -> str:
    """Return the library that defines the factory: "torchvision", "timm" or "transformers".

    Raises:
        ModelError: it is the user's own code, which is never imported here.
    """
    if factory.kind == "torchvision":
        return "torchvision"
    if is_pretrained(factory):
        return factory.source
    if (factory.kind, str(factory)) == ("module", "timm:create_model"):
        return "timm"
    raise ModelError(f"{factory} is not a model of torchvision, timm or transformers.")


def import_library(library: str) -> None:
    """Import it before the memory is limited.

    Raises:
        ModelError: it is not installed, or does not fit this torch.
    """
    names = {"torchvision": "torchvision.models", "transformers": "transformers.modeling_utils"}
    try:
        import_module(names.get(library, library))
    except ImportError:
        raise ModelError(f"{library} is not installed.", f"Run: pip install {library}") from None
    except Exception as error:  # torchvision raises RuntimeError where it does not match torch
        raise ModelError(f"importing {library} failed: {' '.join(str(error).split())[:200]}.") from None


def build(factory: Factory, request: DescribeRequest) -> nn.Module:
    """Return the model with all of its parameters on meta, in eval mode.

    Raises:
        ModelError: the library has no such model, or cannot build it with these arguments.
    """
    known = _known(request)
    arguments = {**(known.model.arguments if known else {}), **request.model.arguments}
    if library_of(factory) == "timm":
        refused = [name for name in _LOADING if name in arguments]
        if refused or ":" in str(arguments.get("model_name", "")):
            raise ModelError(f"{refused[0] if refused else 'model_name'} would load from a file or a hub.")

    def make() -> nn.Module:
        if is_pretrained(factory):
            return pretrained_model(factory, arguments, _checkpoint(request))
        return call(factory, arguments)

    model = _on_meta(make)
    if known is not None and not known.exact:
        with _META:
            resize(model, {tensor.name: tensor.shape for tensor in request.tensors})
    return model.eval()


def _known(request: DescribeRequest) -> Recognition | None:
    """Return what the file was recognized as, if that is what the request builds."""
    known = request.recognition
    if known is None or request.model.architecture not in (known.model.architecture, *known.alternatives):
        return None
    return known


def _checkpoint(request: DescribeRequest) -> Checkpoint:
    tensors = tuple(TensorInfo(t.name, t.shape, t.dtype) for t in request.tensors)
    return Checkpoint(request.source, "", tensors, parts=(Part(request.source, 0),))


def _on_meta(make: Callable[[], nn.Module]) -> nn.Module:
    """Build on meta; if a constructor looks at values, build with values that are dropped one by one."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            with _META:
                return make()
        except MemoryError:
            raise
        except Exception:  # whatever a constructor raises when a tensor has no values
            with _registered_on_meta():
                return make()


@contextmanager
def _registered_on_meta() -> Iterator[None]:
    """Move every parameter and buffer to meta when a module registers it."""
    parameter, buffer = nn.Module.register_parameter, nn.Module.register_buffer

    def register_parameter(self: nn.Module, name: str, value: nn.Parameter | None) -> None:
        parameter(self, name, value)
        if value is not None:
            moved = nn.Parameter(value.detach().to(_META), requires_grad=value.requires_grad)
            self._parameters[name] = moved if type(value) is nn.Parameter else value

    def register_buffer(self: nn.Module, name: str, tensor: Tensor | None, persistent: bool = True) -> None:
        buffer(self, name, tensor, persistent)
        if tensor is not None:
            self._buffers[name] = tensor.to(_META)

    nn.Module.register_parameter = register_parameter  # type: ignore[method-assign, assignment]
    nn.Module.register_buffer = register_buffer  # type: ignore[method-assign]
    try:
        yield
    finally:
        nn.Module.register_parameter = parameter  # type: ignore[method-assign]
        nn.Module.register_buffer = buffer  # type: ignore[method-assign]
