"""Configs on disk: what is saved is what is loaded; what a user wrote stays."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from freezetui.checkpoint.types import TensorInfo
from freezetui.config.codec import read_config, write_config
from freezetui.config.paths import default_path, relative_source
from freezetui.config.schema import ConfigData, Count, Expect, ModelSection, Stage, fingerprint
from freezetui.config.sync import config_from_plan, plan_from_config
from freezetui.errors import ConfigError
from freezetui.freeze.plan import FreezePlan
from freezetui.freeze.rules import Rule, resolve
from support.strategies import agree, choices, tensors

odd = "**.bias|{a,b}.c|&x|!y|# z|1|1.5|true|no|null|~|- a|a: b|1_0|0o7|0x1|1e3|.inf|2020-01-01|<<|=|---|..."
text = st.one_of(st.text(st.characters(codec="utf-8"), max_size=12), st.sampled_from(odd.split("|")))
rules = st.lists(st.builds(Rule, st.sampled_from(["freeze", "train"]), text), max_size=5).map(tuple)
counts = st.builds(Count, st.integers(0, 10**6), st.integers(0, 10**13))
values = st.recursive(
    st.one_of(
        st.integers(-(10**9), 10**9),
        st.booleans(),
        st.none(),
        st.floats(allow_nan=False, allow_infinity=False),
        text,
    ),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(text, inner, max_size=2),
    max_leaves=5,
)
configs = st.builds(
    ConfigData,
    model=st.builds(
        ModelSection,
        checkpoint=text,
        architecture=text,
        arguments=st.dictionaries(text, values, max_size=3),
        input=st.lists(st.integers(1, 999), max_size=4).map(tuple),
        fingerprint=text,
    ),
    default=st.sampled_from(["train", "freeze"]),
    rules=rules,
    norm_statistics=st.sampled_from(["freeze", "update"]),
    expect=st.one_of(st.none(), st.builds(Expect, counts, counts)),
    stages=st.lists(
        st.builds(
            Stage,
            text,
            epochs=st.one_of(st.none(), st.integers(1, 99)),
            rules=rules,
            lr_scale=st.sampled_from([1.0, 0.1, 1e-5, 3.25]),
        ),
        max_size=2,
        unique_by=lambda stage: stage.name,
    ).map(tuple),
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("configs")


@given(config=configs, suffix=st.sampled_from([".yaml", ".json"]))
def test_save_and_load_are_the_identity(folder, config, suffix):
    path = folder / f"a{suffix}"
    path.unlink(missing_ok=True)
    write_config(path, config)
    assert read_config(path) == config


@settings(max_examples=50)  # each saves three times
@given(first=configs, second=configs)
def test_saving_over_another_config_leaves_just_the_new_one(folder, first, second):
    path = folder / "b.yaml"
    path.unlink(missing_ok=True)
    write_config(path, first)
    once = path.read_bytes()
    write_config(path, first)
    assert path.read_bytes() == once
    write_config(path, second)
    assert read_config(path) == second


def test_keys_are_written_in_the_documented_order(tmp_path):
    model = ModelSection("torchvision:vgg16", {"b": 1}, (3, 8, 8), "vgg16.pth", "sha256:0")
    write_config(tmp_path / "a.yaml", ConfigData(model, "freeze", (Rule("train", "a"),)))
    assert (
        (tmp_path / "a.yaml").read_text()
        == """\
freezetui: 1
model:
  checkpoint: vgg16.pth
  architecture: torchvision:vgg16
  arguments: {b: 1}
  input: [3, 8, 8]
  fingerprint: sha256:0
default: freeze
rules:
  - train: a
norm_statistics: freeze
"""
    )


@given(choices())
def test_a_choice_survives_being_written_and_read(choice):
    tree, mask = choice
    config = config_from_plan(FreezePlan(tree, mask), ModelSection())
    reading = plan_from_config(config, tree)
    assert agree(tree, reading.mask, mask)
    assert reading.differences == ()


@given(choices(), st.randoms(use_true_random=False))
def test_existing_rules_never_spoil_a_new_choice(choice, random):
    tree, mask = choice
    before = bytes(random.randint(0, 1) for _ in mask)
    existing = config_from_plan(FreezePlan(tree, before), ModelSection())
    config = config_from_plan(FreezePlan(tree, mask), ModelSection(), existing)
    assert agree(tree, resolve(config.rules, tree, config.default), mask)


WRITTEN = """\
# my model
freezetui: 1
default: train   # as ever
model:
    input: [3,8, 8]   # gray
rules:
  # the lower layers stay
- freeze:    'features'  # all of them
- train: features.{24..28}

