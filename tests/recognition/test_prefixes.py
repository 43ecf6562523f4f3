"""A known model is known below the name that a training script gave it, too."""

from __future__ import annotations

from pathlib import Path

import pytest

from freezetui.checkpoint.open import open_checkpoint
from freezetui.checkpoint.state_dict.wrappers import main_prefixes
from freezetui.checkpoint.types import Checkpoint, TensorInfo
from freezetui.recognition.catalog import in_module_order, recognize

SAMPLES = Path(__file__).resolve().parents[2] / "sample_ckpts"


def tensors(prefix: str = "", sample: str = "vgg_digits.pth") -> list[TensorInfo]:
    found = open_checkpoint([str(SAMPLES / sample)]).tensors
    return [TensorInfo(prefix + tensor.name, tensor.shape, tensor.dtype) for tensor in found]


@pytest.mark.parametrize("prefix", ["model.", "net.", "backbone.", "module.model.", "a.b.c."])
def test_a_model_below_a_prefix_is_the_same_model(prefix: str) -> None:
    bare, found = recognize(tensors()), recognize(tensors(prefix))
    assert bare is not None and found is not None
    assert (found.model, found.label, found.prefix, found.whole) == (bare.model, bare.label, prefix, True)
    mixed = tuple(sorted(tensors(prefix), key=lambda tensor: tensor.name))
    ordered = in_module_order(Checkpoint("x", "x", mixed), found)
    assert [tensor.name for tensor in ordered] == [tensor.name for tensor in tensors(prefix)]
    assert {tensor.kind for tensor in ordered} == {"parameter"}


def test_tensors_beside_it_are_not_of_the_model_and_stay_as_they_are() -> None:
    others = [TensorInfo(name, (7,), "float32") for name in ("conv1.scale", "loss.weight")]
    given = [others[0], *tensors("net."), others[1]]
    found = recognize(given)
    assert found is not None and found.label.endswith("10 classes in net") and not found.whole
    ordered = in_module_order(Checkpoint("x", "x", tuple(given)), found)
    assert [t.name for t in ordered[-2:]] == [t.name for t in others]
    assert {t.guessed for t in ordered[-2:]} == {others[0].guessed}


def test_a_model_with_much_beside_it_is_not_that_model() -> None:
    head = [TensorInfo(f"head.{i}.weight", (7,), "float32") for i in range(9)]
    assert recognize([*tensors("backbone."), *head]) is None
    assert recognize([*tensors("backbone."), *head[:8]]) is not None
    twice = [*tensors("model."), *tensors("model_ema.")]
    assert recognize(twice) is None


def test_the_prefixes_that_most_names_share() -> None:
    assert list(main_prefixes(["x.w", *(f"a.b.{i}.w" for i in range(4))])) == ["a.", "a.b."]
    assert list(main_prefixes(["x.w", "a.w", "a.b"])) == []
    assert list(main_prefixes(["a.w"])) == ["a."]
    assert list(main_prefixes([])) == list(main_prefixes(["", "w"])) == []
