"""Held, moved or inconclusive, and what the changes look like."""

from __future__ import annotations

import pytest
import torch

from freezetui.checkpoint.open import open_checkpoint
from freezetui.diff.run import diff_series, diff_stages
from freezetui.errors import ConfigError

FREEZE = "rules:\n  - freeze: stem\n  - freeze: embed\n"


def trained(state):
    """The head has been trained, the rest is as it was."""
    return {
        name: t + 0.01 * torch.randn_like(t) if "head" in name else t.clone() for name, t in state.items()
    }


def only(report):
    """The one finding that speaks against the freeze."""
    findings = [finding for finding in report.judged.findings if finding.severity == "error"]
    assert len(findings) == 1, report.judged.findings
    return findings[0]


def looks(report, name):
    return next(tensor.looks for tensor in report.tensors if tensor.name == name)


def test_held(compared, state):
    report = compared(state, trained(state), FREEZE)
    assert (report.judged.verdict, report.exit_code) == ("held", 0)
    assert (report.judged.frozen.tensors, report.judged.frozen.held) == (5, 5)
    assert (report.judged.trainable.tensors, report.judged.trainable.moved) == (2, 2)
    assert (report.judged.buffers.tensors, report.judged.buffers.held) == (3, 3)
    assert report.judged.findings == ()


def test_without_a_config_there_is_no_verdict(compared, state):
    report = compared(state, trained(state))
    assert (report.judged, report.exit_code) == (None, 1)
    assert compared(state, state).exit_code == 0


def test_one_bit_of_one_frozen_weight(compared, state):
    after = trained(state)
    after["embed.weight"].view(torch.int32)[7, 3] ^= 1
    report = compared(state, after, FREEZE)
    assert (report.judged.verdict, report.exit_code) == ("moved", 1)
    assert report.judged.frozen.moved == ("embed.weight",)
    assert next(t for t in report.tensors if t.name == "embed.weight").rows_changed == 1


def test_weight_decay_is_one_factor(compared, state):
    """AdamW's decay of a parameter whose gradient is a zero tensor."""
    after = trained(state)
    for name in ("stem.0.weight", "embed.weight"):
        parameter = torch.nn.Parameter(state[name].clone())
        parameter.grad = torch.zeros_like(parameter)
        optimizer = torch.optim.AdamW([parameter], lr=1e-3, weight_decay=0.01)
        for _ in range(100):
            optimizer.step()
        after[name] = parameter.detach()
    finding = only(compared(state, after, FREEZE))
    assert finding.code == "M12"
    assert finding.tensors == ("stem.0.weight", "embed.weight")
    assert "(1 - 0.001)" in finding.message


def test_some_rows(compared, state):
    after = trained(state)
    after["embed.weight"][40:] += torch.randn(10, 16)
    finding = only(compared(state, after, FREEZE))
    assert (finding.code, "10 of 50" in finding.message) == ("M13", True)


@pytest.mark.parametrize(("decay", "updates"), [(0.9, 100), (0.999, 100), (0.9999, 2000)])
def test_rounding_of_an_ema(compared, state, decay, updates):
    """The copy of a frozen weight after updates by mul_ and add_."""
    after = trained(state)
    ema = state["embed.weight"].clone()
    for _ in range(updates):
        ema.mul_(decay).add_(state["embed.weight"], alpha=1 - decay)
    after["embed.weight"] = ema
    assert not ema.equal(state["embed.weight"])
    finding = only(compared(state, after, FREEZE))
    assert finding.code == "M16"
    assert "rounding" in finding.message


def test_a_cast_and_back(compared, state):
    after = trained(state)
    after["embed.weight"] = state["embed.weight"].bfloat16().float()
    report = compared(state, after, FREEZE)
    assert looks(report, "embed.weight") == "cast and back"
    assert "bfloat16" in only(report).message


def test_tied_to_one_that_trains(compared, state):
    state["tied.weight"] = state["head.weight"].clone()
    after = trained(state)
    after["tied.weight"] = after["head.weight"]
    report = compared(state, after, FREEZE + "  - freeze: tied\n")
    assert only(report).code == "M17"
    assert looks(report, "tied.weight") == "tied"


@pytest.mark.parametrize(
    ("keeps", "verdict", "severity"), [("freeze", "moved", "error"), ("update", "held", "note")]
)
def test_statistics_only(compared, state, keeps, verdict, severity):
    after = trained(state)
    after["stem.1.running_mean"] += 0.1
    after["stem.1.num_batches_tracked"] += 100
    report = compared(state, after, f"{FREEZE}norm_statistics: {keeps}\n")
    assert report.judged.verdict == verdict
    assert report.judged.frozen.moved == ()
    assert report.judged.buffers.drifted == ("stem.1.running_mean", "stem.1.num_batches_tracked")
    finding = report.judged.findings[0]
    assert (finding.code, finding.severity) == ("M1", severity)
    assert "running statistics" in finding.message


def test_a_counter_alone_is_a_note(compared, state):
    after = trained(state)
    after["stem.1.num_batches_tracked"] += 100
    report = compared(state, after, FREEZE)
    assert report.judged.verdict == "held"
    assert [finding.code for finding in report.judged.findings] == ["M3"]


