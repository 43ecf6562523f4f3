"""What a session says is wrong or unknown: of the file, of its check and of a comparison."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from freezetui.diff.report import TensorDiff
from freezetui.model_spec import ModelSpec
from freezetui.sanity.codes import finding
from freezetui.sanity.report import BufferPart, FrozenPart, TrainablePart
from freezetui.session.comparison import Comparison
from freezetui.session.notices import notices
from freezetui.session.options import Options
from freezetui.session.session import Session
from support.reports import sanity_report

NAMES = ("a.weight", "b.weight", "b.running_mean")


@pytest.fixture
def session(tmp_path, monkeypatch) -> Session:
    monkeypatch.chdir(tmp_path)
    save_file({name: np.ones(2, np.float32) for name in NAMES}, "m.safetensors")
    Path("m.freeze.yaml").write_text("freezetui: 1\nrules:\n  - freeze: a\n")
    return Session(Options("m.safetensors"))


def said(session: Session) -> dict[str, str]:
    known = {notice.short: "\n".join(notice.lines) for notice in notices(session)}
    assert known.pop("architecture unknown")
    return known


def check(session: Session, **report: object) -> None:
    session.checked(sanity_report(**report), session.plan.mask())


def test_nothing_is_said_of_a_check_that_held(session):
    check(session, findings=(finding("dropout", ["a.weight"]),))
    assert said(session) == {}


def test_findings_are_listed_in_full_with_their_tensors_and_their_fix(session):
    known = finding("no_gradient", ["b.weight"])
    check(session, findings=(known, finding("dropout", ["a.weight"])))
    assert said(session) == {"1 finding": f"S3: {known.message}: b.weight\nfix: {known.fix}"}
    check(session, verdict="moved", findings=(finding("max_norm", ["a.weight"]),))
    assert "a.weight" in said(session)["check moved"]
    session.plan.replace(b"\1" * len(NAMES))
    assert "a.weight" in said(session)["check out of date"]


def test_an_inconclusive_check_is_listed_and_a_stage_without_frozen_ones_is_not(session):
    check(session, verdict="inconclusive", forward=False, findings=(finding("no_input", reason="x"),))
    assert "no forward pass: x" in said(session)["check inconclusive"]
    check(session, verdict="inconclusive", findings=(finding("unproven", ["a.weight"]),))
    assert said(session)["check inconclusive"]
    fine = {"frozen": FrozenPart(0, 0), "trainable": TrainablePart(2, 2), "losses": (1.0,)}
    check(session, verdict="inconclusive", findings=(finding("nothing_to_hold"),), **fine)
    assert said(session) == {}


def test_buffers_that_changed_are_listed_beside_held_weights(session):
    drifted = BufferPart(1, 0, ("b.running_mean",))
    check(session, buffers=drifted, findings=(finding("batch_norm", ["b.running_mean"]),))
    told = said(session)["1 buffer changed"]
    assert "1 buffer of frozen modules changed: b.running_mean" in told and "key B in the TUI" in told


def test_a_check_that_failed_is_listed_until_the_next(session):
    session.checks.failure = "The model's own forward raised."
    assert said(session) == {
        "check failed": "The model's own forward raised.\nR shows its log; r checks again."
    }
    check(session)
    assert said(session) == {}


def test_values_that_are_not_finite_stay_listed(session):
    found = finding("not_finite_weight", ["a.weight"])
    check(session, verdict="inconclusive", losses=(None,), findings=(found,))
    assert "a.weight" in said(session)["NaN or inf"] and "a.weight" in said(session)["check inconclusive"]
    session.not_finite["b.weight"] = "2 NaN, 0 inf"
    check(session)
    assert said(session)["NaN or inf"].splitlines()[1:] == ["a.weight", "b.weight: 2 NaN, 0 inf"]


def test_what_a_comparison_found_is_listed(session):
    def diff(name: str, status: str, **more: object) -> TensorDiff:
        return TensorDiff(name, status, "parameter", (2,), "float32", 2, **more)

    changes = {"a.weight": diff("a.weight", "changed", nan=1, delta_norm=1.0, norm=1.0)}
    session.comparison = Comparison(session, "b", changes, {"a.weight": 1.0}, ("gone",), "a note")
    known = said(session)
    assert known["1 frozen changed"].splitlines() == [
        *("1 of 3 tensors changed", "✗ 1 of them frozen (x: next)", "a.weight"),
        *("1 only in the earlier file", "a note"),
    ]
    assert "a.weight: 1 NaN, 0 inf" in known["NaN or inf"]
    others = {name: diff(name, "added") for name in NAMES}
    session.comparison = Comparison(session, "b", others, dict.fromkeys(NAMES, float("nan")), ("gone",))
    assert said(session) == {"nothing compared": "no tensor name in common: nothing was compared"}
    session.comparison = Comparison(session, "b", others | {"c": diff("c", "identical")}, {})
    assert "frozen could not be compared" in said(session)["1 frozen not compared"]
    session.comparison, session.not_compared = None, "b does not exist."
    assert said(session) == {"not compared": "b does not exist."}


def test_a_config_json_of_another_model_is_told_before_anything_is_built(tmp_path):
    names = ["model.embed_tokens.weight", "model.layers.0.self_attn.q_proj.weight"]
    save_file({name: np.ones((2, 2), np.float32) for name in names}, tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_text('{"architectures": ["BertForSequenceClassification"]}')
    session = Session(Options(str(tmp_path)))
    known = {notice.short: notice.lines for notice in notices(session)}
    assert "as in Llama models" in known["config.json of another model"][0]
    assert session.tree.names[0] == tmp_path.name, "the root is not called as another model"
    session.name_architecture(ModelSpec("transformers:LlamaForCausalLM"))
    assert not list(notices(session))


def test_an_adapter_is_called_one(tmp_path):
    path = tmp_path / "adapter_model.safetensors"
    save_file({"base_model.x.lora_A.weight": np.ones((2, 2), np.float32)}, path)
    (tmp_path / "adapter_config.json").write_text(
        '{"base_model_name_or_path": "some/base", "task_type": "CAUSAL_LM", "peft_type": "LORA"}'
    )
    (notice,) = notices(Session(Options(str(path))))
    assert notice.short == "PEFT adapter" and "some/base" in notice.lines[0]
