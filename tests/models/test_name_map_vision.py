"""The name map of timm's and torchvision's models, also from files in their authors' own spelling."""

from __future__ import annotations

import re

import pytest
import torch

from freezetui.models.name_map import map_names
from support.name_values import compare, headers, marked, rotated

timm = pytest.importorskip("timm")

TIMM = ["test_convnext", "test_resnet", "test_vit", "test_efficientnet", "test_nfnet", "test_byobnet"]


@pytest.mark.parametrize("name", TIMM)
def test_own_files(name: str) -> None:
    model = timm.create_model(name, num_classes=7)
    filled, marks = marked(model.state_dict())
    model.load_state_dict(filled)
    names = map_names(model, headers(filled))
    verdict = compare(model, names, marks)
    assert (verdict.wrong, verdict.lost) == ([], [])
    assert names.placed == len(filled) and not names.missing
    assert len(compare(model, rotated(names), marks).wrong) > verdict.right * 0.9


def facebook_convnext(name: str) -> str:
    """Return a name of timm's ConvNeXt as its authors' own files spell it."""
    name = re.sub(r"^stem\.", "downsample_layers.0.", name)
    name = re.sub(r"^stages\.(\d+)\.downsample\.", r"downsample_layers.\1.", name)
    name = re.sub(r"^stages\.(\d+)\.blocks\.", r"stages.\1.", name)
    for here, there in (("conv_dw", "dwconv"), ("mlp.fc1", "pwconv1"), ("mlp.fc2", "pwconv2")):
        name = name.replace(here, there)
    return name.replace("head.norm", "norm").replace("head.fc", "head")


def test_a_file_in_its_authors_spelling_goes_through_timms_filter() -> None:
    from timm.models.convnext import checkpoint_filter_fn

    model = timm.create_model("test_convnext", num_classes=7, conv_mlp=False)
    own = {facebook_convnext(key): value for key, value in model.state_dict().items()}
    filled, marks = marked(own)
    model.load_state_dict(checkpoint_filter_fn(dict(filled), model))
    names = map_names(model, headers(filled))
    verdict = compare(model, names, marks)
    assert (verdict.wrong, verdict.lost) == ([], [])
    assert names.placed == len(filled) and not names.missing and names.route == "timm"


def test_position_embeddings_of_another_size_are_resized_as_timm_does() -> None:
    from timm.models.vision_transformer import checkpoint_filter_fn

    small = timm.create_model("test_vit", num_classes=7)
    large = timm.create_model("test_vit", num_classes=7, img_size=288)
    filled, marks = marked(small.state_dict())
    large.load_state_dict(checkpoint_filter_fn(dict(filled), large))
    names = map_names(large, headers(filled))
    assert names.files_of("pos_embed") == ("pos_embed",) and not names.reshaped
    verdict = compare(large, names, marks)
    assert (verdict.wrong, verdict.lost) == ([], [])


def test_a_first_convolution_for_other_channels_is_made_of_the_files() -> None:
    tensors = timm.create_model("resnet18").state_dict()
    names = map_names(timm.create_model("resnet18", in_chans=1, num_classes=7), headers(tensors))
    assert names.files_of("conv1.weight") == ("conv1.weight",)
    assert [r.live for r in names.reshaped] == ["fc.weight", "fc.bias"] == list(names.missing)


def test_torchvisions_resnet() -> None:
    import torchvision

    model = torchvision.models.resnet18(num_classes=7)
    filled, marks = marked(model.state_dict())
    model.load_state_dict(filled)
    names = map_names(model, headers(filled))
    verdict = compare(model, names, marks)
    assert (verdict.wrong, verdict.lost) == ([], []) and names.placed == len(filled)


def test_an_older_densenet_is_renamed_by_timms_filter_for_it() -> None:
    with torch.device("meta"):
        model = timm.create_model("densenet121", num_classes=7)
    state = {
        k: t for k, t in model.state_dict().items() if "num_batches" not in k
    }  # younger than those files
    old = {re.sub(r"(denselayer\d+\.(?:norm|conv))(\d)", r"\1.\2", k): t for k, t in state.items()}
    assert old.keys() != state.keys()
    names = map_names(model, headers(old))
    assert names.placed == len(old) and not names.missing
