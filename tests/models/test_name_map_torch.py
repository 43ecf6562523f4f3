"""The name map of plain torch models: wrappers, parametrizations, and files that are a part of the model."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations, parametrize, prune

from freezetui.errors import ConfigError
from freezetui.models.name_map import map_names
from support.name_values import Holder, compare, headers, marked, rotated


def net() -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(4, 5))


def plain_file(model: nn.Module | None = None) -> dict[str, Tensor]:
    return dict((model or net()).state_dict())


def test_a_model_of_torch_maps_name_by_name() -> None:
    model = net()
    filled, marks = marked(plain_file())
    model.load_state_dict(filled)
    names = map_names(model, headers(filled))
    verdict = compare(model, names, marks)
    assert (verdict.right, verdict.wrong, verdict.lost) == (9, [], [])
    assert {t.name: t.kind for t in names.live}["1.running_mean"] == "buffer"
    assert len(compare(model, rotated(names), marks).wrong) == 9


class DataParallel(nn.Module):
    """Named as torch's own class, which needs a GPU to do anything."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module


class DistributedDataParallel(DataParallel):
    """As above."""


class FullyShardedDataParallel(nn.Module):
    """Named as torch's own class, which needs a process group."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self._fsdp_wrapped_module = module


def checkpointed(model: nn.Module) -> nn.Module:
    from torch.distributed.algorithms._checkpoint.checkpoint_wrapper import checkpoint_wrapper

    model[0] = checkpoint_wrapper(model[0])  # type: ignore[operator]
    return model


def inner_compiled(model: nn.Module) -> nn.Module:
    model[3] = torch.compile(model[3])  # type: ignore[operator]
    return model


WRAPPERS: dict[str, Callable[[nn.Module], nn.Module]] = {
    "data parallel": nn.DataParallel,
    "data parallel by name": DataParallel,
    "distributed": DistributedDataParallel,
    "fsdp": lambda m: FullyShardedDataParallel(nn.Sequential(*[FullyShardedDataParallel(x) for x in m])),
    "compiled": torch.compile,
    "compiled in distributed": lambda m: DistributedDataParallel(torch.compile(m)),
    "one layer compiled": inner_compiled,
    "checkpoint wrapper": checkpointed,
    "ema": torch.optim.swa_utils.AveragedModel,
}


@pytest.mark.parametrize("wrap", WRAPPERS)
@pytest.mark.parametrize("file_prefix", ["", "module.", "module._orig_mod.", "model."])
def test_wrappers_on_either_side_do_not_matter(wrap: str, file_prefix: str) -> None:
    model = net()
    filled, marks = marked(plain_file())
    model.load_state_dict(filled)
    live = WRAPPERS[wrap](model)
    names = map_names(live, headers({file_prefix + key: t for key, t in filled.items()}))
    verdict = compare(live, names, {file_prefix + key: mark for key, mark in marks.items()})
    assert (verdict.right, verdict.wrong, verdict.lost) == (9, [], [])
    assert names.live_of(f"{file_prefix}3.weight")[0] in dict(live.named_parameters())
    assert {t.clean for t in names.live if t.files} == set(filled)


def test_a_user_module_called_module_is_not_a_wrapper() -> None:
    model = Holder(module=net(), head=nn.Linear(5, 2))
    names = map_names(model, headers(plain_file(model)))
    assert names.live_of("module.0.weight") == ("module.0.weight",)
    assert names.by_name["module.0.weight"].clean == "module.0.weight"


def old_norm(model: nn.Sequential) -> nn.Sequential:
    torch.nn.utils.weight_norm(model[0])
    return model


def new_norm(model: nn.Sequential) -> nn.Sequential:
    parametrizations.weight_norm(model[0])
    return model


@pytest.mark.filterwarnings("ignore:.*weight_norm.*:FutureWarning")
@pytest.mark.parametrize("live", [old_norm, new_norm])
@pytest.mark.parametrize("file", [old_norm, new_norm])
def test_both_spellings_of_weight_norm(live: Any, file: Any) -> None:
    model, tensors = live(net()), plain_file(file(net()))
    filled, marks = marked(tensors)
    renamed = {}
    for key, value in filled.items():
        if file is old_norm and live is new_norm:
            renamed[key] = value  # torch's own hook renames
        else:
            swap = {
                "0.parametrizations.weight.original0": "0.weight_g",
                "0.parametrizations.weight.original1": "0.weight_v",
            }
            renamed[swap.get(key, key) if live is old_norm else key] = value
    model.load_state_dict(renamed)
    names = map_names(model, headers(filled))
    verdict = compare(model, names, marks)
    assert (verdict.right, verdict.wrong, verdict.lost) == (10, [], [])


def test_a_weight_that_was_parametrized_after_loading_is_made_of_the_plain_one() -> None:
    names = map_names(new_norm(net()), headers(plain_file()))
    assert names.live_of("0.weight") == (
        "0.parametrizations.weight.original0",
        "0.parametrizations.weight.original1",
    )
    assert not names.missing and not names.unplaced


def test_a_weight_whose_norm_was_taken_off_is_made_of_both_parts() -> None:
    names = map_names(net(), headers(plain_file(new_norm(net()))))
    assert set(names.files_of("0.weight")) == {
        "0.parametrizations.weight.original0",
        "0.parametrizations.weight.original1",
    }


def test_spectral_norm_and_pruning_keep_their_states_apart() -> None:
    model = net()
    torch.nn.utils.spectral_norm(model[0])
    prune.l1_unstructured(model[3], "weight", 0.5)
    names = map_names(model, headers(plain_file()))
    assert names.live_of("0.weight") == ("0.weight_orig",) and names.live_of("3.weight") == ("3.weight_orig",)
    assert not names.missing
    new = net()
    parametrizations.spectral_norm(new[0])
    names = map_names(new, headers(plain_file(model)))
    assert names.live_of("0.weight_orig") == ("0.parametrizations.weight.original",)
    assert not names.missing and set(names.unplaced) == {"0.weight_u", "0.weight_v", "3.weight_mask"}


def test_a_users_parametrization() -> None:
    class Twice(nn.Module):
        def forward(self, weight: Tensor) -> Tensor:
            return weight * 2

    model = net()
    parametrize.register_parametrization(model[3], "weight", Twice())
    names = map_names(model, headers(plain_file()))
    assert names.live_of("3.weight") == ("3.parametrizations.weight.original",)


def test_a_hook_that_renames_while_loading_is_run_and_writes_nothing() -> None:
    class Renames(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.new = nn.Linear(3, 3)
            self.register_load_state_dict_pre_hook(self._rename)

        @staticmethod
        def _rename(module: nn.Module, state: dict[str, Tensor], prefix: str, *_: object) -> None:
            for part in ("weight", "bias"):
                if f"{prefix}old.{part}" in state:
                    state[f"{prefix}new.{part}"] = state.pop(f"{prefix}old.{part}") * 1

    model = Holder(inner=Renames(), norm=nn.BatchNorm1d(3))
    tensors = {k.replace("new", "old"): t for k, t in plain_file(model).items() if "batches" not in k}
    versions = {n: (t._version, t.clone()) for n, t in model.state_dict(keep_vars=True).items()}
    names = map_names(model, headers(tensors))
    assert names.live_of("inner.old.weight") == ("inner.new.weight",) and not names.missing
    for name, tensor in model.state_dict(keep_vars=True).items():
        assert tensor._version == versions[name][0] and torch.equal(tensor, versions[name][1])


def test_a_file_of_a_part_finds_its_one_place() -> None:
    model = Holder(encoder=net(), head=nn.Linear(5, 2))
    names = map_names(model, headers(plain_file()))
    assert names.root == "encoder" and names.placed == 9
    assert names.live_of("0.weight") == ("encoder.0.weight",)
    assert {t.name: t.origin for t in names.live}["head.weight"] == "outside"
    assert not names.missing


def test_a_file_that_fits_in_two_places_asks_which() -> None:
    model = Holder(query=net(), key=net(), head=nn.Linear(5, 2))
    with pytest.raises(
        ConfigError, match=r"fits in several places of Holder: (query, key|key, query)\."
    ) as raised:
        map_names(model, headers(plain_file()))
    assert "root='" in raised.value.hint
    names = map_names(model, headers(plain_file()), root="key")
    assert names.live_of("0.weight") == ("key.0.weight",)


def test_two_names_of_one_module_are_one_place() -> None:
    encoder = net()
    names = map_names(Holder(query=encoder, key=encoder, head=nn.Linear(5, 2)), headers(plain_file()))
    assert names.live_of("0.weight") == ("query.0.weight", "key.0.weight")
    assert names.by_name["key.0.weight"].tied_to == "query.0.weight"


def test_a_root_that_is_not_there_names_what_is() -> None:
    with pytest.raises(ConfigError, match="Holder has no module 'encodr'") as raised:
        map_names(Holder(encoder=net()), headers(plain_file()), root="encodr")
    assert "encoder" in raised.value.hint


def test_a_root_is_found_through_wrappers() -> None:
    model = DistributedDataParallel(torch.compile(Holder(encoder=torch.compile(net()), head=nn.Linear(5, 2))))
    names = map_names(model, headers(plain_file()), root="encoder")
    assert names.live_of("3.bias") == ("module._orig_mod.encoder._orig_mod.3.bias",)


def test_a_new_head_is_missing_and_a_reshaped_one_says_both_shapes() -> None:
    model = net()
    model[3] = nn.Linear(4, 7)
    model.append(nn.Linear(7, 2))
    names = map_names(model, headers(plain_file()))
    assert names.missing == ("3.weight", "3.bias", "4.weight", "4.bias")
    assert [(r.live, r.file_shape, r.live_shape) for r in names.reshaped] == [
        ("3.weight", (5, 4), (7, 4)),
        ("3.bias", (5,), (7,)),
    ]
    assert not names.unplaced


def test_a_file_of_another_model_places_next_to_nothing() -> None:
    names = map_names(net(), headers({f"blocks.{i}.w": torch.zeros(2) for i in range(5)}))
    assert names.placed == 0 and len(names.unplaced) == 5 and len(names.missing) == 6


def test_a_lazy_parameter_is_refused_by_name() -> None:
    with pytest.raises(ConfigError, match=r"1\.weight is a lazy parameter"):
        map_names(nn.Sequential(nn.Linear(2, 2), nn.LazyLinear(3)), headers(plain_file()))


def test_a_model_on_meta() -> None:
    with torch.device("meta"):
        model = net()
    assert map_names(model, headers(plain_file())).placed == 9


def test_lightning_and_fabric_keep_the_model_under_an_attribute() -> None:
    class _FabricModule(nn.Module):
        def __init__(self, forward_module: nn.Module) -> None:
            super().__init__()
            self._forward_module = forward_module
            self._original_module = forward_module

    lightning = Holder(net=net(), loss=nn.Linear(1, 1))
    assert map_names(lightning, headers(plain_file())).root == "net"
    saved = {f"net.{key}": t for key, t in plain_file().items()}
    assert map_names(net(), headers({**saved, "loss.weight": torch.zeros(1)})).placed == 9
    fabric = map_names(_FabricModule(net()), headers(plain_file()))
    assert fabric.live_of("0.weight") == ("_forward_module.0.weight", "_original_module.0.weight")


class FSDPModule(nn.Module):
    """As torch's `fully_shard` mixes it in; its hooks would wait for the other ranks."""


class Sharded(FSDPModule):
    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Linear(2, 2)
        self.register_load_state_dict_pre_hook(self.gather)

    def gather(self, *_: object) -> None:
        raise AssertionError("waits for the other ranks")


def test_the_hooks_of_a_sharded_model_are_not_run() -> None:
    names = map_names(Sharded(), {"body.weight": ((2, 2), "float32"), "body.bias": ((2,), "float32")})
    assert names.live_of("body.weight") == ("body.weight",)


def test_a_part_in_data_parallel_matches_on_either_side() -> None:
    whole, plain = (
        Holder(body=nn.DataParallel(net()), head=nn.Linear(5, 2)),
        Holder(body=net(), head=nn.Linear(5, 2)),
    )
    for model, file in ((whole, whole), (whole, plain), (plain, whole)):
        saved, live = file.state_dict(), list(model.state_dict())
        names = map_names(model, headers(saved))
        assert [names.live_of(name) for name in saved] == [(name,) for name in live]
        assert not names.unplaced and not names.missing
