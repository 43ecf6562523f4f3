"""What builds an adapter's model: the line is read back as it was written."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from freezetui.recognition.adapters import adapter_of, adapter_parts
from freezetui.recognition.model_line import read_model_line

CONFIG = {
    "base_model_name_or_path": "base",
    "task_type": "CAUSAL_LM",
    "peft_type": "LORA",
    "auto_mapping": None,
}


@pytest.fixture
def adapter(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "my adapter"
    folder.mkdir()
    (folder / "adapter_config.json").write_text(json.dumps(CONFIG))
    return folder


def test_the_line_builds_base_and_adapter(adapter):
    found = adapter_of("my adapter")
    assert found is not None and (found.base, found.is_local) == ("base", False)
    spec = read_model_line(found.line)
    assert spec.architecture == "peft:AutoPeftModelForCausalLM.from_pretrained"
    assert spec.arguments == {"pretrained_model_name_or_path": "my adapter", "is_trainable": True}
    Path("base").mkdir()
    of_file = adapter_of("my adapter/adapter_model.safetensors")
    assert of_file is not None and of_file.is_local and of_file.line == found.line


def test_learned_prompts_are_not_loaded_as_trainable(adapter):
    """PEFT raises for them; `apply` sets the flags anyway."""
    changes = {"peft_type": "PROMPT_TUNING", "num_virtual_tokens": 4}
    (adapter / "adapter_config.json").write_text(json.dumps(CONFIG | changes))
    found = adapter_of("my adapter")
    assert found is not None
    assert read_model_line(found.line).arguments == {"pretrained_model_name_or_path": "my adapter"}


@pytest.mark.parametrize(
    "changes", [{"auto_mapping": {"parent_library": "os"}}, {"task_type": None}, {"task_type": "os.system"}]
)
def test_a_config_that_names_code_gets_no_line(adapter, changes):
    (adapter / "adapter_config.json").write_text(json.dumps(CONFIG | changes))
    found = adapter_of(str(adapter))
    assert found is not None and found.line == ""


@pytest.mark.parametrize("text", ["", "[]", "{", "[" * 100_000, '{"base_model_name_or_path": 3}', "\xff\xfe"])
def test_a_damaged_config_is_none(adapter, text):
    (adapter / "adapter_config.json").write_text(text)
    assert adapter_of(str(adapter)) is None
    assert adapter_of("https://example.org/my/adapter_model.safetensors") is None
    assert adapter_of(str(adapter / "missing" / "model.pth")) is None


@pytest.mark.parametrize(
    ("names", "parts"),
    [
        (["model.q.lora_A.weight", "model.q.lora_B.weight"], (".lora_",)),
        (["model.q.lora_A.weight", "score.weight"], (".lora_", ".score.")),
        (
            ["model.embed.base_layer.weight", "model.embed.lora_embedding_A"],
            (".lora_", ".model.embed.base_layer."),
        ),
        (["model.q.lora_A.default.weight", "model.q.base_layer.weight"], ()),
        ([f"model.{i}.weight" for i in range(9)] + ["model.q.lora_A.weight"], ()),
        (["model.q.weight", "score.weight"], ()),
    ],
)
def test_what_an_adapters_file_holds(names, parts):
    assert set(adapter_parts(names)) == set(parts)
