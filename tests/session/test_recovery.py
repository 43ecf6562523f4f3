"""A crash of any kind loses nothing: what is unsaved is in a file of this user's, and nothing else is."""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from freezetui.model_spec import ModelSpec
from freezetui.session import recovery_files
from freezetui.session.options import Options
from freezetui.session.recovery import Recovery
from freezetui.session.recovery_files import discard, found, restore
from freezetui.session.session import Session

SAMPLES = Path(__file__).resolve().parents[2] / "sample_ckpts"


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return tmp_path / "state" / "freezetui" / "recovery"


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return Path(shutil.copy(SAMPLES / "vgg_digits.pth", tmp_path))


@pytest.fixture
def crashed(source: Path) -> Callable[[], Session]:
    """A session with stages that has ended without saving."""

    def run() -> Session:
        session = Session(Options(str(source), model=ModelSpec("pkg.mod:build", {"token": "secret"})))
        session.plan.set([session.tree.span(session.tree.find("features"))], False)
        session.stages.add("classifier")
        session.stages.add("everything")
        session.plan.set([(0, len(session.tree.tensors))], True)
        session.stages.change("everything", 3, 0.1)
        recovery = Recovery(session)
        recovery.note()
        recovery.close(keep=True)
        return session

    return run


def test_what_was_chosen_comes_back_with_its_stages_and_can_be_undone(crashed, source, state):
    before = crashed()
    (path,) = state.iterdir()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(state.stat().st_mode) == stat.S_IMODE(state.parent.stat().st_mode) == 0o700
    assert b"secret" not in path.read_bytes() and b"arguments" not in path.read_bytes()
    source.with_name("link.pth").symlink_to(source)
    session = Session(Options(str(source.with_name("link.pth"))))
    (each,) = found(session)
    restore(session, each.kept)
    assert session.stages.masks() == before.stages.masks()
    assert session.stages.schedule == before.stages.schedule
    assert session.stages.shown == "everything" and session.unsaved
    step = session.stages.undo()
    assert step.what == "what was restored" and session.stages.names == ()
    assert session.plan.undo() is not None
    assert not session.unsaved, "all is as it was opened"
    discard(each)
    assert found(session) == []


def test_nothing_is_kept_of_what_is_saved_or_given_up(source, state):
    session = Session(Options(str(source)))
    recovery = Recovery(session)
    session.plan.set([(0, 4)], False)
    recovery.note()
    recovery._idle.wait(10)
    assert len(list(state.iterdir())) == 1
    session.plan.undo()
    recovery.note()
    recovery._idle.wait(10)
    assert list(state.iterdir()) == []
    session.plan.redo()
    recovery.note()
    recovery.close(keep=False)
    assert list(state.iterdir()) == []


def test_what_another_process_still_works_on_is_not_offered(source):
    session = Session(Options(str(source)))
    session.plan.set([(0, 4)], False)
    recovery = Recovery(session)
    recovery.note()
    recovery._idle.wait(10)
    assert found(Session(Options(str(source)))) == []
    recovery.note()
    recovery.close(keep=True)
    assert len(found(Session(Options(str(source))))) == 1


def test_other_names_or_shapes_are_not_offered(crashed, source):
    crashed()
    shutil.copy(SAMPLES / "tiny_transformer.pth", source)
    assert found(Session(Options(str(source)))) == []


@pytest.mark.parametrize("damage", ["empty", "cut", "huge", "bomb", "stage", "link"])
def test_a_damaged_file_is_ignored(crashed, source, state, damage, monkeypatch):
    crashed()
    (path,) = state.iterdir()
    data = path.read_bytes()
    if damage == "empty":
        path.write_bytes(b"")
    elif damage == "cut":
        path.write_bytes(data[: len(data) // 2])
    elif damage == "huge":
        monkeypatch.setattr(recovery_files, "MAX_BYTES", 100)
    elif damage == "bomb":
        import base64
        import zlib

        mask = next(m for m in data.split(b'"') if m.startswith(b"eJ"))
        bomb = base64.b64encode(zlib.compress(bytes(2**20)))
        path.write_bytes(data.replace(mask, bomb))
    elif damage == "stage":
        path.write_bytes(data.replace(b'"epochs":3', b'"epochs":-3'))
    else:
        path.rename(state.parent / "elsewhere")
        path.symlink_to(state.parent / "elsewhere")
    assert found(Session(Options(str(source)))) == []


def test_it_can_be_turned_off(crashed, state, source, monkeypatch):
    crashed()
    monkeypatch.setenv("FREEZETUI_STATE", "0")
    assert found(Session(Options(str(source)))) == []
    (path,) = state.iterdir()
    discard(recovery_files.Found(path, recovery_files._read(path)))
    crashed()
    assert list(state.iterdir()) == []


def test_their_number_is_bounded(crashed, state, monkeypatch):
    monkeypatch.setattr(recovery_files, "_MAX_FILES", 3)
    state.mkdir(parents=True)
    for number in range(6):
        (state / f"{number}.json").write_bytes(b"x")
        os.utime(state / f"{number}.json", (number, number + 10**9))
    (state / "left.json.abc.tmp").write_bytes(b"")
    os.utime(state / "left.json.abc.tmp", (1, 1))
    crashed()
    assert len(list(state.iterdir())) == 1  # the others are older than a month
