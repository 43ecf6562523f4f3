"""A report as text: the headline says the verdict, and why there is none."""

from __future__ import annotations

import re
import textwrap
from string import Formatter

import pytest
from msgspec.structs import replace

from freezetui.formatting.fixes import fix_code
from freezetui.formatting.report import finding_text, headline, report_lines
from freezetui.formatting.sentences import InFile, sentences
from freezetui.sanity.codes import CODES, finding
from freezetui.sanity.report import (
    BufferPart,
    Cost,
    FrozenPart,
    OwnTraining,
    SanityReport,
    TrainablePart,
    Unchanged,
    Verdict,
)
from support.reports import sanity_report

COST = Cost(0.1, 0.2, 1, 2, 0.0, 0.005, 0.01)


def report(verdict: Verdict, *keys: str, moved: tuple[str, ...] = ()) -> SanityReport:
    templates = " ".join(CODES[key].message + CODES[key].fix for key in keys)
    values = dict.fromkeys((name for _, name, _, _ in Formatter().parse(templates) if name), "a")
    return sanity_report(
        verdict=verdict,
        architecture="",
        frozen=FrozenPart(2, 2 - len(moved), moved),
        findings=tuple(finding(key, **values) for key in keys),
    )


@pytest.mark.parametrize(
    ("keys", "reason"),
    [
        (["unproven", "no_model"], "no forward pass"),
        (["no_input", "none_frozen"], "nothing is frozen"),
        (["none_frozen", "not_finite_weight"], "the loss is not a finite number"),
        (["all_frozen", "no_model"], "everything is frozen"),
        (["unproven"], "no frozen tensor changes when trainable either"),
        (["renamed", "unproven"], "no frozen tensor changes when trainable either"),
        (["own_not_finite", "unproven"], "no frozen tensor changes when trainable either"),
    ],
)
def test_an_inconclusive_check_says_why(keys, reason):
    assert headline(report("inconclusive", *keys)) == f"? INCONCLUSIVE: {reason}"


def test_no_reason_is_made_up():
    assert headline(report("inconclusive", "batch_norm", "misspelled_flag")) == "? INCONCLUSIVE"


def test_other_verdicts_count():
    assert headline(report("held", "unproven")) == "✓ HELD: 2 frozen tensors unchanged, bit for bit"
    assert headline(report("moved", "max_norm", moved=("a",))) == "✗ MOVED: 1 frozen tensor changed"


def test_a_finding_without_a_fix_is_one_line():
    assert "fix" not in finding_text(finding("untrainable"))
    assert finding_text(finding("all_frozen")).splitlines()[1] == "      fix: unfreeze something"


def test_every_finding_can_be_shown():
    for key, entry in CODES.items():
        if entry.severity is not None:
            assert entry.code in finding_text(report("held", key).findings[0])


def test_three_sentences_say_what_was_proven_and_no_more():
    held = replace(report("held"), cost=COST)
    assert sentences(held) == (
        "Frozen: 2 tensors identical, bit for bit, after 3 training steps.",
        "The same weights changed when they were allowed to (control run).",
        "Trainable: 1 of 1 tensor changed by their gradients.",
    )
    assert sentences(replace(held, cost=None))[1].startswith("Without a control run it is not known")
    moved = replace(report("moved", "max_norm", moved=("a", "b")), cost=COST)
    assert sentences(moved)[0] == "Frozen: 2 of 2 tensors changed: a, b."
    assert len(sentences(moved)) == 2
    part = replace(held, frozen=FrozenPart(4, 4, (), ("c",)), findings=(finding("cut_off", ("a", "b")),))
    assert sentences(part)[1] == (
        "1 of them changed when they were allowed to (control run); no gradient reaches 2 even then, so only "
        "their flag was tested: a, b; 1 did not change even then, which proves nothing about them."
    )
    bare = replace(held, forward=False, cost=None, buffers=BufferPart(3, 3))
    assert "3 optimizer steps without a forward pass; so are 3 buffers." in sentences(bare)[0]
    assert "random gradients" in sentences(bare)[2]
    drifted = replace(held, buffers=BufferPart(3, 1, ("m", "v")))
    assert sentences(drifted)[0].endswith("; 2 buffers changed.")
    assert "so this proves nothing" in sentences(replace(held, losses=(1.0, None)))[2]
    still = TrainablePart(
        4, 1, (*(Unchanged(n, "no gradient") for n in "ab"), Unchanged("c", "zero gradient"))
    )
    assert sentences(replace(held, trainable=still))[2] == (
        "Trainable: 1 of 4 tensors changed by their gradients; 3 did not: 2 no gradient, 1 zero gradient."
    )
    gone = replace(held, verdict="inconclusive", findings=(finding("vanished", ("a",)),))
    assert sentences(gone)[:2] == (
        "Frozen: 1 of 2 tensors cannot be found after the steps: a.",
        "The same weights changed when they were allowed to (control run).",
    )
    nothing = replace(held, frozen=FrozenPart(0, 0), trainable=TrainablePart(0, 0))
    assert sentences(nothing) == ("Frozen: nothing is frozen.", "Trainable: nothing is trainable.")


def test_losses_are_shown_only_where_they_are_those_of_the_user():
    own = OwnTraining("SGD(lr=0.1)", 3, (2.0, 1.5, None), FrozenPart(2, 2), TrainablePart(1, 1))
    shown = replace(report("held"), losses=(0.25, -0.75), own=own)
    assert not {"0.25", "0.75", "1.5"} & set(re.findall(r"[\d.]+\d", "\n".join(report_lines(shown))))
    last = sentences(replace(shown, own=replace(own, step="train.py:step")))[-1]
    assert last == (
        "With SGD(lr=0.1) in train.py:step, after 3 steps: what is frozen is identical; "
        "1 of 1 trainable tensor changed; losses 2, 1.5, not finite."
    )
    moved = replace(own, frozen=FrozenPart(2, 0, ("a", "b")))
    assert "2 of 2 frozen tensors changed" in sentences(replace(shown, own=moved))[-1]


