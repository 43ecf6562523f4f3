"""The name map of models that PEFT has changed: files of the base, and files of the adapter."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from freezetui.freeze.name_map import NameMap
from freezetui.models.name_map import map_names
from support import tiny_transformers as tiny
from support.name_values import compare, headers, marked, rotated

peft = pytest.importorskip("peft")

ADAPTERS: dict[str, Any] = {
    "lora": lambda: peft.LoraConfig(r=4, target_modules=["q_proj", "v_proj"], modules_to_save=["score"]),
    "dora": lambda: peft.LoraConfig(r=4, target_modules=["q_proj"], use_dora=True, modules_to_save=["score"]),
    "lora of embeddings": lambda: peft.LoraConfig(
        r=4, target_modules=["embed_tokens"], modules_to_save=["score"]
    ),
    "ia3": lambda: peft.IA3Config(
        target_modules=["k_proj", "down_proj"], feedforward_modules=["down_proj"], modules_to_save=["score"]
    ),
    "trainable tokens": lambda: peft.LoraConfig(
        r=4, target_modules=["q_proj"], trainable_token_indices=[1, 2], modules_to_save=["score"]
    ),
}


def llama() -> nn.Module:
    """Return a Llama with a head, and random weights."""
    import transformers

    config = tiny.FAMILIES["LlamaForCausalLM"](transformers)
    config.pad_token_id = 0
    torch.manual_seed(0)
    return transformers.LlamaForSequenceClassification(config)


def classifier(directory: Path) -> tuple[nn.Module, dict[str, Tensor], dict[str, float]]:
    """Return the same, loaded from a file of distinct numbers, and what its file holds."""
    model = llama()
    filled, marks = marked(tiny.saved(model, directory))
    tiny.put(directory, filled)
    return type(model).from_pretrained(directory), filled, marks


def agrees(model: nn.Module, names: NameMap, marks: dict[str, float]) -> None:
    verdict = compare(model, names, marks)
    lost = [line for line in verdict.lost if "trainable_tokens_delta" not in line]  # PEFT copies rows into it
    assert (verdict.wrong, lost) == ([], [])
    assert len(compare(model, rotated(names), marks).wrong) > verdict.right // 2


@pytest.mark.parametrize("adapter", ADAPTERS)
def test_the_file_of_the_base_before_and_after_get_peft_model(adapter: str, tmp_path: Path) -> None:
    base, tensors, marks = classifier(tmp_path)
    before = map_names(base, headers(tensors))
    model = peft.get_peft_model(base, ADAPTERS[adapter]())
    names = map_names(model, headers(tensors))
    agrees(model, names, marks)
    assert names.placed == before.placed == len(tensors) and not names.missing
    score = names.live_of("score.weight")
    assert [name.split("score.")[1] for name in score] == [
        "original_module.weight",
        "modules_to_save.default.weight",
    ]
    assert names.by_name[score[0]].replaced and names.by_name[score[1]].copy_of == score[0]
    flags = {name: p.requires_grad for name, p in model.named_parameters()}
    added = {t.name for t in names.live if t.origin == "adapter" and t.kind == "parameter"}
    trains = {name for name, flag in flags.items() if flag}
    assert added and trains <= added | {score[1]}, "only what PEFT added trains"
    live = names.to_live({file: file.startswith("score") for file in tensors})
    assert {name for name, train in live.items() if train} == {score[1]}
    assert not live.keys() & added


@pytest.mark.parametrize("adapter", ADAPTERS)
def test_the_file_of_the_adapter(adapter: str, tmp_path: Path) -> None:
    made = peft.get_peft_model(llama(), ADAPTERS[adapter]())
    for n, p in made.named_parameters():
        if "lora_" in n or "ia3_" in n:
            nn.init.normal_(p)
    made.save_pretrained(tmp_path / "adapter")
    file = tmp_path / "adapter" / "adapter_model.safetensors"
    filled, marks = marked(load_file(file))
    save_file(filled, file, metadata={"format": "pt"})
    model = peft.PeftModel.from_pretrained(llama(), tmp_path / "adapter")
    names = map_names(model, headers(filled))
    assert names.route == "peft" and not names.unplaced and names.placed == len(filled)
    agrees(model, names, marks)
    assert not names.missing and {t.origin for t in names.live if not t.files} <= {"base", "adapter"}


def test_several_adapters_keep_their_names_apart(tmp_path: Path) -> None:
    base, tensors, _ = classifier(tmp_path / "base")
    model = peft.get_peft_model(base, ADAPTERS["lora"](), adapter_name="first")
    model.add_adapter("second", peft.LoraConfig(r=8, target_modules=["o_proj"], modules_to_save=["score"]))
    names = map_names(model, headers(tensors))
    assert [n.split("score.")[1] for n in names.live_of("score.weight")] == [
        "original_module.weight",
        "modules_to_save.first.weight",
        "modules_to_save.second.weight",
    ]
    model.save_pretrained(tmp_path / "adapter")
    saved = load_file(tmp_path / "adapter" / "second" / "adapter_model.safetensors")
    second = map_names(model, headers(saved))
    assert all(".second." in name for file in saved for name in second.live_of(file))
    assert not second.unplaced


def test_a_learned_prompt(tmp_path: Path) -> None:
    model = peft.get_peft_model(
        tiny.build("LlamaForCausalLM"), peft.PromptTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=3)
    )
    base = tiny.saved(tiny.build("LlamaForCausalLM"), tmp_path / "base")
    names = map_names(model, headers(base))
    assert names.placed == len(base) and not names.missing
    model.save_pretrained(tmp_path / "prompt")
    saved = load_file(tmp_path / "prompt" / "adapter_model.safetensors")
    (live,) = map_names(model, headers(saved)).live_of("prompt_embeddings")
    assert live == "prompt_encoder.default.embedding.weight"


def test_experts_and_renames_below_an_adapter(tmp_path: Path) -> None:
    """transformers' conversions reach through the layers that PEFT has wrapped."""
    base = tiny.build("MixtralForCausalLM")
    tensors = tiny.saved(base, tmp_path)
    plain = map_names(base, headers(tensors)).inverse
    model = peft.get_peft_model(base, peft.LoraConfig(r=4, target_modules=["q_proj", "v_proj"]))
    names = map_names(model, headers(tensors))
    clean = {file: tuple(names.by_name[n].clean for n in names.live_of(file)) for file in tensors}
    assert clean == plain and len(plain) == len(tensors)


def test_adapters_injected_without_a_peft_model(tmp_path: Path) -> None:
    base, tensors, marks = classifier(tmp_path)
    peft.inject_adapter_in_model(peft.LoraConfig(r=4, target_modules=["q_proj"]), base)
    names = map_names(base, headers(tensors))
    agrees(base, names, marks)
    assert names.placed == len(tensors) and not names.missing