def test_the_freeze_was_never_there(compared, state):
    after = {n: t + 0.01 * torch.randn_like(t) if t.is_floating_point() else t for n, t in state.items()}
    finding = next(f for f in compared(state, after, FREEZE).judged.findings if "never applied" in f.message)
    assert len(finding.tensors) == 5


@pytest.mark.parametrize(
    ("before", "after"), [(torch.float32, torch.bfloat16), (torch.bfloat16, torch.float32)]
)
def test_equal_after_a_cast_proves_nothing_finer(compared, state, before, after):
    """A hundred steps of decay by 1e-6 are invisible in bfloat16 in nearly every weight."""
    one = {name: t.to(before) if t.is_floating_point() else t for name, t in state.items()}
    other = {name: t.to(after) if t.is_floating_point() else t for name, t in one.items()}
    report = compared(one, other, FREEZE)
    assert (report.judged.verdict, report.exit_code) == ("inconclusive", 3)
    assert report.judged.reason == "5 of 5 frozen tensors equal only after a cast to a different dtype"
    assert report.judged.frozen.moved == ()
    assert len(report.judged.frozen.unsure) == 5


def test_changed_by_more_than_the_cast(compared, state):
    after = {name: t.bfloat16() if t.is_floating_point() else t for name, t in trained(state).items()}
    after["embed.weight"] *= 0.9
    report = compared(state, after, FREEZE)
    assert (report.judged.verdict, report.judged.frozen.moved) == ("moved", ("embed.weight",))


def test_a_frozen_tensor_that_is_gone_is_no_proof(compared, state):
    after = trained(state)
    del after["embed.weight"]
    after["stem.0.bias"] = after["stem.0.bias"].view(2, 4)
    report = compared(state, after, FREEZE)
    assert (report.judged.verdict, report.exit_code) == ("inconclusive", 3)
    assert report.judged.frozen.unsure == ("stem.0.bias", "embed.weight")
    assert "missing in AFTER" in report.judged.reason


def test_nothing_frozen_is_nothing_to_verify(compared, state):
    report = compared(state, trained(state), "default: train\n")
    assert (report.judged.verdict, report.exit_code) == ("inconclusive", 3)
    assert "nothing is frozen" in report.judged.reason


def test_no_training_at_all_is_held_with_a_warning(compared, state):
    report = compared(state, state, FREEZE)
    assert report.judged.verdict == "held"
    assert [finding.code for finding in report.judged.findings] == ["N7"]


def test_stages(compared, state):
    config = FREEZE + "stages:\n  - {name: head}\n  - {name: more, rules: [{train: embed}]}\n"
    after = trained(state)
    after["embed.weight"] += torch.randn(50, 16)
    assert compared(state, after, config, "head").judged.verdict == "moved"
    assert compared(state, after, config, "more").judged.verdict == "held"
    whole = compared(state, after, config).judged
    assert (whole.verdict, whole.frozen.tensors) == ("held", 4)  # what no stage trains


def test_each_stage_has_a_verdict(compared, state, tmp_path):
    config = FREEZE + "stages:\n  - {name: head}\n  - {name: more, rules: [{train: embed}]}\n"
    middle, last = trained(state), trained(state)
    last["embed.weight"] += torch.randn(50, 16)
    compared(state, last, config, "head")  # writes the files
    torch.save(middle, tmp_path / "middle.pth")
    paths = [tmp_path / f"{name}.pth" for name in ("before", "middle", "after")]
    first, second, third = map(open_checkpoint, paths)
    path = tmp_path / "c.freeze.yaml"
    each = [report.judged for report in diff_stages(first, third, path, "all")]
    assert [(j.stage, j.verdict) for j in each] == [("head", "moved"), ("more", "held")]
    series = diff_series([first, second, third], path, "all")
    assert [step.judged.stage for step in series.steps] == ["head", "more"]
    assert series.exit_code == 0
    with pytest.raises(ConfigError, match=r"2 stages, but there are 3 steps"):
        diff_series([first, second, third, third], path, "all")


@pytest.mark.parametrize(
    ("dtype", "factor"),
    [("float16", 0.9), ("float16", 0.999), ("bfloat16", 0.99), ("float8_e4m3fn", 0.8), ("float8_e5m2", 0.7)],
)
def test_decay_is_seen_through_the_rounding_of_narrow_dtypes(compared, dtype, factor):
    kind = getattr(torch, dtype)
    weight = torch.randn(64, 32).to(kind)
    other = torch.randn(3)
    decayed = (weight.float() * factor).to(kind)
    report = compared({"w": weight, "o": other}, {"w": decayed, "o": other})
    assert looks(report, "w") == "decay"
    noisy = (weight.float() * (1 + 0.3 * torch.randn(64, 32))).to(kind)
    assert looks(compared({"w": weight, "o": other}, {"w": noisy, "o": other}), "w") == ""


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_a_double_that_was_cast_and_back(compared, dtype):
    weight = torch.randn(20, 10, dtype=torch.float64)
    tensor = compared({"w": weight}, {"w": weight.to(getattr(torch, dtype)).double()}).tensors[0]
    assert (tensor.looks, tensor.reason) == ("cast and back", f"as if cast to {dtype} and back")
