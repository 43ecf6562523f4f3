"""What is called saved: only what the file on disk says, of this checkpoint."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from freezetui.config.codec import read_config
from freezetui.freeze.rules import Rule
from freezetui.session.notices import notices
from freezetui.session.options import Options
from freezetui.session.session import Session

SAMPLES = Path(__file__).resolve().parents[2] / "sample_ckpts"


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return Path(shutil.copy(SAMPLES / "vgg_digits.pth", tmp_path))


def frozen(source: Path) -> Session:
    session = Session(Options(str(source)))
    session.plan.set([session.tree.span(session.tree.find("features"))], False)
    return session


def told(session: Session) -> list[str]:
    return [notice.short for notice in notices(session)]


def test_nothing_is_saved_before_it_is(source):
    session = frozen(source)
    assert session.unsaved and not session.saved_here
    session.save()
    assert session.saved_here and not session.unsaved and told(session) == []
    assert Session(Options(str(source))).saved_here


def test_a_config_of_another_model_beside_it_is_not_this_choice(source, tmp_path):
    shutil.copy(SAMPLES / "tiny_transformer.pth", tmp_path)
    other = Session(Options(str(tmp_path / "tiny_transformer.pth")))
    other.plan.set([(0, 3)], False)
    other.save(tmp_path / "vgg_digits.freeze.yaml")
    session = Session(Options(str(source)))
    assert not session.saved_here and not session.unsaved
    assert told(session) == ["config does not fit"]
    session.save()
    assert session.saved_here and told(session) == []


def test_a_stage_that_selects_something_else_does_not_fit(source):
    session = frozen(source)
    session.stages.add("all")
    session.plan.set([(0, len(session.tree.tensors))], True)
    path = session.save()
    path.write_text(path.read_text().replace("train: '**'", "train: features.0"))
    assert told(Session(Options(str(source)))) == ["config does not fit"]


@pytest.mark.parametrize("change", ["written", "deleted"])
def test_what_happens_on_disk_is_seen(source, change):
    session = frozen(source)
    path = session.save()
    path.unlink() if change == "deleted" else path.write_text("freezetui: 1\n")
    assert not session.saved_here
    assert session.unsaved  # what this session saved is nowhere any more
    assert told(session) == [{"written": "config changed on disk", "deleted": "config deleted"}[change]]
    session.save()
    assert session.saved_here


def test_a_config_that_was_only_loaded_and_is_gone_can_be_saved_again(source):
    path = frozen(source).save()
    session = Session(Options(str(source)))
    path.unlink()
    assert session.unsaved and "config deleted" in told(session)
    session.save()
    assert read_config(path).rules == (Rule("freeze", "features"),)


def test_another_tool_touching_the_file_changes_nothing(source):
    session = frozen(source)
    path = session.save()
    text = path.read_text()
    path.unlink()
    path.write_text(text)
    assert session.saved_here


def test_an_unreadable_config_is_told(source):
    source.with_name("vgg_digits.freeze.yaml").write_text("freezetui: 1\nrulez: []\n")
    session = Session(Options(str(source)))
    assert not session.saved_here and told(session) == ["config unreadable"]


def test_the_schedule_and_the_norms_count_as_well(source):
    session = frozen(source)
    session.stages.add("classifier")
    session.stages.add("everything")
    path = session.save()
    assert session.saved_here
    session.stages.change("everything", 3, 0.1)
    assert session.unsaved
    session.rename_stage("classifier", "head")
    session.stages.move("everything", -1)
    session.stages.set(norm_statistics="update")
    session.save()
    config = read_config(path)
    assert [(s.name, s.epochs, s.lr_scale) for s in config.stages] == [
        ("everything", 3, 0.1),
        ("head", None, 1.0),
    ]
    assert config.norm_statistics == "update"
    session.stages.remove("head")
    assert session.unsaved
    session.save()
    assert [s.name for s in read_config(path).stages] == ["everything"]
    session.stages.set(norm_statistics="freeze")
    assert session.unsaved and not session.saved_here


def test_a_changed_checkpoint_and_missing_data_are_told(source, tmp_path):
    session = frozen(source)
    shutil.copy(SAMPLES / "tiny_transformer.pth", source)
    assert "checkpoint changed" in told(session)
    shutil.copy(SAMPLES / "tiny_transformer.pth", tmp_path)
    session = Session(Options(str(tmp_path / "tiny_transformer.pth")))
    assert told(session) == ["architecture unknown"]


def test_the_root_that_a_user_wrote_survives(source):
    path = frozen(source).save()
    path.write_text(path.read_text().replace("model:\n", "model:\n  root: encoder\n"))
    session = Session(Options(str(source)))
    session.plan.undo()
    session.plan.set([(0, 4)], True)
    session.save()
    assert read_config(path).model.root == "encoder"
