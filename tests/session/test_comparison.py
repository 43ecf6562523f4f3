"""What changed of what the plan keeps: the TUI's words, and the same tensors that `freezetui diff` finds."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from freezetui.checkpoint.open import open_checkpoint
from freezetui.diff.report import relative_change
from freezetui.diff.run import diff_stages
from freezetui.session.comparison import Comparison
from freezetui.session.options import Options
from freezetui.session.session import Session

NORM = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")


def state() -> dict[str, np.ndarray]:
    found = {f"{layer}.conv.weight": np.ones((2, 2), np.float32) for layer in ("stem", "body", "head")}
    for layer in ("stem", "body", "head"):
        for name in NORM:
            found[f"{layer}.norm.{name}"] = np.ones(() if name == NORM[-1] else 2, np.float32)
        found[f"{layer}.norm.{NORM[-1]}"] = np.array(3, np.int64)
    return found


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def compared(after: dict[str, np.ndarray], before: dict[str, np.ndarray], config: str = "") -> Comparison:
    """Return the comparison that the TUI shows, of two files that are compared in this process."""
    save_file(before, "before.safetensors")
    save_file(after, "after.safetensors")
    path = Path("after.freeze.yaml")
    path.write_text(f"freezetui: 1\n{config}") if config else path.unlink(missing_ok=True)
    session = Session(Options("after.safetensors", against="before.safetensors"))
    sides = open_checkpoint(["before.safetensors"]), open_checkpoint(["after.safetensors"])
    report = diff_stages(*sides)[0]
    changes = {t.new_name or t.name: t for t in report.tensors if t.status != "removed"}
    relative = {n: None if t.status == "unread" else relative_change([t]) for n, t in changes.items()}
    removed = tuple(t.name for t in report.tensors if t.status == "removed")
    found = Comparison(session, "before.safetensors", changes, relative, removed, report.matching)
    session.comparison = found
    return found


def named(comparison: Comparison, indices: list[int]) -> list[str]:
    return [comparison._session.tree.tensors[i].name for i in indices]


def changed(*names: str) -> dict[str, np.ndarray]:
    return {name: np.asarray(t + 1) if name in names else t for name, t in state().items()}


@pytest.mark.parametrize("norms", ["freeze", "update"])
@pytest.mark.parametrize("default", ["train", "freeze"])
def test_what_is_marked_is_what_diff_calls_moved(folder, norms, default):
    """Statistics of a frozen norm, a counter that moved alone, those of a trained and of a mixed module."""
    moved = ("stem.norm.running_mean", "stem.norm.num_batches_tracked", "body.norm.num_batches_tracked")
    after = changed(*moved, "stem.conv.weight", "head.norm.running_var", "head.conv.weight")
    rules = "rules:\n  - freeze: stem\n  - freeze: body\n  - train: head\n"
    found = compared(after, state(), f"default: {default}\n{rules}norm_statistics: {norms}\n")
    sides = open_checkpoint(["before.safetensors"]), open_checkpoint(["after.safetensors"])
    Path("before.freeze.yaml").write_text(Path("after.freeze.yaml").read_text())
    judged = diff_stages(*sides, Path("before.freeze.yaml"))[0].judged
    assert judged is not None
    errors = {name for f in judged.findings if f.severity == "error" for name in f.tensors}
    assert set(named(found, found.changed_frozen)) == errors
    statistics = set(moved[:2]) if norms == "freeze" else set()
    assert set(named(found, found.changed_statistics)) == statistics
    assert errors == {"stem.conv.weight"} | statistics
    count = 3 if statistics else 1
    assert f"✗ {count} of them frozen (x: next)" in found.verdict()
    assert ("2 of these statistics of frozen norms" in found.verdict()) == bool(statistics)


def test_the_marks_follow_the_setting(folder):
    found = compared(changed("stem.norm.running_mean"), state(), "rules:\n  - freeze: stem\n")
    session = found._session
    assert named(found, found.changed_frozen) == ["stem.norm.running_mean"]
    session.stages.set(norm_statistics="update")
    assert found.changed_frozen == [] and found.verdict() == "none of 3 frozen tensors changed"
    session.stages.set(norm_statistics="freeze")
    session.plan.replace(b"\1" * 18)
    assert found.changed_frozen == []
    assert found.verdict() == "nothing is frozen in this plan"
    assert found.summary()[:2] == ("1 of 18 tensors changed", "nothing is frozen in this plan")


def test_with_stages_what_counts_is_frozen_in_each_of_them(folder):
    found = compared(changed("head.conv.weight"), state(), "rules:\n  - freeze: stem\n")
    stages = found._session.stages
    stages.start("first")
    frozen = found.verdict()
    assert frozen == "none of 3 tensors frozen in every stage changed"
    stages.start("everything")
    assert found._session.plan.totals().frozen.tensors == 0
    for shown in ("first", "everything"):
        stages.show(shown)
        assert found.verdict() == "every tensor trains in some stage"


def test_equal_files_are_said_to_be_equal_whatever_the_plan_keeps(folder):
    for rules in ("rules:\n  - freeze: stem\n", "rules: []\n"):
        found = compared(state(), state(), rules)
        assert found.verdict() == "nothing changed"
        assert found.summary() == ("nothing changed: 18 tensors, identical bit for bit",)
    fewer = {name: t for name, t in state().items() if name != "head.conv.weight"}
    for after, before in ((state(), fewer), (fewer, state())):
        assert not compared(after, before, "rules: []\n").nothing_changed


def test_what_has_no_counterpart_is_not_said_to_be_unchanged(folder):
    after = {name: t for name, t in state().items() if name != "head.conv.weight"}
    after["stem.conv.weight"] = np.ones((4, 2), np.float32)
    after["stem.new.weight"] = np.ones((3, 3), np.float32)
    after["body.conv.weight"] = after["body.conv.weight"].astype(np.float16)
    config = "rules:\n  - freeze: stem.new\n  - freeze: body.conv\n"
    found = compared(after, state(), config)
    assert found.verdict() == "none of 2 frozen tensors changed, 2 frozen could not be compared bit for bit"
    assert "1 only in the earlier file" in found.summary()
    words = {named(found, [i])[0]: word for i, word in found.words.items()}
    assert words == {"stem.conv.weight": "shape", "stem.new.weight": "new"}


def test_a_frozen_tensor_of_another_shape_is_not_said_to_have_changed(folder):
    """As `diff` has it: what became of the frozen rows is not in the files."""
    after = state() | {"stem.conv.weight": np.ones((4, 2), np.float32)}
    found = compared(after, state(), "rules:\n  - freeze: stem\n")
    assert (found.changed, found.changed_frozen) == (1, [])
    assert found.verdict().endswith("changed, 1 frozen could not be compared bit for bit")


def test_data_that_both_files_lack_is_not_said_to_be_unchanged(folder):
    found = compared(state(), state())
    assert found.nothing_changed
    found.absent = 2
    assert not found.nothing_changed
    assert found.summary()[0].startswith("0 of ") and "2 tensors of an index missing" in found.summary()


def test_the_squares_are_those_of_parameters_then_of_statistics_without_counters(folder):
    found = compared(changed("head.conv.weight", "stem.norm.running_var", f"body.norm.{NORM[-1]}"), state())
    names = [tensor.name for tensor in found._session.tree.tensors]
    where = [
        {name: round(square, 6) for name, square in zip(names, row, strict=True) if square}
        for row in found.squares
    ]
    parameters, statistics = {"head.conv.weight": 4.0}, {"stem.norm.running_var": 2.0}
    assert where == [parameters, parameters, statistics, statistics]


def test_no_name_in_common_is_one_sentence(folder):
    other = {f"quite.different{i}": np.ones((7, i + 1), np.float32) for i in range(3)}
    found = compared(state(), other, "rules:\n  - freeze: stem\n")
    assert found.nothing_in_common
    assert found.summary() == ("no tensor name in common: nothing was compared",)


def test_a_change_to_nan_is_a_word(folder):
    after = state()
    after["stem.norm.weight"] = np.array([np.nan, np.nan], np.float32)
    after["stem.norm.bias"] = np.array([np.inf, np.inf], np.float32)
    found = compared(after, state())
    words = {named(found, [i])[0].rpartition(".")[2]: word for i, word in found.words.items()}
    assert words == {"weight": "NaN", "bias": "inf"}


@pytest.mark.parametrize("norms", ["freeze", "update"])
def test_the_vectors_of_a_frozen_spectral_norm_are_statistics(folder, norms):
    path = "stem.parametrizations.weight"
    before = {f"{path}.original": np.ones((2, 3), np.float32), "head.weight": np.ones(2, np.float32)}
    before |= {f"{path}.0._u": np.ones(2, np.float32), f"{path}.0._v": np.ones(3, np.float32)}
    after = {name: tensor + 1 if "._" in name else tensor for name, tensor in before.items()}
    found = compared(after, before, f"norm_statistics: {norms}\nrules:\n  - freeze: stem\n")
    names = [name for name in before if "._" in name] if norms == "freeze" else []
    assert sorted(named(found, found.changed_frozen)) == names
