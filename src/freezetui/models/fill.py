"""Loads a checkpoint's weights into a model as the library's own loading does."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

import torch
from torch import Tensor, nn
from torch.nn.modules.lazy import LazyModuleMixin

from freezetui.checkpoint.types import COUNTER, Checkpoint
from freezetui.errors import ModelError
from freezetui.freeze.live_plan import lost_block
from freezetui.freeze.name_map import LiveTensor, NameMap
from freezetui.models import timm_names, transformers_loading
from freezetui.models.live_names import ancestry, live_tensors, plain_names, submodule
from freezetui.models.load import load_tensors
from freezetui.models.name_map import file_tensors, map_names
from freezetui.text import listed

#: torch's quantization-aware layers, whose own loading resizes their buffers.
_OBSERVERS = frozenset({"FakeQuantizeBase", "ObserverBase"})
_HINT = "Check --architecture and --arg, or choose another dict in the file with --key."


def fill(model: nn.Module, checkpoint: Checkpoint, root: str = "") -> NameMap:
    """Copy the checkpoint's tensors to where the library would put them, and return the map.

    What the model has no use for is left out, and a new head keeps its values: the map lists both. A name may
    be missing if it is tied to one that is present, or if it is a BatchNorm's batch counter.

    Args:
        root: the module that the checkpoint belongs to; "" finds it.

    Raises:
        ModelError: the checkpoint is for a different model.
        ConfigError: there is no such root, or there are several places where the checkpoint fits.
        CheckpointError: the file's bytes cannot be reached.
    """
    names = map_names(model, file_tensors(checkpoint.tensors), root)
    if problem := _misfit(model, names, checkpoint):
        raise ModelError(f"{checkpoint.source} does not fit {type(model).__name__}: {problem}.", _HINT)
    found = submodule(model, names.root)
    assert found is not None
    module, prefix = found
    real = {row.plain: row for row in live_tensors(module) if row.role == "base"}
    tensors = {
        name[len(names.prefix) :]: tensor
        for name, tensor in load_tensors(checkpoint).items()
        if name.startswith(names.prefix)
    }
    plain = plain_names(tensors, real.values())
    tensors = {plain[name]: tensor for name, tensor in tensors.items()}
    made = _renamed(module, tensors, {plain: row.tensor for plain, row in real.items()})
    state = module.state_dict()  # keeps the version metadata that torch's own layers read
    state.clear()
    reshaped = {reshaped.live for reshaped in names.reshaped}
    for name, tensor in made.items():
        live = real[name].name if name in real else name
        if prefix + live not in reshaped:
            state[live] = tensor
    try:
        module.load_state_dict(state, strict=False)
    except RuntimeError as error:
        raise ModelError(f"{checkpoint.source}: {' '.join(str(error).split())[:300]}") from error
    _initialize(model, names)
    for row in real.values():
        if row.name.endswith(COUNTER) and not names.files_of(prefix + row.name):
            row.tensor.data.zero_()  # as torch's own BatchNorm does with an old file
    return names


@torch.no_grad()
def _initialize(model: nn.Module, names: NameMap) -> None:
    """Give new matrices random values, which `SkipRandomInit` left out: zeros would pass no gradient on.

    So it is with the base of an adapter, where the factory has not loaded one.
    """
    fresh = {*names.missing, *(reshaped.live for reshaped in names.reshaped)}
    matrices = [row for row in live_tensors(model) if row.tensor.ndim > 1 and row.tensor.is_floating_point()]
    base = [row for row in matrices if names.by_name[row.name].origin == "base"]
    if not any(row.tensor.any() for row in base):
        fresh.update(row.name for row in base)
    generator = torch.Generator().manual_seed(0)
    for row in matrices:
        if row.name in fresh:
            values = torch.randn(row.tensor.shape, generator=generator) / row.tensor[0].numel() ** 0.5
            row.tensor.copy_(values)


def materialize(model: nn.Module, checkpoint: Checkpoint) -> None:
    """Give lazy parameters the shapes of the checkpoint's tensors of the same names."""
    model.load_state_dict(load_tensors(checkpoint), strict=False)
    for module in model.modules():
        if isinstance(module, LazyModuleMixin) and not module.has_uninitialized_params():
            _widen(module)


