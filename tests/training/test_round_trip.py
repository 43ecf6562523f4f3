"""A wrapped model's own checkpoint, planned in a session: its config is accepted by that very model."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.distributed.algorithms._checkpoint.checkpoint_wrapper import checkpoint_wrapper
from torch.optim.swa_utils import AveragedModel

from freezetui import FreezeConfig
from freezetui.freeze.rules import Rule
from freezetui.session.options import Options
from freezetui.session.session import Session


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2))
        self.head = nn.Linear(2, 3)


IN_BODY = ("0.weight", "0.bias", "1.weight", "1.bias")


class Peft(nn.Module):
    """The names of a PeftModel: the tuner's `model` in its `base_model`."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.base_model = nn.ModuleDict({"model": model})


def body_in(wrap: Callable[[nn.Module], nn.Module]) -> Callable[[nn.Module], nn.Module]:
    def wrapped(model: nn.Module) -> nn.Module:
        model.body = wrap(model.body)
        return model

    return wrapped


def compiled(model: nn.Module) -> nn.Module:
    return torch.compile(model, backend="eager")


WRAPPERS = {
    "PEFT": Peft,
    "PEFT of compiled": lambda m: Peft(compiled(m)),
    "compiled": compiled,
    "a part compiled": body_in(compiled),
    "a part compiled in parallel": lambda m: nn.DataParallel(body_in(compiled)(m)),
    "a part in parallel": body_in(nn.DataParallel),
    "a part in parallel, in parallel": lambda m: nn.DataParallel(body_in(nn.DataParallel)(m)),
    "activation checkpointing": checkpoint_wrapper,
    "a part with activation checkpointing": body_in(checkpoint_wrapper),
    "activation checkpointing in compiled": lambda m: compiled(body_in(checkpoint_wrapper)(m)),
    "averaged, with a buffer beside the prefix": AveragedModel,
}


def save(tensors: dict[str, Tensor], path: Path) -> None:
    if path.suffix == ".safetensors":
        save_file({name: tensor.detach().clone().contiguous() for name, tensor in tensors.items()}, path)
    else:
        torch.save(tensors, path)


def check_round_trip(model: nn.Module, tensors: dict[str, Tensor], path: Path) -> None:
    """Check that a body frozen in a plan of these tensors is frozen in the model, and nothing else."""
    save(tensors, path)
    session = Session(Options(str(path)))
    body = next(t.name.removesuffix(".0.weight") for t in session.tree.tensors if ".0.weight" in t.name)
    session.choose(None, (Rule("freeze", body),))
    applied = FreezeConfig.load(session.save()).apply(model)
    plain = ".".join(segment for segment in body.split(".") if segment != "module")
    assert set(applied.frozen) == {f"{plain}.{name}" for name in IN_BODY}
    assert applied.norms == (f"{plain}.1",)
    states = {name: parameter.requires_grad for name, parameter in model.named_parameters()}
    assert len(states) == 6
    assert all(trains == ("head" in name) for name, trains in states.items())


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
@pytest.mark.parametrize("wrap", WRAPPERS.values(), ids=WRAPPERS)
def test_the_config_of_a_wrapped_models_state_dict_fits_the_model(wrap, suffix, tmp_path) -> None:
    model = wrap(Net())
    check_round_trip(model, model.state_dict(), tmp_path / f"net{suffix}")


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
@pytest.mark.parametrize("wrap", WRAPPERS.values(), ids=WRAPPERS)
def test_so_does_that_of_what_named_parameters_gives(wrap, suffix, tmp_path) -> None:
    model = wrap(Net())
    tensors = {name: parameter.data for name, parameter in nn.Module.named_parameters(model)}
    tensors |= dict(model.named_buffers())
    check_round_trip(model, tensors, tmp_path / f"net{suffix}")


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_fsdp_with_its_prefix_and_without(process_group, suffix, tmp_path) -> None:
    from torch.distributed.fsdp import FullyShardedDataParallel

    def sharded(model: nn.Module) -> nn.Module:
        return FullyShardedDataParallel(model, device_id=torch.device("cpu"), use_orig_params=True)

    model = sharded(body_in(sharded)(Net()))
    check_round_trip(model, model.state_dict(), tmp_path / f"state{suffix}")
    named = {name: parameter.detach() for name, parameter in model.named_parameters()}
    assert all(name.startswith("_fsdp_wrapped_module.") for name in named)
    check_round_trip(model, named | dict(model.named_buffers()), tmp_path / f"named{suffix}")
