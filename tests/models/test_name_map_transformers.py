"""The name map of transformers' models, against the values that its own loading puts where."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from freezetui.models.name_map import map_names
from support import tiny_transformers as tiny
from support.name_values import compare, headers, marked, rotated


def loaded(name: str, directory: Path, hub: bool = False) -> tuple[nn.Module, dict[str, torch.Tensor], dict]:
    """Return a model that `from_pretrained` filled from a file of distinct numbers."""
    import transformers

    tensors = tiny.saved(tiny.build(name), directory)
    if hub:
        tensors = tiny.hub_shaped(name, tensors)
    filled, marks = marked(tensors)
    tiny.put(directory, filled)
    return getattr(transformers, name).from_pretrained(directory), filled, marks


@pytest.mark.parametrize("name", tiny.FAMILIES)
def test_every_tensor_is_where_the_library_loads_it(name: str, tmp_path: Path) -> None:
    model, tensors, marks = loaded(name, tmp_path)
    names = map_names(model, headers(tensors))
    verdict = compare(model, names, marks)
    assert (verdict.wrong, verdict.lost) == ([], [])
    assert names.placed == len(tensors) and verdict.right >= len(names.inverse) // 4
    assert not names.missing and not names.unplaced and not names.reshaped and not names.notes
    wrong = compare(model, rotated(names), marks).wrong
    assert len(wrong) > verdict.right // 2, "the comparison would not notice wrong pairs"


@pytest.mark.parametrize("name", tiny.HUB)
def test_files_shaped_as_on_the_hub_map_whole(name: str, tmp_path: Path) -> None:
    model, tensors, marks = loaded(name, tmp_path, hub=True)
    names = map_names(model, headers(tensors))
    verdict = compare(model, names, marks)
    assert (verdict.wrong, verdict.lost) == ([], [])
    assert not names.missing
    left = {*names.dropped, *names.unplaced}
    assert names.placed + len(left) == len(tensors)
    allowed = (
        "pooler",
        "seq_relationship",
        "attn.bias",
        "position_ids",
        "EncDecAttention.relative",
        "inv_freq",
    )
    assert left and all(any(word in name for word in allowed) for name in left)


def test_on_meta_it_says_the_same_as_on_a_loaded_model(tmp_path: Path) -> None:
    model, tensors, _ = loaded("T5ForConditionalGeneration", tmp_path)
    with torch.device("meta"):
        bare = type(model)(model.config)
    assert map_names(bare, headers(tensors)) == map_names(model, headers(tensors))


def test_nothing_of_the_model_is_touched(tmp_path: Path) -> None:
    model, tensors, _ = loaded("MixtralForCausalLM", tmp_path)
    model.model.layers[0].requires_grad_(False)
    state = [*model.named_parameters(), *model.named_buffers()]

    def looks() -> list[tuple[object, ...]]:
        return [
            (n, id(t), t.data_ptr(), t._version, t.requires_grad, t.double().sum().item()) for n, t in state
        ]

    before, modules = looks(), [(n, id(m)) for n, m in model.named_modules()]
    map_names(model, headers(tensors))
    assert looks() == before and [(n, id(m)) for n, m in model.named_modules()] == modules


def test_experts_that_become_one_parameter_must_agree(tmp_path: Path) -> None:
    model, tensors, _ = loaded("MixtralForCausalLM", tmp_path)
    names = map_names(model, headers(tensors))
    experts = [f for f in tensors if ".experts." in f]
    if not names.merged:
        pytest.skip("this version of transformers keeps experts apart")
    assert {file for files in names.merged.values() for file in files} == set(experts)
    trains = {file: "experts.3" not in file for file in tensors}
    from freezetui.errors import ConfigError

    with pytest.raises(ConfigError, match=r"experts\.3\.w\d\.weight is frozen and .*experts\.0\.w\d"):
        names.to_live(trains)
    agreed = names.to_live({file: ".experts." not in file for file in tensors})
    assert {name for name, train in agreed.items() if not train} == set(names.merged)


def test_both_routes_agree(tmp_path: Path) -> None:
    """The transforms run on ghosts, and from_pretrained itself run on ghosts."""
    from freezetui.models import transformers_loading
    from freezetui.models.ghosts import ghost
    from freezetui.models.live_names import live_tensors

    for name in ("MixtralForCausalLM", "LlavaForConditionalGeneration", "GPT2LMHeadModel"):
        model, tensors, _ = loaded(name, tmp_path / name, hub=name in tiny.HUB)
        ghosts = {key: ghost(key, t.shape, t.dtype) for key, t in tensors.items()}
        own = {row.plain: row.tensor for row in live_tensors(model)}
        first = transformers_loading.convert(model, ghosts, own)
        second = transformers_loading.from_pretrained(model, ghosts)
        assert not first.note
        assert {n: g.origins for n, g in first.made.items() if n in own} | {
            n: g.origins for n, g in second.items()
        } == {n: g.origins for n, g in second.items() if n in own}


def test_an_unknown_version_says_so_and_asks_from_pretrained(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from freezetui.models import transformers_loading

    model, tensors, marks = loaded("ViTForImageClassification", tmp_path)
    for way in ("_transformed", "_renamed"):
        monkeypatch.setattr(transformers_loading, way, lambda *_: 1 / 0)
    names = map_names(model, headers(tensors))
    assert compare(model, names, marks).wrong == [] and names.placed == len(tensors)
    (note,) = names.notes
    assert "loads weights in an unknown way" in note and "second model" in note