def test_a_fix_is_code_where_code_is_the_fix():
    own = OwnTraining("Lion(lr=0.1, weight_decay=0.2)", 3, (), FrozenPart(2, 2), TrainablePart(1, 1))
    assert fix_code(finding("max_norm", ["body.embed.weight"])) == (
        "model.get_submodule('body.embed').max_norm = None",
    )
    decayed = finding("zeros_for_none", ["a"], optimizer="Lion(lr=0.1, weight_decay=0.2)")
    line = "optimizer = Lion(config.parameter_groups(model, lr=0.1), weight_decay=0.2)"
    assert fix_code(decayed, own) == (line,)
    found = replace(report("moved", moved=("a",)), findings=(decayed,), own=own)
    assert f"        {line}" in list(report_lines(found))
    assert fix_code(finding("all_frozen")) == ()
    for key, entry in CODES.items():
        if entry.severity is not None:
            for line in fix_code(report("held", key).findings[0]):
                compile(textwrap.dedent(line), key, "exec") if "with " not in line else None


def test_held_weights_do_not_hide_buffers_that_changed():
    names = ("bn.running_mean", "bn.running_var", "mixed", "cos")
    found = (
        finding("batch_norm", names[:2]),
        finding("mixed_buffer", names[2:3]),
        finding("cache", names[3:]),
    )
    held = replace(report("held"), buffers=BufferPart(5, 1, names), findings=found)
    said = "✓ HELD: 2 frozen tensors unchanged, bit for bit, but 2 buffers of frozen modules changed"
    assert headline(held) == said
    assert "key B in the TUI" in finding_text(held.findings[0])
    only_mixed = replace(held, findings=(finding("mixed_buffer", names),))
    assert headline(only_mixed) == "✓ HELD: 2 frozen tensors unchanged, bit for bit"
    in_eval = replace(held, verdict="moved", findings=(finding("norm_in_eval", names[:1]),))
    assert headline(in_eval) == "✗ MOVED: 4 buffers of frozen modules changed"


def test_a_stage_that_trains_everything_is_told_to_freeze_nothing():
    stage = replace(
        report("inconclusive", "nothing_to_hold"),
        frozen=FrozenPart(0, 0),
        trainable=TrainablePart(32, 32),
        losses=(1.0, 2.0),
        stage="everything",
    )
    assert headline(stage) == (
        "○ NOTHING TO HOLD: this stage freezes nothing; 32 of 32 trainable tensors changed"
    )
    assert stage.exit_code == 3 and not any(found.fix for found in stage.findings)
    assert headline(replace(stage, losses=(None,))) == "? INCONCLUSIVE: this stage freezes nothing"
    infinite = replace(stage, losses=(None,), findings=(*stage.findings, finding("not_finite")))
    assert headline(infinite) == "? INCONCLUSIVE: the loss is not a finite number"
    still = (*stage.findings, finding("none_changed"))
    assert "no trainable tensor was changed" in headline(replace(stage, findings=still))


@pytest.mark.parametrize(
    ("cost", "share"),
    [
        (Cost(0.56, 1.0, 1, 2, 0.0, 0.02, 0.03), 0.6),
        (Cost(0.56, 1.0, 1, 2, 0.0, 0.5, 0.0), None),
        (Cost(0.45, 1.0, 1, 2, 0.0, 0.01, 1.0), None),
        (Cost(0.97, 1.0, 1, 2, 0.0, 0.0, 0.0), None),
        (Cost(1.2, 1.0, 1, 2, 0.0, 0.0, 0.0), None),
        (Cost(0.5, 1.0, 1, 2, 0.0, None, None), None),
        (Cost(0.5, 1.0, 1, 2), None),
        (Cost(0.01, 1.0, 1, 2, 0.0, 0.0, 0.0), 0.1),
    ],
)
def test_a_step_time_is_told_only_beyond_its_noise(cost, share):
    assert cost.step_share == share
    told = list(report_lines(replace(report("held"), cost=cost)))[-1]
    assert ("step time about" in told) == (share is not None)
    assert "measured memory without weights 50%" in told
    on_gpu = replace(report("held"), cost=cost, device="cuda:0")
    assert "measured GPU peak 50%" in list(report_lines(on_gpu))[-1]


def test_what_the_steps_were_taken_with_is_said():
    told = replace(report("held"), loop="SGD(lr=0.01) on random inputs, without your data or labels")
    line = "The steps: SGD(lr=0.01) on random inputs, without your data or labels."
    assert sentences(told)[-1] == line and f"  {line}" in list(report_lines(told))


def test_where_the_model_has_more_tensors_than_the_file_both_numbers_are_told():
    held = sanity_report(frozen=FrozenPart(157, 157), trainable=TrainablePart(28, 28))
    adapter = InFile(28, 28, is_adapter=True)
    assert headline(held, adapter) == (
        "✓ HELD: 28 frozen tensors and 129 of the base model unchanged, bit for bit"
    )
    assert sentences(held, adapter)[0] == (
        "Frozen: 28 tensors and 129 of the base model identical, bit for bit, after 3 training steps."
    )
    merged = InFile(471, 30)
    assert headline(held, merged) == "✓ HELD: 157 frozen tensors (471 in the file) unchanged, bit for bit"
    assert "Trainable: 28 of 28 tensors (30 in the file) changed" in sentences(held, merged)[2]
    same = InFile(157, 28)
    assert (headline(held, same), sentences(held, same)) == (headline(held), sentences(held))
