"""Files of PEFT's adapters: a config and the printed code leave the base model alone."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from transformers import LlamaConfig, LlamaForCausalLM, LlamaForSequenceClassification

from freezetui import FreezeConfig
from freezetui.checkpoint.open import open_checkpoint
from freezetui.formatting.python_code import python_code
from freezetui.freeze.rules import Rule
from freezetui.freeze.tree import ParamTree
from freezetui.session.session import Options, Session

peft = pytest.importorskip("peft")

SIZES = {
    "hidden_size": 16,
    "intermediate_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 4,
    "vocab_size": 32,
    "pad_token_id": 0,
}
#: What PEFT is asked for -> what of it is frozen.
KINDS: dict[str, tuple[Any, str]] = {
    "LoRA": (lambda: peft.LoraConfig(target_modules=["q_proj", "v_proj"]), "model.layers.0"),
    "all A": (lambda: peft.LoraConfig(target_modules=["q_proj", "v_proj"]), "**.lora_A"),
    "DoRA": (lambda: peft.LoraConfig(target_modules=["q_proj"], use_dora=True), "**.lora_magnitude_vector"),
    "embeddings": (lambda: peft.LoraConfig(target_modules=["embed_tokens", "q_proj"]), "**.q_proj"),
    "AdaLoRA": (lambda: peft.AdaLoraConfig(target_modules=["q_proj"], total_step=9), "**.lora_E"),
    "IA3": (lambda: peft.IA3Config(target_modules=["k_proj"], feedforward_modules=[]), "model.layers.1"),
    "LoKr": (lambda: peft.LoKrConfig(target_modules=["q_proj"]), "**.lokr_w1"),
    "norms": (lambda: peft.LNTuningConfig(target_modules=["input_layernorm"]), "model.layers.0"),
    "with a head": (
        lambda: peft.LoraConfig(task_type="SEQ_CLS", target_modules=["q_proj"]),
        "{score,model.layers.0}",
    ),
    "with modules": (
        lambda: peft.LoraConfig(target_modules=["q_proj"], modules_to_save=["lm_head", "norm"]),
        "model.layers",
    ),
}


def model_of(kind: str) -> nn.Module:
    base = LlamaForSequenceClassification if kind == "with a head" else LlamaForCausalLM
    return peft.get_peft_model(base(LlamaConfig(**SIZES)), KINDS[kind][0]())


def flags(model: nn.Module) -> dict[str, bool]:
    return {name: p.requires_grad for name, p in model.named_parameters()}


def planned(path: Path, pattern: str) -> Path:
    session = Session(Options(str(path)))
    session.choose(None, [Rule("freeze", pattern)])
    return session.save()


@pytest.mark.parametrize(
    ("kind", "embeddings"),
    # PEFT would store a head that is trained as a copy three times.
    [(kind, also) for kind in KINDS for also in (False, True) if not (also and kind == "with modules")],
)
def test_the_base_keeps_its_flags(tmp_path: Path, kind: str, embeddings: bool) -> None:
    model = model_of(kind)
    model.save_pretrained(tmp_path / "adapter", save_embedding_layers=embeddings)
    config = planned(tmp_path / "adapter", KINDS[kind][1])
    before = flags(model)
    applied = FreezeConfig.load(config).apply(model)
    after = flags(model)
    expect = FreezeConfig.load(config).expect
    assert expect is not None and expect.trainable is not None
    assert applied.counts.trainable is not None
    thawed = {name for name in after if after[name] and not before[name]}
    held = {name for name in after if before[name] and not after[name]}
    assert held, "something of the adapter is frozen"
    assert all("embed" in name or "lm_head" in name for name in thawed), thawed
    if not embeddings:
        assert not thawed
    assert applied.counts.trainable.elements == expect.trainable.elements


@pytest.mark.parametrize("kind", KINDS)
def test_the_code_does_what_apply_does(tmp_path: Path, kind: str) -> None:
    model = model_of(kind)
    model.save_pretrained(tmp_path / "adapter", save_embedding_layers=False)
    config = planned(tmp_path / "adapter", KINDS[kind][1])
    checkpoint = open_checkpoint([str(tmp_path / "adapter")])
    applied, plain = copy.deepcopy(model), copy.deepcopy(model)
    FreezeConfig.load(config).apply(applied)
    session = Session(Options(str(tmp_path / "adapter"), config=config))
    code = python_code(checkpoint, ParamTree(checkpoint.tensors), {"": session.plan.mask()})
    namespace: dict[str, Any] = {}
    exec(compile(code, "exported.py", "exec"), namespace)
    namespace["freeze"](plain)
    assert flags(plain) == flags(applied)
    assert max(map(len, code.splitlines())) <= 76 + len(str(tmp_path))


@pytest.mark.parametrize(
    "kind", ["LoRA", "DoRA", "embeddings", "AdaLoRA", "IA3", "with a head", "with modules"]
)
@pytest.mark.parametrize("is_there", [True, False])
def test_the_state_of_the_whole_model_holds_base_and_adapter(
    tmp_path: Path, kind: str, is_there: bool
) -> None:
    model = model_of(kind)
    path = tmp_path / "whole.pth"
    torch.save(model.state_dict(), path)
    before = flags(model)
    session = Session(Options(str(path)))
    names = {tensor.name for tensor in session.tree.tensors}
    added = sorted(name for name in names if before[live_name(model, name)])
    session.choose(None, [Rule("freeze", "**"), *(Rule("train", name) for name in added)])
    config = session.save()
    if not is_there:
        path.unlink()
    model.requires_grad_(False)
    FreezeConfig.load(config).apply(model)
    assert flags(model) == before


def live_name(model: nn.Module, name: str) -> str:
    return next(live for live in model.state_dict() if live.endswith(name))
