"""A config.json of another model is known by names alone."""

from __future__ import annotations

import pytest

from freezetui.recognition.families import misfit

LLAMA = ["model.embed_tokens.weight", "model.layers.0.self_attn.q_proj.weight"]
BERT = ["bert.encoder.layer.0.attention.self.query.weight"]
OLD_VIT, NEW_VIT = (
    ["vit.encoder.layer.0.attention.attention.query.weight"],
    ["vit.layers.0.attention.q_proj.weight"],
)
T5 = ["encoder.block.0.layer.0.SelfAttention.q.weight"]


@pytest.mark.parametrize(
    ("architecture", "names", "is_misfit"),
    [
        ("BertForSequenceClassification", LLAMA, True),
        ("BertModel", LLAMA, True),
        ("LlamaForCausalLM", BERT, True),
        ("GPT2LMHeadModel", T5, True),
        ("T5EncoderModel", T5, False),
        ("BertForSequenceClassification", BERT, False),
        ("RobertaModel", BERT, False),
        ("Qwen3ForCausalLM", [f"base_model.model.{name}" for name in LLAMA], False),
        ("ViTForImageClassification", OLD_VIT, False),
        ("ViTForImageClassification", NEW_VIT, False),
        ("BertModel", ["bert.embeddings.word_embeddings.weight"], False),
        ("SomethingForCausalLM", BERT, False),
        ("T5GemmaForConditionalGeneration", LLAMA, False),
        ("AutoModel", LLAMA, False),
    ],
)
def test_names_of_another_family_are_told(architecture: str, names: list[str], is_misfit: bool) -> None:
    assert bool(misfit(f"transformers:{architecture}", names)) is is_misfit


def test_nothing_is_said_of_other_builders() -> None:
    assert misfit("torchvision:vgg16", LLAMA) == misfit("", LLAMA) == misfit("models.py:build", BERT) == ""
