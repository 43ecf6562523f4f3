"""The presets on families of models, each saved by its own library."""

from __future__ import annotations

from collections import OrderedDict

import pytest
from torch import nn
from torchvision.models.resnet import BasicBlock

from freezetui.describer.blocks import blocks
from freezetui.errors import PatternError
from support.families import FAMILIES, Known


@pytest.fixture(scope="module")
def known(tmp_path_factory: pytest.TempPathFactory):
    made: dict[str, Known] = {}

    def get(name: str) -> Known:
        if name not in made:
            made[name] = Known(name, tmp_path_factory.mktemp("family"))
        return made[name]

    return get


def modules(names: list[str]) -> list[str]:
    """Return the modules of these tensors, one or two segments deep, each once."""
    return list(dict.fromkeys(name.rpartition(".")[0] for name in names))


HEADS = {
    "torchvision vgg16": ["classifier.0", "classifier.3", "classifier.6"],
    "torchvision resnet18": ["fc"],
    "torchvision shufflenet_v2_x0_5": ["fc"],
    "torchvision vit_b_16": ["heads.head"],
    "torchvision densenet121": ["classifier"],
    "timm convnext_atto": ["head.fc"],
    "ViTForImageClassification": ["classifier"],
    "BertForMaskedLM": [
        "cls.predictions",
        "cls.predictions.transform.dense",
        "cls.predictions.transform.LayerNorm",
    ],
    "GPT2LMHeadModel": ["transformer.wte"],
    "LlamaForCausalLM": ["lm_head"],
    "T5ForConditionalGeneration": ["shared"],
    "BartForConditionalGeneration": ["model.shared"],
    "WhisperForConditionalGeneration": ["model.decoder.embed_tokens"],
    "Wav2Vec2ForCTC": ["lm_head"],
    "LlavaForConditionalGeneration": ["language_model.lm_head"],
    "Qwen2VLForConditionalGeneration": ["lm_head"],
}


@pytest.mark.parametrize("name", HEADS)
def test_the_head(known, name: str) -> None:
    assert modules(known(name).trains("head")) == HEADS[name]


#: Family -> blocks, and what the last block begins with and what comes after it.
LAST = {
    "torchvision vgg16": (13, ("features.28.", "classifier.")),
    "torchvision resnet18": (8, ("layer4.1.", "fc.")),
    "torchvision shufflenet_v2_x0_5": (16, ("stage4.3.", "conv5.", "fc.")),
    "torchvision vit_b_16": (12, ("encoder.layers.encoder_layer_11.", "encoder.ln.", "heads.")),
    "torchvision densenet121": (62, ("features.denseblock4.denselayer16.", "features.norm5.", "classifier.")),
    "timm convnext_atto": (12, ("stages.3.blocks.1.", "head.")),
    "ViTForImageClassification": (2, ("vit.encoder.layer.1.", "vit.layernorm.", "classifier.")),
    "BertForMaskedLM": (2, ("bert.encoder.layer.1.", "cls.")),
    "GPT2LMHeadModel": (2, ("transformer.h.1.", "transformer.ln_f.")),
    "LlamaForCausalLM": (2, ("model.layers.1.", "model.norm.", "lm_head.")),
    "T5ForConditionalGeneration": (4, ("decoder.block.1.", "decoder.final_layer_norm.")),
    "BartForConditionalGeneration": (4, ("model.decoder.layers.1.",)),
    "WhisperForConditionalGeneration": (4, ("model.decoder.layers.1.", "model.decoder.layer_norm.")),
    "Wav2Vec2ForCTC": (5, ("wav2vec2.encoder.layers.2.", "lm_head.")),
}


@pytest.mark.parametrize("name", LAST)
def test_the_last_blocks(known, name: str) -> None:
    number, begins = LAST[name]
    trains = known(name).trains("last-blocks:1")
    every = [tensor.name for tensor in known(name).tree.tensors]
    wanted = [n for n in every if n.startswith(begins) and "final_logits_bias" not in n]
    assert trains == wanted
    assert len(known(name).description.structure.blocks) == number
    with pytest.raises(PatternError, match=f"this model has {number} repeated blocks"):
        known(name).trains("last-blocks:999")
    assert set(known(name).trains(f"last-blocks:{number}")) > set(trains)


