"""The check and a script's `apply` accept and refuse the same, on models of every library."""

from __future__ import annotations

import random
import warnings
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import torchvision
from msgspec.structs import replace
from torch import nn

from freezetui.engine.check import check
from freezetui.errors import FreezeTuiError
from freezetui.freeze.rules import Rule
from freezetui.model_spec import ModelSpec
from freezetui.models.name_map import file_tensors, map_names
from freezetui.session.options import Options
from freezetui.session.session import Session
from freezetui.training.apply import apply
from freezetui.training.config import FreezeConfig
from support import tiny_transformers as tiny

#: What models of images are checked with: the input is not what is compared here, so small.
IMAGE = (3, 32, 32)


def transformers_model(name: str, hub: bool = False) -> Callable[[Path], tuple[Path, nn.Module]]:
    def make(directory: Path) -> tuple[Path, nn.Module]:
        import transformers

        tensors = tiny.saved(tiny.build(name), directory / "file")
        if hub:
            tiny.put(directory / "file", tiny.hub_shaped(name, tensors))
        return directory / "file", getattr(transformers, name).from_pretrained(directory / "file")

    return make


def torchvision_model(name: str) -> Callable[[Path], tuple[Path, nn.Module]]:
    def make(directory: Path) -> tuple[Path, nn.Module]:
        model = torchvision.models.get_model(name, weights=None, num_classes=4)
        torch.save(model.state_dict(), directory / "model.pth")
        return directory / "model.pth", model

    return make


def timm_arguments(name: str) -> dict[str, int]:
    return {"num_classes": 4, **({"img_size": IMAGE[1]} if name.startswith("vit") else {})}


def timm_model(name: str) -> Callable[[Path], tuple[Path, nn.Module]]:
    def make(directory: Path) -> tuple[Path, nn.Module]:
        timm = pytest.importorskip("timm")
        model = timm.create_model(name, **timm_arguments(name))
        torch.save(model.state_dict(), directory / "model.pth")
        return directory / "model.pth", model

    return make


MODELS = {
    **{name: transformers_model(name) for name in tiny.FAMILIES},
    **{f"hub {name}": transformers_model(name, hub=True) for name in tiny.HUB},
    **{
        name: torchvision_model(name)
        for name in (
            "densenet121", "mnasnet0_5", "mobilenet_v2", "mobilenet_v3_small", "regnet_y_400mf", "resnet18",
            "shufflenet_v2_x0_5", "squeezenet1_1",
        )
    },
    **{
        f"timm {name}": timm_model(name)
        for name in (
            "convnext_atto", "efficientvit_b0", "ghostnet_050", "mobilevit_xxs", "resnet10t",
            "vit_tiny_patch16_224",
        )
    },
}  # fmt: skip


def random_rules(names: list[str], seed: int) -> tuple[Rule, ...]:
    """Up to three rules on modules of the file, from large to small."""
    draw = random.Random(seed)
    rules = []
    for depth in range(1, draw.randint(1, 3) + 1):
        segments = draw.choice(names).split(".")
        action = "train" if depth > 1 and draw.random() < 0.4 else "freeze"
        rules.append(Rule(action, ".".join(segments[:depth])))
    return tuple(rules)


def outcome(function: Callable[[], object]) -> object:
    """Return what it returns, or the words with which it refuses."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return function()
    except FreezeTuiError as error:
        return str(error)


@pytest.mark.slow
@pytest.mark.parametrize("name", MODELS)
def test_what_the_check_accepts_and_refuses_apply_does(name: str, tmp_path: Path) -> None:
    path, live = MODELS[name](tmp_path)
    of_images = name[0].islower() and not name.startswith("hub")
    given = ModelSpec(input=IMAGE if of_images else ())
    timm_name = name[5:] if name.startswith("timm") else ""
    accepted = 0
    for seed in range(3):
        if accepted and of_images:  # they are the large ones
            break
        session = Session(Options(str(path), model=given, device="cpu", steps=1))
        trainable = [t.name for t in session.tree.tensors if not t.untrainable_reason]
        rules = random_rules(trainable, seed)
        if outcome(lambda s=session, r=rules: s.choose(None, r)) is not None:
            continue
        session.save(tmp_path / f"{seed}.yaml")
        config = FreezeConfig.load(tmp_path / f"{seed}.yaml")
        by_apply = outcome(lambda c=config: c.apply(live))
        by_path = outcome(lambda c=config: c.apply(live, checkpoint=path))
        request = session.request()
        if timm_name:  # the header of a bare state_dict does not tell what built it
            spec = ModelSpec(f"timm.models:{timm_name}", timm_arguments(timm_name), IMAGE)
            request = replace(request, model=spec)
        report = outcome(lambda r=request: check(r))
        if isinstance(report, str) or isinstance(by_apply, str):
            assert report == by_apply == by_path
            continue
        assert by_apply == by_path
        accepted += 1
        assert (report.frozen.tensors, report.trainable.tensors) == (
            by_apply.counts.frozen.tensors,
            by_apply.counts.trainable.tensors,
        )
    assert accepted


@pytest.mark.parametrize("name", [*list(tiny.FAMILIES), "resnet18", "mobilenet_v2", "timm convnext_atto"])
def test_random_plans_come_back_from_the_live_model(name: str, tmp_path: Path) -> None:
    """A plan is the same through file, config, live model and back to the file's names."""
    path, live = MODELS[name](tmp_path)
    session = Session(Options(str(path)))
    tensors = session.checkpoint.tensors
    names = map_names(live, file_tensors(tensors))
    groups = {frozenset(names.files_of(group[0])) for group in names.ties}
    groups |= {frozenset(files) for files in names.merged.values()}
    stored = [t.name for t in tensors if not t.untrainable_reason and names.live_of(t.name)]
    stored = [n for n in stored if any(names.by_name[live].kind == "parameter" for live in names.live_of(n))]
    homeless = [t.name for t in tensors if not t.untrainable_reason and t.name not in set(stored)]
    draw = random.Random(name)
    tried = 0
    while tried < 20:
        frozen = set(draw.sample(stored, draw.randint(0, len(stored))))
        for group in groups:  # one live parameter has one flag
            if group & frozen:
                frozen |= group & set(stored)
        session.plan.replace(bytes(t.name not in frozen for t in session.tree.tensors))
        config = session.written(tmp_path / "random.yaml")
        config = replace(config, model=replace(config.model, checkpoint=str(path)))
        applied = outcome(lambda c=config: apply(c, live))
        if homeless and "only buffers of the model" in str(applied):
            continue  # a rule on what DETR keeps as buffers alone
        assert not isinstance(applied, str), applied
        flags = {n: p.requires_grad for n, p in live.named_parameters(remove_duplicate=False)}
        back = {file for file, train in names.to_file(flags).items() if not train}
        assert back & set(stored) == frozen
        tried += 1
