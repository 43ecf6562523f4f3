"""FreezeConfig: what is saved is what is loaded; what a person wrote stays."""

from __future__ import annotations

import os
import stat

import pytest
from hypothesis import given
from hypothesis import strategies as st

from freezetui.checkpoint.tensors import TensorInfo
from freezetui.errors import ConfigError
from freezetui.freeze.choice import read_choice, write_choice
from freezetui.freeze.config import (
    Count,
    Expect,
    FreezeConfig,
    ModelSection,
    Stage,
    default_path,
    fingerprint,
)
from freezetui.freeze.plan import FreezePlan
from freezetui.freeze.rules import Rule, resolve

from .conftest import agree, choices, tensors

# What YAML cannot carry at all: lone surrogates, and the control characters outside its character set.
text = st.text(
    st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"], exclude_characters="\ufeff\ufffe\uffff")
)
patterns = st.one_of(
    text,
    st.sampled_from(
        ["**.bias", "{a,b}.c", "&x", "!y", "# z", "1", "1.5", "true", "no", "null", "~", "- a", "a: b"]
    ),
)
rules = st.lists(st.builds(Rule, st.sampled_from(["freeze", "train"]), patterns), max_size=5).map(tuple)
counts = st.builds(Count, st.integers(0, 10**6), st.integers(0, 10**13))
values = st.one_of(st.integers(-(10**9), 10**9), st.booleans(), text, st.lists(st.integers(0, 9), max_size=3))
configs = st.builds(
    FreezeConfig,
    model=st.builds(
        ModelSection,
        checkpoint=text,
        architecture=text,
        arguments=st.dictionaries(st.from_regex(r"[a-z]{1,6}", fullmatch=True), values, max_size=3),
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
    ).map(tuple),
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("configs")


@given(config=configs, suffix=st.sampled_from([".yaml", ".json"]))
def test_save_and_load_are_the_identity(folder, config, suffix):
    path = folder / f"a{suffix}"
    path.unlink(missing_ok=True)
    config.save(path)
    assert FreezeConfig.load(path) == config


@given(first=configs, second=configs)
def test_saving_over_another_config_leaves_just_the_new_one(folder, first, second):
    path = folder / "b.yaml"
    path.unlink(missing_ok=True)
    first.save(path)
    once = path.read_bytes()
    first.save(path)
    assert path.read_bytes() == once
    second.save(path)
    assert FreezeConfig.load(path) == second


@given(choices())
def test_a_choice_survives_being_written_and_read(choice):
    tree, trains = choice
    config = write_choice(FreezePlan(tree, trains), ModelSection())
    reading = read_choice(config, tree)
    assert agree(tree, reading.trains, trains)
    assert reading.differences == ()


@given(choices(), st.randoms(use_true_random=False))
def test_existing_rules_never_spoil_a_new_choice(choice, random):
    tree, trains = choice
    before = bytes(random.randint(0, 1) for _ in trains)
    existing = write_choice(FreezePlan(tree, before), ModelSection())
    config = write_choice(FreezePlan(tree, trains), ModelSection(), existing)
    assert agree(tree, resolve(config.rules, tree, config.default), trains)


WRITTEN = """\
# my model
freezetui: 1
default: train   # as ever
rules:
  # the lower layers stay
  - freeze: features  # all of them
  - train: features.{24..28}
norm_statistics: freeze
"""


def test_comments_survive_a_re_save(tmp_path):
    path = tmp_path / "a.freeze.yaml"
    path.write_text(WRITTEN)
    config = FreezeConfig.load(path)
    config.save(path)
    assert path.read_text() == WRITTEN
    longer = FreezeConfig(default="freeze", rules=(*config.rules, Rule("freeze", "**.bias")))
    longer.save(path)
    for comment in ("# my model", "# as ever", "# the lower layers stay", "# all of them"):
        assert comment in path.read_text()
    assert FreezeConfig.load(path) == longer


@pytest.mark.parametrize(
    ("written", "line", "says"),
    [
        ("freezetui: 2\n", 1, "Valid: 1"),
        ("freezetui: 1\ndefault: trian\n", 2, "Valid: train, freeze"),
        ("freezetui: 1\nnorm_statistics: no\n", 2, "Valid: freeze, update"),
        ("freezetui: 1\n\nrulez: []\n", 3, "norm_statistics"),
        ("freezetui: 1\nmodel:\n  chekpoint: a\n", 3, "Valid keys: checkpoint"),
        ("freezetui: 1\nrules:\n  - freeze: a\n  - frieze: b\n", 4, "freeze, train"),
        ("freezetui: 1\nrules:\n  - freeze: 0\n", 3, "quotes"),
        ("freezetui: 1\nrules: features\n", 2, "list"),
        ("freezetui: 1\nrules:\n  - train: **.bias\n", 3, "quotes"),
        ("freezetui: 1\ndefault: train\ndefault: freeze\n", 3, "once"),
        ("freezetui: 1\nexpect:\n  frozen: {tensors: x, elements: 1}\n", 3, "int"),
        ("freezetui: 1\nstages:\n  - {name: a, epoch: 2}\n", 3, "Valid keys: name, epochs"),
        ("freezetui: 1\nmodel: &a {checkpoint: x}\nexpect: *a\n", 3, "alias"),
        ("freezetui: 1\nrules: [\n", 3, "expected"),
    ],
)
def test_errors_name_file_line_and_valid_choices(tmp_path, written, line, says):
    path = tmp_path / "a.freeze.yaml"
    path.write_text(written)
    with pytest.raises(ConfigError) as caught:
        FreezeConfig.load(path)
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
        FreezeConfig.load(path)


def test_a_missing_or_odd_file_is_one_line(tmp_path):
    (tmp_path / "binary.yaml").write_bytes(b"\xff\xfe\x00")
    os.mkfifo(tmp_path / "fifo.yaml")
    for path in (tmp_path / "none.yaml", tmp_path, tmp_path / "binary.yaml", tmp_path / "fifo.yaml"):
        with pytest.raises(ConfigError):
            FreezeConfig.load(path)


def test_a_failed_save_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    path = tmp_path / "a.freeze.yaml"
    path.write_text(WRITTEN)
    monkeypatch.setattr(
        os, "replace", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left on device"))
    )
    with pytest.raises(ConfigError, match="No space left"):
        FreezeConfig().save(path)
    assert path.read_text() == WRITTEN
    assert [file.name for file in tmp_path.iterdir()] == ["a.freeze.yaml"]


def test_a_save_keeps_permissions_and_follows_a_link(tmp_path):
    real, link = tmp_path / "real.yaml", tmp_path / "link.yaml"
    real.write_text(WRITTEN)
    real.chmod(0o640)
    link.symlink_to(real)
    FreezeConfig().save(link)
    assert link.is_symlink()
    assert stat.S_IMODE(real.stat().st_mode) == 0o640
    assert FreezeConfig.load(real) == FreezeConfig()


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