def test_all_four_layers_of_a_resnet_are_reached(known) -> None:
    trains = known("torchvision resnet18").trains("last-blocks:8")
    assert {name.partition(".")[0] for name in trains} == {"layer1", "layer2", "layer3", "layer4", "fc"}


def test_stages_of_one_block_each_are_blocks_beside_a_deep_stem() -> None:
    stem = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 4, 3))
    stages = {f"layer{i}": nn.Sequential(BasicBlock(4, 4)) for i in (1, 2)}
    other = nn.Sequential(nn.Sequential(nn.Conv2d(4, 4, 1), nn.BatchNorm2d(4)))
    model = nn.Sequential(OrderedDict(conv1=stem, other=other, **stages, fc=nn.Linear(4, 2)))
    assert blocks(model, {"fc"}) == ["conv1.0", "conv1.2", "layer1.0", "layer2.0"]


def test_a_model_of_towers_is_asked_which(known) -> None:
    clip, llava = known("CLIPModel"), known("LlavaForConditionalGeneration")
    with pytest.raises(PatternError, match=r"does not say which\. Choose head:text or head:vision"):
        clip.trains("head")
    assert clip.trains("head:text") == ["text_projection.weight"]
    assert clip.trains("head:vision") == ["visual_projection.weight"]
    with pytest.raises(PatternError, match=r"Choose last-blocks:1:vision or last-blocks:1:text"):
        clip.trains("last-blocks:1")
    with pytest.raises(
        PatternError, match=r"no such part\. Choose last-blocks:1:vision or last-blocks:1:text"
    ):
        clip.trains("last-blocks:1:sound")
    text = modules(clip.trains("last-blocks:1:text"))
    assert {m.split(".")[0] for m in text} == {"text_model", "text_projection"}
    assert not any("layers.0" in m for m in text)
    with pytest.raises(PatternError, match=r"Choose last-blocks:2:vision or last-blocks:2:text"):
        llava.trains("last-blocks:2")
    vision = llava.trains("last-blocks:1:vision")
    assert all(
        n.startswith(("vision_tower.encoder.layers.1.", "vision_tower.post_layernorm.")) for n in vision
    )
    assert "language_model.lm_head.weight" in llava.trains("last-blocks:1:text")


def test_an_encoder_and_a_decoder_are_one_chain_but_can_be_named(known) -> None:
    t5 = known("T5ForConditionalGeneration")
    assert "encoder.block.1.layer.0.SelfAttention.q.weight" in t5.trains("last-blocks:3")
    encoder = t5.trains("last-blocks:1:encoder")
    assert all(name.startswith(("encoder.block.1.", "encoder.final_layer_norm.")) for name in encoder)


@pytest.mark.parametrize("name", FAMILIES)
def test_blocks_and_heads_are_tensors_of_the_file(known, name: str) -> None:
    structure = known(name).description.structure
    every = {tensor.name for tensor in known(name).tree.tensors}
    assert structure.blocks and structure.heads
    assert set(structure.order) <= every and len(set(structure.order)) == len(structure.order)
    assert all(set(head.names) <= every and head.names for head in structure.heads)
    starts = [block.start for block in structure.blocks]
    assert starts == sorted(starts)


@pytest.mark.parametrize(
    ("name", "preset"),
    [
        ("torchvision vgg16", "last-blocks:3"),
        ("torchvision resnet18", "last-blocks:5"),
        ("torchvision shufflenet_v2_x0_5", "last-blocks:9"),
        ("torchvision vit_b_16", "last-blocks:2"),
        ("LlamaForCausalLM", "head"),
        ("LlamaForCausalLM", "last-blocks:1"),
        ("ViTForImageClassification", "last-blocks:1"),
        ("CLIPModel", "head:text"),
    ],
)
def test_names_alone_say_the_same_where_they_can(known, name: str, preset: str) -> None:
    family = known(name)
    assert set(family.trains(preset, known=False)) == set(family.trains(preset))
