"""Parameters that are frozen because another name of them is."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from freezetui.checkpoint.open import open_checkpoint
from freezetui.config.schema import ConfigData
from freezetui.engine.model_under_test import ModelUnderTest
from freezetui.engine.ties import frozen_by_ties
from freezetui.freeze.rules import Rule
from freezetui.models.name_map import file_tensors, map_names
from support import tiny_transformers as tiny


def test_a_name_below_pefts_prefix_that_a_rule_matches_is_not_called_unnamed(tmp_path: Path) -> None:
    peft = pytest.importorskip("peft")
    asked = peft.PromptTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=4)
    model = peft.get_peft_model(tiny.build("LlamaForCausalLM"), asked)
    torch.save(model.state_dict(), tmp_path / "model.pth")
    tensors = open_checkpoint([str(tmp_path / "model.pth")]).tensors
    names = map_names(model, file_tensors(tensors))
    under_test = ModelUnderTest(model, None, torch.device("cpu"), tensors=tensors, names=names)
    config = ConfigData(rules=(Rule("freeze", "base_model"),))
    (found,) = frozen_by_ties(under_test, config, None, ["base_model.model.embed_tokens.weight"])
    assert found.tensors == ("word_embeddings.weight",)
