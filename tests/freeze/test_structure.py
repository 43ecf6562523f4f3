"""The head and the blocks of a model that is known by its names only."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from time import process_time

import pytest

from freezetui.checkpoint.types import TensorInfo
from freezetui.errors import PatternError
from freezetui.freeze.presets import PRESETS, Choice, chosen, find_preset
from freezetui.freeze.structure import Structure, tower_of, tower_paths
from freezetui.freeze.structure_by_names import by_names
from freezetui.freeze.tree import ParamTree
from support.strategies import tree_of


def layers(prefix: str, count: int = 3) -> list[str]:
    return [f"{prefix}.{i}.{part}.weight" for i in range(count) for part in ("attn", "mlp")]


def trains(tree: ParamTree, preset: str) -> list[str]:
    mask = chosen(find_preset(preset), tree)
    return [tensor.name for tensor, on in zip(tree.tensors, mask, strict=True) if on]


def test_a_decoder_full_of_blocks_is_not_a_head() -> None:
    tree = tree_of("shared.weight", *layers("encoder.block"), *layers("decoder.block"))
    assert by_names(tree).heads[0].label == "shared"
    assert trains(tree, "last-blocks:1") == ["decoder.block.2.attn.weight", "decoder.block.2.mlp.weight"]
    assert trains(tree, "last-blocks:1:encoder") == [
        "encoder.block.2.attn.weight",
        "encoder.block.2.mlp.weight",
    ]


def test_the_last_of_several_blocks_is_not_a_head() -> None:
    tree = tree_of(*layers("base_model.model.layers"))
    assert by_names(tree).heads == ()
    assert trains(tree, "last-blocks:2") == layers("base_model.model.layers")[2:]


def test_a_head_inside_the_language_model_is_found() -> None:
    tree = tree_of(
        *layers("vision_tower.layers"), "language_model.embed.weight", *layers("language_model.layers"),
        "language_model.lm_head.weight",
    )  # fmt: skip
    assert trains(tree, "head") == ["language_model.lm_head.weight"]
    with pytest.raises(PatternError, match="Choose last-blocks:1:vision or last-blocks:1:text"):
        trains(tree, "last-blocks:1")
    assert trains(tree, "last-blocks:1:vision") == [
        "vision_tower.layers.2.attn.weight",
        "vision_tower.layers.2.mlp.weight",
    ]


def test_numbered_names_are_blocks_and_stages_stand_for_those_in_them() -> None:
    tree = tree_of(
        "stem.weight",
        *(f"layer{s}.{b}.conv1.weight" for s in (1, 2) for b in (0, 1)),
        *(f"dense1.unit{u}.conv1.weight" for u in (1, 2)),
        "fc.weight",
    )
    structure = by_names(tree)
    starts = [structure.order[block.start] for block in structure.blocks]
    assert starts == [n for n in structure.order if n.startswith(("layer", "dense"))]
    assert structure.goes_by == "names" and not structure.asks


def test_a_model_without_blocks_or_head_says_so() -> None:
    with pytest.raises(PatternError, match="no repeated blocks"):
        trains(tree_of("a.weight", "b.weight"), "last-blocks")
    with pytest.raises(PatternError, match="'head' matches nothing"):
        chosen(find_preset("head"), tree_of("a.weight"), Structure())
    for odd in ("norms:text", "last-blocks:x y", "head:1:text", "last-blocks:1:a:b"):
        with pytest.raises(PatternError, match="unknown preset"):
            find_preset(odd)


@pytest.mark.parametrize(
    ("paths", "towers"),
    [
        (["a.0", "a.1"], {}),
        (["m.encoder.0", "m.encoder.1", "m.decoder.0"], {"m.encoder": "encoder", "m.decoder": "decoder"}),
        (["features.0", "encoder.0"], {}),
        (["visual.0", "model.0"], {"visual": "vision", "model": "model"}),
        (["text_model.0", "vision_model.0"], {"text_model": "text", "vision_model": "vision"}),
    ],
)
def test_towers_branch_off_where_the_paths_of_blocks_differ(paths: list[str], towers: dict[str, str]) -> None:
    assert tower_paths(paths) == towers


def test_words_of_a_name_tell_the_tower() -> None:
    names = ["visual_projection", "text_projection", "audio_tower", "context", "encoders"]
    assert [tower_of(name) for name in names] == ["vision", "text", "audio", "", ""]


def test_the_adapters_are_what_peft_adds_and_trains():
    base = "base_model.model.layers.0.q_proj"
    added = [f"{base}.lora_A.default.weight", f"{base}.lora_B.default.weight"]
    full = "base_model.model.score.modules_to_save.default.weight"
    others = [
        f"{base}.base_layer.weight",
        "base_model.model.score.original_module.weight",
        "explore_a.weight",
    ]
    tree = ParamTree([TensorInfo(name, (2, 2), "float32") for name in (*others, *added, full)])
    assert sorted(trains(tree, "adapters")) == sorted([*added, full])
    plain = ParamTree([TensorInfo("explora_a.weight", (2, 2), "float32")])
    with pytest.raises(PatternError, match="'adapters' matches nothing"):
        trains(plain, "adapters")


@pytest.mark.parametrize("names", ["parameter{}", "wide.w{}"])
def test_all_presets_of_many_unlike_names_take_little_more_than_their_tree(names: str) -> None:
    tensors = [TensorInfo(names.format(i), (1,), "float32") for i in range(20_000)]
    tree = ParamTree(tensors)
    tree.trainable()

    def presets() -> None:
        structure = by_names(tree)
        for preset in PRESETS:
            with suppress(PatternError):
                chosen(Choice(preset), tree, structure)

    assert seconds(presets) < 2.5 * seconds(lambda: ParamTree(tensors))


def seconds(work: Callable[[], object]) -> float:
    """Return the least processor time of a few runs."""
    times = []
    for _ in range(3):
        started = process_time()
        work()
        times.append(process_time() - started)
    return min(times)


@pytest.mark.parametrize(
    ("preset", "file", "names"),
    [
        ("adapters", "lora_run", ["q.weight", "q.lora_A"]),
        ("adapters", "modules_to_save", ["q.weight", "q.lora_A"]),
        ("norms", "norm", ["weight", "ln.weight", "ln.bias"]),
        ("head", "lm_head", ["a.weight", "b.weight"]),
    ],
)
def test_the_name_of_the_file_does_not_count(preset: str, file: str, names: list[str]) -> None:
    tensors = [TensorInfo(name, (2,) if preset == "norms" else (2, 2), "float32") for name in names]
    assert trains(ParamTree(tensors, root=file), preset) == trains(ParamTree(tensors), preset)
