"""Held, moved or inconclusive, and what the changes look like."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from freezetui.checkpoint.open import open_checkpoint
from freezetui.diff.run import diff_series, diff_stages
from freezetui.errors import ConfigError
from freezetui.formatting.diff import judged_lines

FREEZE = "rules:\n  - freeze: stem\n  - freeze: embed\n"


def trained(state):
    """Return the state with its head trained, the rest as it was."""
    return {
        name: t + 0.01 * torch.randn_like(t) if "head" in name else t.clone() for name, t in state.items()
    }


def only(report):
    """Return the one finding that speaks against the freeze."""
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


def test_one_average_of_many_weights_is_one_finding(compared, state):
    after = trained(state)
    for name, units in (("embed.weight", 9), ("stem.0.weight", 1200), ("stem.0.bias", 2)):
        flat = after[name].flatten()
        flat[:1].view(torch.int32).add_(units)
        after[name] = flat.view(state[name].shape)
    finding = only(compared(state, after, FREEZE))
    assert (finding.code, len(finding.tensors)) == ("M16", 3)
    assert "(at most 1,200 units in the last place)" in finding.message


def test_some_rows_of_many_tensors_are_one_finding(compared, state):
    after = trained(state)
    after["embed.weight"][40:] += torch.randn(10, 16)
    after["stem.0.weight"][:2] += torch.randn(2, 3, 3, 3)
    finding = only(compared(state, after, FREEZE))
    assert (finding.code, len(finding.tensors)) == ("M13", 2)
    assert "(2 to 10 of each tensor)" in finding.message


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


@pytest.mark.parametrize(("keeps", "verdict"), [("freeze", "moved"), ("update", "held")])
def test_the_vectors_of_a_frozen_spectral_norm(compared, keeps, verdict):
    stem = nn.utils.parametrizations.spectral_norm(nn.Linear(6, 4))
    before = {f"stem.{name}": tensor.clone() for name, tensor in stem.state_dict().items()}
    stem.train()(torch.randn(3, 6))
    after = {f"stem.{name}": tensor for name, tensor in stem.state_dict().items()}
    head = {"head.weight": torch.ones(4)}
    config = f"norm_statistics: {keeps}\nrules:\n  - freeze: stem\n"
    judged = compared(before | head, after | {"head.weight": torch.zeros(4)}, config).judged
    assert (judged.verdict, [found.code for found in judged.findings]) == (verdict, ["M6"])


def test_a_counter_alone_is_a_note(compared, state):
    after = trained(state)
    after["stem.1.num_batches_tracked"] += 100
    report = compared(state, after, FREEZE)
    assert report.judged.verdict == "held"
    assert [finding.code for finding in report.judged.findings] == ["M3"]


def test_the_freeze_was_never_there(compared, state):
    after = {n: t + 0.01 * torch.randn_like(t) if t.is_floating_point() else t for n, t in state.items()}
    finding = next(f for f in compared(state, after, FREEZE).judged.findings if "not in effect" in f.message)
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


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_what_is_pruned_clipped_or_normalized_has_not_decayed(compared, dtype):
    weight = torch.randn(64, 64).to(getattr(torch, dtype))
    other = {
        "pruned": weight * (torch.rand(64, 64) > 0.85).to(weight.dtype),
        "clipped": weight.clamp(-0.2, 0.2),
        "shrunk": nn.functional.softshrink(weight.float(), 0.5).to(weight.dtype),
        "normalized": weight / weight.norm(dim=1, keepdim=True),
    }
    report = compared(dict.fromkeys(other, weight), other)
    assert {tensor.looks for tensor in report.tensors} == {""}


def test_an_adapter_that_was_merged_and_unmerged_is_a_cause(compared, state):
    after = trained(state)
    after["embed.weight"] = (state["embed.weight"] + 0.5) - 0.5
    assert "merged" in only(compared(state, after, FREEZE)).message


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_a_double_that_was_cast_and_back(compared, dtype):
    weight = torch.randn(20, 10, dtype=torch.float64)
    tensor = compared({"w": weight}, {"w": weight.to(getattr(torch, dtype)).double()}).tensors[0]
    assert (tensor.looks, tensor.reason) == ("cast and back", f"as if cast to {dtype} and back")


def test_a_variance_that_shrinks_alike_is_not_called_decay(compared):
    one = {"n.running_var": torch.ones(8), "n.weight": torch.ones(8)}
    report = compared(one, {name: tensor * 0.7 for name, tensor in one.items()})
    assert (looks(report, "n.running_var"), looks(report, "n.weight")) == ("", "decay")


def test_one_decay_is_one_finding_and_another_is_another(compared, state):
    """Rounded to bfloat16, one factor is a little different in each tensor."""
    before = {name: t.bfloat16() if t.is_floating_point() else t for name, t in state.items()}
    before["stem.0.bias"] = torch.ones(8, dtype=torch.bfloat16)
    after = {**before, "head.bias": before["head.bias"] + 1}
    for name, factor in (("stem.0.weight", 0.99), ("stem.0.bias", 0.99), ("embed.weight", 0.9)):
        after[name] = before[name] * factor
    found = [f for f in compared(before, after, FREEZE).judged.findings if f.code == "M12"]
    assert [len(finding.tensors) for finding in found] == [2, 1]
    assert " to 1 - " in found[0].message and "1 - 0.1" in found[1].message


def test_nan_in_a_frozen_tensor_is_said(compared, state):
    after = trained(state)
    after["embed.weight"] = state["embed.weight"] * torch.nan
    assert "frozen, but changed, and NaN appeared:" in only(compared(state, after, FREEZE)).message


def test_norms_that_decayed_alike_are_not_tied(compared):
    """They began at 1, and so are equal to trainable ones afterwards."""
    before = {f"{part}.norm.weight": torch.ones(16) for part in ("stem", "head")}
    before["stem.weight"] = torch.randn(16, 16)
    after = {name: tensor * 0.99 for name, tensor in before.items()}
    finding = only(compared(before, after, "rules:\n  - freeze: stem\n"))
    assert (finding.code, finding.tensors) == ("M12", ("stem.norm.weight", "stem.weight"))


def test_buffers_that_were_not_compared_are_not_unchanged(compared, state):
    gone = {name: tensor for name, tensor in trained(state).items() if "running" not in name}
    assert (found := compared(state, gone, FREEZE).judged).buffers.held == 1
    assert (found.buffers.tensors, found.buffers.drifted) == (3, ())
    assert "buffers: 1 of 3 unchanged (2 not comparable bit for bit)" in "\n".join(judged_lines(found))
    cast = {n: t.bfloat16() if t.is_floating_point() else t for n, t in state.items()}
    assert compared(state, cast, FREEZE).judged.buffers.held == 1


def test_there_was_training_where_something_moved(compared, state):
    """Not the note that neither what is frozen nor what trains has changed."""
    assert [f.code for f in compared(state, state, FREEZE).judged.findings] == ["N7"]
    for name in ("embed.weight", "stem.1.running_mean"):
        judged = compared(state, {**state, name: state[name] + 0.1}, FREEZE).judged
        assert {found.code for found in judged.findings} & {"N7", "S3"} == {"S3"}, name


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float8_e5m2])
def test_signs_of_zeros_and_bits_of_nan_are_no_change_of_values(compared, state, dtype):
    """Neither rounding nor a cast and back; the optimizer has not done it either."""
    zeros, carrier = torch.zeros(40, 8), {4: torch.int32, 2: torch.int16, 1: torch.uint8}[dtype.itemsize]
    zeros[1, 2] = torch.nan
    before = {**state, "embed.weight": zeros.to(dtype)}
    for change in (
        lambda bits: bits[0, 3:5].bitwise_xor_(torch.full((2,), 1 << 8 * dtype.itemsize - 1).to(carrier)),
        lambda bits: bits[1, 2].bitwise_xor_(torch.tensor(1, dtype=carrier)),
    ):
        after = trained(before)
        change(after["embed.weight"].view(carrier))
        report = compared(before, after, FREEZE)
        embed = next(t for t in report.tensors if t.name == "embed.weight")
        assert (embed.status, embed.max_delta, embed.looks) == ("changed", 0, "same values")
        assert only(report).code == "M16" and "signs of zeros or bits of NaN" in only(report).message
    infinite = trained(before)
    before["embed.weight"][3, 3], infinite["embed.weight"][3, 3] = torch.inf, -torch.inf
    assert looks(compared(before, infinite, FREEZE), "embed.weight") != "same values"


def test_one_unit_is_singular(compared, state):
    after = {**trained(state), "embed.weight": state["embed.weight"].clone()}
    after["embed.weight"].view(torch.int32)[:] ^= 1
    assert "(at most 1 unit in the last place)" in only(compared(state, after, FREEZE)).message


def test_a_config_of_another_model_is_an_error_in_whole_sentences(compared, state):
    with pytest.raises(ConfigError) as error:
        compared(state, state, "rules:\n  - freeze: bodies\n  - freeze: heads\n")
    assert ".." not in error.value.message and ".;" not in error.value.message


def test_a_schedule_that_trains_everything_in_the_end_needs_a_stage(compared, state):
    stages = "stages:\n  - {name: head}\n  - {name: all of it, rules: [{train: '**'}]}\n"
    judged = compared(state, trained(state), FREEZE + stages).judged
    assert (
        judged.verdict == "inconclusive"
        and "--stage NAME, with the checkpoints from the start" in judged.reason
    )
    assert compared(state, trained(state), FREEZE + stages, "head").judged.verdict == "held"


def test_a_config_of_the_same_frozen_tensors_beside_others_is_taken_and_that_is_told(compared, state):
    recorded = "model: {fingerprint: 'sha256:0'}\n"
    judged = compared(state, trained(state), recorded + FREEZE).judged
    assert (judged.verdict, judged.note) == (
        "held",
        "it was saved for a model with different names or shapes",
    )
    counts = "{tensors: 1, elements: 1}"
    expected = f"expect:\n  frozen: {counts}\n  trainable: {counts}\n"
    with pytest.raises(ConfigError, match="frozen: expected 1 tensor"):
        compared(state, state, recorded + FREEZE + expected)


def test_a_config_of_another_state_dict_of_the_file_is_told(compared, state):
    both = {"model": state, "ema": {name: tensor + 1 for name, tensor in state.items()}}
    judged = compared(both, trained(state), "model: {key: ema}\n" + FREEZE).judged
    assert judged.note == "it was saved for the state_dict ema; model is open"


def test_a_stage_that_selects_other_tensors_than_are_recorded_of_it_is_told(compared, state):
    expect = "{frozen: {tensors: 9, elements: 9}, trainable: {tensors: 1, elements: 1}}"
    stages = f"stages:\n  - {{name: one, rules: [{{train: embed}}], expect: {expect}}}\n  - {{name: two}}\n"
    notes = [compared(state, state, FREEZE + stages, stage).judged.note for stage in ("one", "two", None)]
    assert [note.partition(" (")[0] for note in notes] == [
        told := "stage one: frozen: expected 9 tensors",
        "",
        told,
    ]
