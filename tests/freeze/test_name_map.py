"""NameMap as plain data: both directions, ties, copies, and rules that disagree."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from freezetui.errors import ConfigError
from freezetui.freeze.name_map import LiveTensor, NameMap


def parameter(name: str, *files: str, **settings: object) -> LiveTensor:
    origin = "file" if files else "new"
    return LiveTensor(name, "parameter", (2,), files, **{"origin": origin, "clean": name, **settings})


MIXED = NameMap(
    live=(
        parameter("embed.weight", "wte.weight"),
        parameter("experts", "experts.0.w", "experts.1.w"),
        parameter("q.weight", "qkv.weight"),
        parameter("k.weight", "qkv.weight"),
        LiveTensor("norm.running_mean", "buffer", (2,), ("norm.running_mean",), clean="norm.running_mean"),
        parameter("score.original_module.weight", "score.weight", replaced=True),
        parameter(
            "score.modules_to_save.default.weight", "score.weight", copy_of="score.original_module.weight"
        ),
        parameter("lm_head.weight", "wte.weight", tied_to="embed.weight"),
        parameter("head.weight"),
        parameter("lora_A.weight", origin="adapter"),
    ),
    dropped=("inv_freq",),
    unplaced=("pooler.weight",),
)


def test_both_directions() -> None:
    assert MIXED.files_of("experts") == ("experts.0.w", "experts.1.w")
    assert MIXED.files_of("head.weight") == MIXED.files_of("nothing") == ()
    assert MIXED.live_of("qkv.weight") == ("q.weight", "k.weight")
    assert MIXED.live_of("wte.weight") == ("embed.weight", "lm_head.weight")
    assert MIXED.live_of("inv_freq") == ()
    assert MIXED.missing == ("head.weight",)
    assert MIXED.merged == {"experts": ("experts.0.w", "experts.1.w")}
    assert MIXED.ties == (("embed.weight", "lm_head.weight"),)


def test_it_is_plain_data() -> None:
    assert msgspec.json.decode(msgspec.json.encode(MIXED), type=NameMap) == MIXED


def test_a_mask_over_the_file_becomes_one_over_the_live_model() -> None:
    trains = dict.fromkeys(("wte.weight", "qkv.weight", "experts.0.w", "experts.1.w"), False)
    assert MIXED.to_live({**trains, "score.weight": True, "inv_freq": True}) == {
        "embed.weight": False,
        "lm_head.weight": False,
        "experts": False,
        "q.weight": False,
        "k.weight": False,
        "score.original_module.weight": False,
        "score.modules_to_save.default.weight": True,
    }


def test_the_original_of_a_copy_follows_what_it_is_tied_to() -> None:
    names = NameMap(
        live=(
            parameter("embed.weight", "embed.weight"),
            parameter("head.original_module.weight", "embed.weight", tied_to="embed.weight", replaced=True),
            parameter("head.modules_to_save.a.weight", "embed.weight", copy_of="head.original_module.weight"),
        )
    )
    assert set(names.to_live({"embed.weight": True}).values()) == {True}


def test_rules_that_split_one_parameter_are_refused_by_name() -> None:
    with pytest.raises(ConfigError, match=r"experts\.1\.w is frozen and experts\.0\.w trains") as raised:
        MIXED.to_live({"experts.0.w": True, "experts.1.w": False})
    assert raised.value.hint == "Freeze both, or train both."


def test_tied_names_with_two_tensors_in_the_file_must_agree() -> None:
    names = NameMap(
        live=(parameter("a", "a", "b"), parameter("b", "a", "b", tied_to="a")),
    )
    assert names.to_live({"a": True, "b": True}) == {"a": True, "b": True}
    with pytest.raises(ConfigError, match="b is frozen and a trains"):
        names.to_live({"a": True, "b": False})


def test_live_flags_that_split_one_tensor_of_the_file_are_refused_by_name() -> None:
    with pytest.raises(
        ConfigError, match=r"q\.weight is frozen and k\.weight trains, but both come from qkv"
    ):
        MIXED.to_file({"q.weight": False, "k.weight": True})


@given(st.lists(st.booleans(), min_size=5, max_size=5))
def test_there_and_back(flags: list[bool]) -> None:
    files = ("wte.weight", "qkv.weight", "experts.0.w", "experts.1.w", "score.weight")
    trains = dict(zip(files, flags, strict=True))
    trains["experts.1.w"] = trains["experts.0.w"]
    assert MIXED.to_file(MIXED.to_live(trains)) == trains
