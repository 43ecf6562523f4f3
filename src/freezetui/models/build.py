"""Builds a model and loads a checkpoint's weights into it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import init
from torch.overrides import TorchFunctionMode

from freezetui.checkpoint.types import Checkpoint
from freezetui.freeze.name_map import NameMap
from freezetui.model_spec import ModelSpec
from freezetui.models.fill import allocate, fill, materialize
from freezetui.models.inputs.search import Example, find_input
from freezetui.models.inputs.trial import copied
from freezetui.models.load import CPU
from freezetui.models.resize import resize
from freezetui.models.spec import Factory, call, parse_factory
from freezetui.models.transformers_loading import is_pretrained_model
from freezetui.models.transformers_models import is_pretrained, pretrained_model
from freezetui.recognition.catalog import Recognition


class Built(NamedTuple):
    """A model with a checkpoint's weights, on the requested device.

    Attributes:
        model: as its factory built it (modes, flags), except for the weights.
        spec: what built it, every argument that the factory was called with, and the input's shape.
        dtype: of its floating point parameters; the file's, if it has only one and the model runs in it.
        example: an input that it accepts in train mode; None if none was found.
        tried: why no input was found, one line per attempt; empty if one was.
        names: which tensors of the checkpoint each of the model's is made of.
    """

    model: nn.Module
    spec: ModelSpec
    dtype: torch.dtype
    example: Example | None
    tried: tuple[str, ...]
    names: NameMap


def build_model(
    spec: ModelSpec,
    checkpoint: Checkpoint,
    recognition: Recognition | None = None,
    device: torch.device = CPU,
    progress: Callable[[str], None] = lambda phase: None,
    root: str = "",
    own_input: bool = False,
) -> Built:
    """Build the spec's model, find an input for it, and load the checkpoint into it on `device`.

    The input is searched for on copies of the model: what is checked is as its factory built it. A model
    without a forward is called by its `training_step`.

    Args:
        spec: arguments that follow from the shapes (`num_classes`) may be left out; an empty input finds one,
            a given one is used as it is.
        recognition: the architecture recognized from the checkpoint's names and shapes; None if unknown.
        progress: called with "build", "input" and "load" as each begins.
        root: the module of the model that the checkpoint belongs to; "" finds it.
        own_input: whether the caller has inputs of its own: none is searched for then.

    Raises:
        ModelError: the model cannot be built, the checkpoint is for a different one, or it does not accept
            the given input.
        ConfigError: the checkpoint fits in several places, or there is no such root.
        CheckpointError: the file's bytes cannot be reached.
    """
    factory = parse_factory(spec.architecture)
    progress("build")
    known = recognition if recognition is not None and _is_known(factory, recognition) else None
    arguments = {**(known.model.arguments if known else {}), **spec.arguments}
    with SkipRandomInit(), torch.random.fork_rng(devices=()):
        if is_pretrained(factory):
            model = pretrained_model(factory, arguments, checkpoint)
        else:
            model = call(factory, arguments)
    if known is not None and not known.exact:
        start = len(known.prefix)
        inside = (tensor for tensor in checkpoint.tensors if tensor.name.startswith(known.prefix))
        resize(model, {tensor.name[start:]: tensor.shape for tensor in inside})
    if any(nn.parameter.is_lazy(parameter) for parameter in model.parameters()):
        materialize(model, checkpoint)
    _make_callable(model)
    if not own_input:
        progress("input")
    own, stored = _dtype(model), _stored_dtype(checkpoint)
    if stored not in (None, own):
        model.to(stored)
    example, tried = (None, ()) if own_input else find_input(model, factory, arguments, spec.input)
    if example is None and not own_input and stored not in (None, own):
        example, tried = find_input(model.to(own), factory, arguments, spec.input)
    if example is not None and factory.kind != "torchvision":
        model = _after_first_forward(model, example, checkpoint)
    allocate(model, checkpoint)
    progress("load")
    # Each weight is copied from the file's pages straight to the device, without a full copy in between.
    names = fill(model.to(device), checkpoint, root)
    built_by = ModelSpec(str(factory), arguments, example.shape if example else ())
    return Built(model, built_by, _dtype(model), example, tried, names)


def _make_callable(model: nn.Module) -> None:
    """Let `training_step` stand in for a forward that is not defined; keep `DataParallel` on one device."""
    if getattr(type(model).forward, "__name__", "") == "_forward_unimplemented":
        model.forward = getattr(model, "training_step", model.forward)
    for module in model.modules():
        if isinstance(module, nn.DataParallel):
            module.device_ids = []


def _after_first_forward(model: nn.Module, example: Example, checkpoint: Checkpoint) -> nn.Module:
    """Return a copy after one forward where only that has tensors of the file's names, else the model.

    A layer that the first forward makes, or renames, must be there before its weights can be loaded.
    """
    stored = {tensor.name for tensor in checkpoint.tensors}
    absent = stored.difference(dict(model.named_parameters()), model.state_dict())
    if not absent or is_pretrained_model(model):
        return model
    try:
        twin = copied(model)
        args, kwargs = example.batch(2, 0, "cpu", _dtype(model))
        with torch.random.fork_rng(devices=()), torch.no_grad():
            twin(*args, **kwargs)
    except Exception:  # it runs in train mode only, or cannot be copied
        return model
    names = twin.state_dict().keys()
    gained = absent.intersection(names)
    return twin if gained and stored.difference(absent) <= set(names) else model


class SkipRandomInit(TorchFunctionMode):
    """Leaves parameters at zero that a constructor would initialize at random: they are loaded anyway.

    Builds a VGG16 in a tenth of the time.
    """

    RANDOM = frozenset({Tensor.normal_, Tensor.uniform_, init.normal_, init.uniform_, init.kaiming_uniform_})

    def __torch_function__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """Return zeros for random initialization of a parameter; run everything else unchanged."""
        kwargs = kwargs or {}
        if func in self.RANDOM:
            target = args[0] if args else kwargs["tensor"]
            if isinstance(target, nn.Parameter) and not nn.parameter.is_lazy(target):
                return target.detach().zero_()
        return func(*args, **kwargs)


def _is_known(factory: Factory, recognition: Recognition) -> bool:
    """Whether the recognized names and shapes are those of this factory's model."""
    return str(factory) in (recognition.model.architecture, *recognition.alternatives)


def _dtype(model: nn.Module) -> torch.dtype:
    """Return the dtype of the first floating point parameter."""
    return next((p.dtype for p in model.parameters() if p.is_floating_point()), torch.float32)


def _stored_dtype(checkpoint: Checkpoint) -> torch.dtype | None:
    """Return the one dtype of all the file's weights; None if there are several, or an 8-bit one."""
    dtypes = {
        tensor.dtype
        for tensor in checkpoint.tensors
        if tensor.kind != "buffer" and not tensor.untrainable_reason
    }
    known = {
        "float16": torch.float16,
        "bfloat16": torch.bfloat16,
        "float64": torch.float64,
        "float32": torch.float32,
    }
    return known.get(dtypes.pop()) if len(dtypes) == 1 else None