def _widen(module: nn.Module) -> None:
    """Write down how wide a lazy layer's input is: torch does so only where it allocates the weight."""
    for weight in (getattr(module, "weight", None), getattr(module, "running_mean", None)):
        if weight is None:
            continue
        if hasattr(module, "in_features"):
            module.in_features = weight.shape[1]
        elif hasattr(module, "in_channels"):
            transposed = bool(getattr(module, "transposed", False))
            module.in_channels = weight.shape[0] if transposed else weight.shape[1] * int(module.groups)  # type: ignore[arg-type]
        elif hasattr(module, "num_features"):
            module.num_features = weight.shape[0]
        return


def allocate(model: nn.Module, checkpoint: Checkpoint) -> None:
    """Give buffers that a first forward allocates, or resizes as observers do, the file's shapes."""
    shapes = {tensor.name: tensor.shape for tensor in checkpoint.tensors}
    for path, module in model.named_modules():
        observes = not _OBSERVERS.isdisjoint(ancestry(module))
        for name, buffer in module._buffers.items():
            shape = shapes.get(f"{path}.{name}" if path else name)
            if buffer is None or shape is None or 0 in shape or shape == tuple(buffer.shape):
                continue
            if observes or not buffer.numel():
                module._buffers[name] = buffer.new_zeros(shape)


@torch.no_grad()
def _renamed(
    module: nn.Module, tensors: Mapping[str, Tensor], own: Mapping[str, Tensor]
) -> Mapping[str, Tensor]:
    """Return the tensors by the module's names, merged, split and resized as its library does."""
    if transformers_loading.is_pretrained_model(module):
        return transformers_loading.convert(module, tensors, own).made
    return timm_names.filtered(module, tensors, own) if timm_names.is_timm_model(module) else tensors


def _misfit(model: nn.Module, names: NameMap, checkpoint: Checkpoint) -> str:
    """Return why the checkpoint is not this model's; "" if it is.

    transformers decides for its own models: it initializes what is missing, and refuses other shapes.
    """
    reshaped = {reshaped.live for reshaped in names.reshaped}
    shapes = [
        f"{r.live} ({list(r.file_shape)} in the file, {list(r.live_shape)} in the model)"
        for r in names.reshaped
    ]
    missing = [t.name for t in names.live if t.origin == "new" and t.name not in reshaped and _is_needed(t)]
    found = submodule(model, names.root)
    if names.placed and found is not None and transformers_loading.is_pretrained_model(found[0]):
        foreign = bool(shapes)
    else:
        foreign = _is_foreign(names, checkpoint, missing)
    groups = (("missing", missing), ("unexpected", names.unplaced), ("with a different shape", shapes))
    said = "; ".join(
        f"{len(found):,} {what}: {listed(found, most=3, longest=None)}" for what, found in groups if found
    )
    return (said or "it has no tensor of the model") if foreign else ""


def _is_needed(tensor: LiveTensor) -> bool:
    return not tensor.name.endswith((COUNTER, "_extra_state"))


def _modules(names: Iterable[str]) -> set[str]:
    """Return the paths of the modules that these tensors belong to."""
    return {name.rpartition(".")[0] for name in names}


def _is_foreign(names: NameMap, checkpoint: Checkpoint, missing: Collection[str]) -> bool:
    """Whether too little fits for the checkpoint to be the model's.

    Half of either side has no counterpart, a module is filled in part, or one side has more blocks in a row.
    """
    own = [t for t in names.live if t.kind == "parameter" and t.origin not in ("outside", "adapter", "base")]
    known = {*names.inverse, *(r.file for r in names.reshaped)}
    stored = [t.name for t in checkpoint.tensors if not t.untrainable_reason]
    filled = [t.name for t in names.live if t.files]
    return (
        not filled
        or 2 * sum(bool(t.files) for t in own) < len(own)
        or 2 * sum(name in known for name in stored) < len(stored)
        or not _modules(filled).isdisjoint(_modules(missing))
        or bool(lost_block(filled, missing) or lost_block(names.inverse, names.unplaced))
    )
