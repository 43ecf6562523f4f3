"""Files that are a part of the live model, or of which the live model is a part, with renames on the way."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from freezetui.errors import ConfigError
from freezetui.models.name_map import map_names
from support import tiny_transformers as tiny
from support.name_values import Holder, compare, headers, marked


@pytest.fixture(scope="module")
def bert(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Tensor], dict[str, float]]:
    """BERT's file as on the hub, filled with numbers."""
    directory = tmp_path_factory.mktemp("bert")
    shaped = tiny.hub_shaped("BertForMaskedLM", tiny.saved(tiny.build("BertForMaskedLM"), directory))
    filled, marks = marked(shaped)
    tiny.put(directory, filled)
    return directory, filled, marks


def test_a_base_model_takes_its_part_of_the_file(bert: Any) -> None:
    from transformers import BertModel

    directory, tensors, marks = bert
    model = BertModel.from_pretrained(directory)
    names = map_names(model, headers(tensors))
    verdict = compare(model, names, marks)
    assert (verdict.wrong, verdict.lost) == ([], []) and not names.missing
    assert names.live_of("bert.encoder.layer.0.output.LayerNorm.gamma") == (
        "encoder.layer.0.output.LayerNorm.weight",
    )
    assert all(name.startswith("cls.") for name in names.unplaced)


def test_a_model_with_another_head_has_new_parameters(bert: Any) -> None:
    from transformers import BertForSequenceClassification

    directory, tensors, marks = bert
    model = BertForSequenceClassification.from_pretrained(directory)
    names = map_names(model, headers(tensors))
    verdict = compare(model, names, marks)
    assert (verdict.wrong, verdict.lost) == ([], [])
    assert names.missing == ("classifier.weight", "classifier.bias")


def test_a_head_of_another_size_is_reshaped(tmp_path: Path) -> None:
    from transformers import ViTForImageClassification

    tensors = tiny.saved(tiny.build("ViTForImageClassification"), tmp_path)
    model = ViTForImageClassification.from_pretrained(tmp_path, num_labels=5, ignore_mismatched_sizes=True)
    names = map_names(model, headers(tensors))
    assert [(r.live, r.file_shape[0], r.live_shape[0]) for r in names.reshaped] == [
        ("classifier.weight", 2, 5),
        ("classifier.bias", 2, 5),
    ]
    assert names.missing == ("classifier.weight", "classifier.bias") and not names.unplaced


@pytest.mark.parametrize("attribute", ["encoder", "bert"])
def test_an_encoder_inside_a_users_model_is_found(attribute: str, bert: Any) -> None:
    from transformers import BertModel

    directory, tensors, marks = bert
    model = Holder(**{attribute: BertModel.from_pretrained(directory), "head": nn.Linear(32, 2)})
    names = map_names(model, headers(tensors))
    verdict = compare(model, names, marks)
    assert (verdict.wrong, verdict.lost, names.root) == ([], [], attribute)
    assert {t.origin for t in names.live if t.name.startswith("head")} == {"outside"}
    assert map_names(model, headers(tensors), root=attribute) == names


def test_two_encoders_are_asked_for(bert: Any) -> None:
    from transformers import BertModel

    directory, tensors, _ = bert
    model = Holder(query=BertModel.from_pretrained(directory), passage=BertModel.from_pretrained(directory))
    with pytest.raises(ConfigError, match=r"fits in several places of Holder: query, passage\."):
        map_names(model, headers(tensors))
    names = map_names(model, headers(tensors), root="passage")
    assert names.live_of("bert.embeddings.word_embeddings.weight") == (
        "passage.embeddings.word_embeddings.weight",
    )


def test_a_model_of_sentence_transformers_on_either_side(bert: Any) -> None:
    from transformers import BertModel

    directory, tensors, marks = bert
    model = nn.Sequential(Holder(auto_model=BertModel.from_pretrained(directory)), nn.Identity())
    names = map_names(model, headers(tensors))
    verdict = compare(model, names, marks)
    assert (verdict.wrong, verdict.lost, names.root) == ([], [], "0.auto_model")
    whole = map_names(model[0].auto_model, headers(model.state_dict()))
    assert whole.prefix == "0.auto_model." and whole.placed == len(model.state_dict())
    same = map_names(model, headers(model.state_dict()))
    assert same.root == "" and same.placed == len(model.state_dict())


def test_the_vision_tower_of_a_llava(tmp_path: Path) -> None:
    from transformers import CLIPVisionModel

    llava = tiny.build("LlavaForConditionalGeneration")
    tensors = tiny.saved(CLIPVisionModel(llava.config.vision_config), tmp_path)
    names = map_names(llava, headers(tensors))
    assert names.root == "model.vision_tower" and names.placed == len(tensors)


def test_a_quantized_base_keeps_the_shape_that_it_had(bert: Any) -> None:
    """bitsandbytes packs a weight into bytes and remembers its shape."""
    from transformers import BertModel

    class State:
        shape = torch.Size([32, 32])

    model = BertModel.from_pretrained(bert[0])
    query = model.encoder.layer[0].attention.self.query
    query.weight = nn.Parameter(torch.zeros(512, 1, dtype=torch.uint8), requires_grad=False)
    query.weight.quant_state = State()
    names = map_names(model, headers(bert[1]))
    assert not names.reshaped and not names.missing
    assert names.by_name["encoder.layer.0.attention.self.query.weight"].shape == (32, 32)


def test_a_file_whose_first_name_is_outside_the_prefix_of_all_others() -> None:
    model = nn.Sequential(*(nn.Linear(2, 2) for _ in range(3)))
    state = {f"module.net.{name}": tensor for name, tensor in model.state_dict().items()}
    names = map_names(model, headers({"criterion.weight": torch.ones(3), **state}))
    assert names.prefix == "module.net." and names.unplaced == ("criterion.weight",)
    assert names.live_of("module.net.2.bias") == ("2.bias",)