# About norms.
norm_statistics: freeze
# the end
"""


@pytest.fixture
def by_hand(tmp_path):
    path = tmp_path / "a.freeze.yaml"
    path.write_text(WRITTEN)
    return path


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_an_unchanged_config_leaves_the_file_as_it_is(tmp_path, newline):
    path = tmp_path / "a.freeze.yaml"
    content = WRITTEN.replace("\n", newline).encode("utf-8-sig")
    path.write_bytes(content)
    write_config(path, read_config(path))
    assert path.read_bytes() == content


FIRST, LAST, NEW = Rule("freeze", "features"), Rule("train", "features.{24..28}"), Rule("train", "**.bias")


@pytest.mark.parametrize(
    ("changed", "was", "becomes"),
    [
        (
            {"rules": (FIRST, LAST, NEW)},
            "\n\n# About",
            "\n- train: '**.bias'\n\n# About",
        ),
        ({"rules": (NEW, FIRST, LAST)}, "  # the lower", "- train: '**.bias'\n  # the lower"),
        ({"rules": (LAST,)}, "- freeze:    'features'  # all of them\n", ""),
        ({"rules": (FIRST,)}, "- train: features.{24..28}\n", ""),
        ({"rules": (FIRST, Rule("train", "head"))}, "features.{24..28}", "head"),
        ({"rules": (Rule("train", "head"), LAST)}, "freeze:    'features'", "train: head"),
        ({"default": "freeze"}, "default: train ", "default: freeze "),
        ({"norm_statistics": "update"}, "norm_statistics: freeze", "norm_statistics: update"),
        ({"model": ModelSection(input=(1, 8, 8))}, "[3,8, 8]", "[1, 8, 8]"),
        (
            {"model": ModelSection(input=(3, 8, 8), architecture="a:b")},
            "model:\n",
            "model:\n    architecture: a:b\n",
        ),
        (
            {"stages": (Stage("all", rules=(NEW,)),)},
            "freeze\n# the end",
            "freeze\nstages:\n  - name: all\n    rules:\n      - train: '**.bias'\n# the end",
        ),
    ],
    ids=str,
)
def test_a_change_touches_its_own_lines_only(by_hand, changed, was, becomes):
    config = msgspec.structs.replace(read_config(by_hand), **changed)
    write_config(by_hand, config)
    assert WRITTEN.count(was) == 1
    assert by_hand.read_text() == WRITTEN.replace(was, becomes)
    assert read_config(by_hand) == config


@settings(max_examples=50)
@given(config=configs)
def test_comments_on_their_own_lines_survive_whatever_changes(folder, config):
    path = folder / "c.yaml"
    path.write_text(WRITTEN)
    write_config(path, config)
    assert read_config(path) == config
    survived = path.read_text()
    assert all(comment in survived for comment in ("# my model", "# the lower", "# About", "# the end"))


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.yaml", "services:\n  web: {}\n"),
        ("a.yaml", "freezetui: 2\nrules: []\n"),
        ("a.yaml", "a: [\n"),
        ("a.json", '{"hidden_size": 768}'),
    ],
)
def test_a_save_never_writes_over_what_is_no_config(tmp_path, name, content):
    path = tmp_path / name
    path.write_text(content)
    with pytest.raises(ConfigError, match=name):
        write_config(path, ConfigData())
    assert path.read_text() == content


@given(content=st.text(st.sampled_from("freztui: 1\n-[]{}*&!|>#'\"\\\t,?%@~\ud800\x00é"), max_size=40))
def test_any_text_is_a_config_or_a_clear_error(folder, content):
    for name in ("d.yaml", "d.json"):
        path = folder / name
        path.write_bytes(b"freezetui: 1\n" * name.endswith("yaml") + content.encode("utf-8", "surrogatepass"))
        try:
            read_config(path)
        except ConfigError as error:
            assert name in str(error)
            assert "\n" not in str(error)


def test_a_lone_surrogate_can_be_saved(folder):
    config = ConfigData(rules=(Rule("freeze", "a\ud800b"),))
    for name in ("e.yaml", "e.json"):
        write_config(folder / name, config)
        assert read_config(folder / name) == config


@pytest.mark.parametrize(
    ("written", "line", "says"),
    [
        ("freezetui: 2\n", 1, "Valid: 1"),
        ("freezetui: 1\ndefault: trian\n", 2, "Valid: train, freeze"),
        ("freezetui: 1\nnorm_statistics: no\n", 2, "Valid: freeze, update"),
        ("freezetui: 1\n\nrulez: []\n", 3, "norm_statistics"),
        ("freezetui: 1\nmodel:\n  chekpoint: a\n", 3, "Valid keys: checkpoint"),
        ("freezetui: 1\nrules:\n  - freeze: a\n  - frieze: b\n", 4, "freeze, train"),
        ("freezetui: 1\nrules:\n  - freeze: 0\n", 3, "Quote"),
        ("freezetui: 1\nrules: features\n", 2, "list"),
        ("freezetui: 1\nrules:\n  - train: **.bias\n", 3, "Quote"),
        ("freezetui: 1\ndefault: train\ndefault: freeze\n", 3, "unique"),
        ("freezetui: 1\nexpect:\n  frozen: {tensors: x, elements: 1}\n", 3, "int"),
        ("freezetui: 1\nstages:\n  - {name: a, epoch: 2}\n", 3, "Valid keys: name, epochs"),
        ("freezetui: 1\nstages:\n  - {name: a}\n  - name: a\n", 4, "two stages are called 'a'"),
        ("freezetui: 1\nmodel: &a {checkpoint: x}\nexpect: 1\n", 2, "anchor"),
        ("freezetui: 1\n\ndefault: *a\n", 3, "alias"),
        ("freezetui: 1\nrules: [\n", 3, "expected"),
        ("freezetui: 1\nmodel:\n  arguments:\n    since: 2020-01-01\n", 4, "Quote"),
        ("freezetui: 1\nmodel:\n  arguments:\n    blocks: {1: 2}\n", 4, "Quote"),
        ("freezetui: 1\nrules:\n  - freeze: !x y\n", 3, "Quote"),
    ],
)
def test_errors_name_file_line_and_valid_choices(tmp_path, written, line, says):
    path = tmp_path / "a.freeze.yaml"
    path.write_text(written)
    with pytest.raises(ConfigError) as caught:
        read_config(path)
    said = str(caught.value)
    assert f"{path}, line {line}" in said
    assert says in said
    assert "\n" not in said


@pytest.mark.parametrize(
    ("name", "written"),
    [
        ("a.yaml", "just text"),
        ("a.yaml", ""),
        ("a.yaml", "- 1"),
        ("a.json", "{"),
        ("a.json", '{"freezetui": 1, "freezetui": 1}'),
    ],
)
def test_what_is_no_config_says_so(tmp_path, name, written):
    path = tmp_path / name
    path.write_text(written)
    with pytest.raises(ConfigError, match=name):
        read_config(path)


def test_a_missing_or_odd_file_is_one_line(tmp_path):
    (tmp_path / "binary.yaml").write_bytes(b"\xff\xfe\x00")
    os.mkfifo(tmp_path / "fifo.yaml")
    for path in (tmp_path / "none.yaml", tmp_path, tmp_path / "binary.yaml", tmp_path / "fifo.yaml"):
        with pytest.raises(ConfigError):
            read_config(path)


def test_a_failed_save_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    path = tmp_path / "a.freeze.yaml"
    path.write_text(WRITTEN)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(ConfigError, match="No space left"):
        write_config(path, ConfigData())
    assert path.read_text() == WRITTEN
    assert [file.name for file in tmp_path.iterdir()] == ["a.freeze.yaml"]


def test_a_save_keeps_permissions_and_follows_a_link(tmp_path):
    real, link = tmp_path / "real.yaml", tmp_path / "link.yaml"
    real.write_text(WRITTEN)
    real.chmod(0o640)
    link.symlink_to(real)
    write_config(link, ConfigData())
    assert link.is_symlink()
    assert stat.S_IMODE(real.stat().st_mode) == 0o640
    assert read_config(real) == ConfigData()


@given(tensors(), st.randoms(use_true_random=False))
def test_the_fingerprint_sees_names_and_shapes_of_parameters_only(infos, random):
    shuffled = random.sample(infos, len(infos))
    assert fingerprint(shuffled) == fingerprint(infos)
    buffer = TensorInfo("zz", (1,), "float32", "buffer")
    parameter = TensorInfo("zz", (1,), "float32", "parameter")
    wider = TensorInfo("zz", (2,), "float32", "parameter")
    assert fingerprint([*infos, buffer]) == fingerprint(infos)
    assert len({fingerprint([*infos, extra]) for extra in (buffer, parameter, wider)}) == 3


@pytest.mark.parametrize(
    ("checkpoint", "config"),
    [
        ("vgg16.pth", "vgg16.freeze.yaml"),
        ("runs/a.b.safetensors", "runs/a.b.freeze.yaml"),
        ("weights", "weights.freeze.yaml"),
    ],
)
def test_the_config_lies_beside_the_checkpoint(checkpoint, config):
    assert default_path(checkpoint).as_posix() == config


@pytest.mark.parametrize(
    ("sources", "config"),
    [
        (["sd/unet.pth", "te/encoder.pth"], "sd/unet+encoder.freeze.yaml"),
        ([f"m/model-{i:05}-of-00003.safetensors" for i in (1, 2, 3)], "m/model.freeze.yaml"),
        (["a.pth", "b.pth", "c.pth", "d.pth"], "a+3.freeze.yaml"),
    ],
)
def test_several_files_have_a_config_of_their_own(sources, config):
    assert default_path(*sources).as_posix() == config


def test_a_checkpoint_that_is_a_link_keeps_its_name(tmp_path):
    blob, snapshot, away = tmp_path / "blobs" / "5e3f", tmp_path / "snapshot", tmp_path / "away"
    for directory in (blob.parent, snapshot):
        directory.mkdir()
    blob.touch()
    (snapshot / "model.safetensors").symlink_to(blob)
    away.symlink_to(snapshot)
    assert relative_source(str(snapshot / "model.safetensors"), snapshot) == "model.safetensors"
    assert relative_source(f"{away}/./model.safetensors", snapshot) == "model.safetensors"
    assert relative_source(f"{away}/../blobs/5e3f", snapshot) == "../blobs/5e3f"
    assert relative_source(f"{snapshot}/", tmp_path) == "snapshot"
    assert relative_source(f"{snapshot}/..", snapshot) == ".."
