"""diff, stats and validate: exit codes, what goes where, JSON, foreign names, ctrl-c, memory."""

from __future__ import annotations

import gc
import json
import os
import pickle
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from freezetui.cli.main import run
from support.command_line import Done

from .conftest import small_model

EVIL = "\x1b]0;owned\x07\x1b[31m\u202eevil\u2066\n\r\0\ue000\x7f\x9b31m"


@pytest.fixture
def freezetui(monkeypatch, capsys):
    """The command line in this process, which has torch already: a process each would take minutes."""

    def call(*arguments: str | Path, cwd: Path | None = None, columns: int = 0) -> Done:
        monkeypatch.setattr(sys, "argv", ["freezetui", *map(str, arguments)])
        monkeypatch.setenv("COLUMNS", str(columns) if columns else "")
        if cwd is not None:
            monkeypatch.chdir(cwd)
        try:
            with pytest.raises(SystemExit) as ended:
                run()
        finally:
            gc.enable()
            gc.unfreeze()
        return Done(int(ended.value.code or 0), *capsys.readouterr())

    return call


@pytest.fixture
def folder(tmp_path):
    """a.pth, the same in b.safetensors, c.pth with a changed head, d.pth with a changed stem, configs."""
    state = small_model().state_dict()
    torch.save(state, tmp_path / "a.pth")
    save_file(state, tmp_path / "b.safetensors")
    for name, part in (("c", "head"), ("d", "stem.0")):
        torch.save(
            {n: t + 0.1 if n.startswith(part) else t for n, t in state.items()}, tmp_path / f"{name}.pth"
        )
    (tmp_path / "run.freeze.yaml").write_text("freezetui: 1\nrules:\n  - freeze: stem\n  - freeze: embed\n")
    (tmp_path / "none.freeze.yaml").write_text("freezetui: 1\nrules: []\n")
    return tmp_path


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["a.pth", "a.pth"], 0),
        (["a.pth", "b.safetensors"], 0),
        (["a.pth", "c.pth"], 1),
        (["a.pth", "c.pth", "--config", "run.freeze.yaml"], 0),
        (["a.pth", "d.pth", "--config", "run.freeze.yaml"], 1),
        (["a.pth", "d.pth", "--config", "none.freeze.yaml"], 3),
        (["a.pth", "a.pth", "c.pth"], 1),
        (["a.pth", "c.pth", "c.pth", "--config", "run.freeze.yaml"], 0),
        (["a.pth"], 2),
        (["a.pth", "missing.pth"], 2),
        (["a.pth", "c.pth", "--stage", "one"], 2),
        (["a.pth", "c.pth", "--config", "run.freeze.yaml", "--stage", "one"], 2),
        (["a.pth", "c.pth", "--config", "missing.yaml"], 2),
        (["a.pth", "c.pth", "--key", "ema"], 2),
        (["a.pth", "c.pth", "--sort", "size"], 2),
    ],
)
def test_exit_codes_of_diff(freezetui, folder, arguments, code):
    result = freezetui("diff", *arguments, cwd=folder)
    assert result.returncode == code, result
    assert "Traceback" not in result.stderr
    if code == 2:
        assert (result.stdout, result.stderr.count("\n")) == ("", 1)


def test_the_verdict_is_in_the_words_of_the_check(freezetui, folder):
    held = freezetui("diff", "a.pth", "c.pth", "--config", "run.freeze.yaml", cwd=folder).stdout
    assert "✓ HELD: 5 frozen tensors unchanged, bit for bit" in held
    assert "trainable: 2 of 2 changed; buffers: 3 of 3 unchanged; by run.freeze.yaml" in held
    moved = freezetui("diff", "a.pth", "d.pth", "--config", "run.freeze.yaml", cwd=folder).stdout
    assert "✗ MOVED: 2 frozen tensors changed" in moved
    assert "[stem.0.weight, stem.0.bias]" in moved
    unknown = freezetui("diff", "a.pth", "c.pth", "--config", "none.freeze.yaml", cwd=folder).stdout
    assert "? INCONCLUSIVE: nothing is frozen" in unknown


def test_a_verdict_on_each_stage_and_the_worst_code(freezetui, folder):
    stages = "stages:\n  - {name: head}\n  - {name: more, rules: [{train: stem}]}\n"
    config = folder / "run.freeze.yaml"
    config.write_text(config.read_text() + stages)
    arguments = ["diff", "a.pth", "d.pth", "--config", config, "--stage", "all"]
    text = freezetui(*arguments, cwd=folder)
    assert text.returncode == 1
    assert text.stdout.index("✗ MOVED") < text.stdout.index("stage head") < text.stdout.index("✓ HELD")
    documents = json.loads(freezetui(*arguments, "--json", cwd=folder).stdout)
    assert [(d["stage"], d["verdict"]) for d in documents] == [("head", "moved"), ("more", "held")]
    assert text.stderr == ""
    config.write_text(config.read_text().replace("name: more", "name: all"))
    for more in ([], ["d.pth"]):
        only = freezetui(*arguments[:3], *more, *arguments[3:], cwd=folder)
        assert ", stage all" in only.stdout and ", stage head" not in only.stdout
        assert "--stage all means the stage called all" in only.stderr
    config.write_text(config.read_text().replace("  - {name: head}\n", ""))
    assert freezetui(*arguments, cwd=folder).stderr == ""


def test_a_config_beside_before_is_mentioned_and_no_more(freezetui, folder):
    (folder / "a.freeze.yaml").write_text("freezetui: 1\nrules:\n  - freeze: head\n")
    result = freezetui("diff", "a.pth", "c.pth", "--json", cwd=folder)
    assert "a.freeze.yaml" in result.stderr
    assert json.loads(result.stdout)["verdict"] is None


def test_what_is_the_same_is_one_line(freezetui, folder):
    lines = freezetui("diff", "a.pth", "c.pth", cwd=folder).stdout.splitlines()
    assert [line.split()[:3] for line in lines if line.startswith("=")] == [
        ["=", "same", "stem"],
        ["=", "same", "embed"],
    ]
    assert any(re.match(r"~ changed +weight +4x16 float32 +100.?% +0\.1 ", line) for line in lines)


def test_sorted_by_change_the_largest_is_first(freezetui, folder):
    lines = freezetui("diff", "a.pth", "c.pth", "--sort", "change", cwd=folder).stdout.splitlines()
    rows = [line for line in lines if line.startswith("~")]
    assert sorted(rows, key=lambda line: -float(line.split()[-1])) == rows
    assert len(rows) == 2


def test_stat_has_a_line_for_each_module(freezetui, folder):
    lines = freezetui("diff", "a.pth", "c.pth", "--stat", cwd=folder).stdout.splitlines()
    assert [line.split()[0] for line in lines if " of " in line] == ["stem", "embed", "head"]
    assert next(line for line in lines if line.startswith("head")).endswith("=")


def test_a_change_without_a_size_is_named(freezetui, tmp_path):
    before = {"a.weight": torch.randn(4, 4), "b.weight": torch.randn(4, 4), "c.weight": torch.randn(4)}
    after = {"a.weight": before["a.weight"].bfloat16(), "b.weight": torch.randn(5, 4)}
    torch.save(before, tmp_path / "a.pth"), torch.save(after, tmp_path / "b.pth")
    done = freezetui("diff", "a.pth", "b.pth", "--stat", cwd=tmp_path)
    words = [line.partition("tensor")[2].strip() for line in done.stdout.splitlines() if " 1 of 1 " in line]
    assert words == ["equal after a cast", "reshaped", "removed"]


def test_what_one_side_lacks_is_one_line(freezetui, tmp_path):
    names = [f"model.layers.{i}.{part}.weight" for i in range(3) for part in ("a.b", "a.c")]
    state = {name: torch.randn(2, 2) for name in (*names, "head.weight")}
    torch.save(state, tmp_path / "a.pth"), torch.save({"head.weight": torch.ones(2, 2)}, tmp_path / "b.pth")
    lines = freezetui("diff", "a.pth", "b.pth", cwd=tmp_path).stdout.splitlines()
    assert [line.split()[:3] for line in lines if line.startswith("-")] == [["-", "removed", "model"]]
    assert any(line.split()[2:] == ["model", "6", "of", "6", "tensors"] for line in lines)


def test_stat_begins_where_the_model_has_parts(freezetui, tmp_path):
    state = {f"model.layers.{i}.{part}.weight": torch.randn(2, 2) for i in range(3) for part in "ab"}
    torch.save(state, tmp_path / "a.pth")
    torch.save({name: t + 1 for name, t in state.items()}, tmp_path / "b.pth")
    lines = freezetui("diff", "a.pth", "b.pth", "--stat", cwd=tmp_path).stdout.splitlines()
    parts = [line.split()[0] for line in lines if " 2 of 2 tensors " in line]
    assert parts == ["model.layers.0", "model.layers.1", "model.layers.2"]


def test_stat_of_a_series_has_a_line_for_each_module(freezetui, folder):
    lines = freezetui("diff", "a.pth", "c.pth", "d.pth", "--stat", cwd=folder).stdout.splitlines()
    assert [line.split()[0] for line in lines[4:] if line] == ["module", "model", "stem", "embed", "head"]


def test_counters_and_statistics_do_not_hide_the_change_of_parameters(freezetui, tmp_path):
    """A counter from 0 to 500, and a mean from 0, next to weights that changed by 1%."""
    norm = torch.nn.BatchNorm2d(8)
    paths = [tmp_path / f"{name}.pth" for name in ("zero", "one", "two")]
    for number, path in enumerate(paths):
        for name, tensor in norm.state_dict().items():
            statistic = 500 if name.startswith("num") else 0.2
            tensor += number and statistic if name.startswith(("num", "running")) else 0
        norm.weight.data *= 0.99 if number == 2 else 1
        torch.save({f"body.{n}": t for n, t in norm.state_dict().items()}, path)
    one, two = (freezetui("diff", *sides, "--stat").stdout for sides in (paths[:2], paths[1:]))
    # Of mean and variance, without the bar of a change by training.
    assert re.search(r"^body +3 of 5 tensors +0\.283  buffers only$", one, re.M)
    assert re.search(r"^body +4 of 5 tensors +0\.01 ", two, re.M)
    whole = freezetui("diff", *paths[1:]).stdout
    assert re.search(r"^~ changed +model +4 of 5 tensors .* 0\.01 +0\.01$", whole, re.M)
    rows = freezetui("diff", *paths).stdout.splitlines()
    body = next(line for line in rows if "body" in line)
    assert body.split()[2].startswith("~") and body.endswith("step 2, statistics step 1")
    assert "~ only statistics or counters changed" in rows
    rows = freezetui("diff", paths[0], paths[1], paths[0]).stdout.splitlines()
    assert next(line for line in rows if "body" in line).endswith("  statistics step 1")


def test_the_bar_beside_weights_that_were_only_cast_is_that_of_statistics(freezetui, tmp_path):
    state = {f"body.{name}": tensor for name, tensor in torch.nn.BatchNorm2d(8).state_dict().items()}
    torch.save(state, tmp_path / "a.pth")
    after = {n: t.half() if t.is_floating_point() else t for n, t in state.items()}
    torch.save(after | {"body.running_var": after["body.running_var"] * 2}, tmp_path / "b.pth")
    lines = freezetui("diff", "a.pth", "b.pth", "--stat", cwd=tmp_path).stdout
    assert re.search(r"^body .* buffers only$", lines, re.M)


def test_the_columns_of_many_steps_are_aligned(freezetui, tmp_path):
    names = [f"{number:02}.pth" for number in range(12)]
    for number, name in enumerate(names):
        torch.save({"a.weight": torch.full((3,), float(number))}, tmp_path / name)
    lines = freezetui("diff", *names, cwd=tmp_path).stdout.splitlines()
    head, *rows = lines[len(names) + 1 :]
    assert rows and {row.index("step 1") for row in rows} == {head.index("started")}


@pytest.mark.parametrize("arrays", [False, True])
@pytest.mark.parametrize("protocol", [2, 4])
def test_a_plain_pickle_is_not_called_corrupt(freezetui, folder, protocol, arrays):
    state = {name: t.numpy() if arrays else t for name, t in small_model().state_dict().items()}
    (folder / "plain.pkl").write_bytes(pickle.dumps(state, protocol))
    for command in (
        ("diff", "a.pth", "plain.pkl"),
        ("diff", "plain.pkl", "a.pth"),
        ("validate", "plain.pkl"),
    ):
        done = freezetui(*command, cwd=folder)
        assert (done.returncode, done.stdout) == (2, "")
        assert "is a plain Python pickle" in done.stderr and "corrupt" not in done.stderr


def test_what_else_the_files_contain_is_not_compared_and_is_named(freezetui, tmp_path):
    weights = {"w": torch.ones(3)}
    torch.save({"model": weights, "optimizer": {"state": {}}, "epoch": 3}, tmp_path / "a.pth")
    torch.save(weights, tmp_path / "b.pth")
    done = freezetui("diff", "a.pth", "b.pth", cwd=tmp_path)
    assert (done.returncode, done.stdout.count("not compared: optimizer, epoch")) == (0, 1)
    document = json.loads(freezetui("diff", "a.pth", "b.pth", "--json", cwd=tmp_path).stdout)
    assert [document[side]["skipped"] for side in ("before", "after")] == [["optimizer", "epoch"], []]


def test_blocks_are_folded_by_what_happened_to_them_and_by_their_freeze(freezetui, tmp_path):
    state = {f"layers.{i}.{n}": torch.ones(3, 3) for i in range(12) for n in ("a.weight", "b.weight")}
    changed = [f"layers.{i}.{n}" for i in (8, 9, 10) for n in ("a.weight", "b.weight")]
    torch.save(state, tmp_path / "a.pth")
    torch.save(state | {n: state[n] + 1 for n in changed}, tmp_path / "b.pth")
    (tmp_path / "c.yaml").write_text("freezetui: 1\nrules:\n- freeze: layers.{0..8}\n")
    text = freezetui("diff", "a.pth", "b.pth", "--config", "c.yaml", cwd=tmp_path).stdout
    rows = [line.split()[:4] for line in text.splitlines() if line[:1] in "=~" and "×" in line]
    assert rows == [["=", "same", "■", "{0..7}"], ["~", "changed", "○", "{9..10}"]]
    assert re.search(r"~ changed  ■ +8 +2 of 2 tensors", text)
    text = freezetui("diff", "a.pth", "b.pth", "b.pth", cwd=tmp_path).stdout
    assert [row for row in ("{0..7} ×8", "{8..10} ×3") if row not in text] == []


def test_a_change_to_infinity_alone_has_no_size(freezetui, tmp_path):
    torch.save({"a.weight": torch.ones(3)}, tmp_path / "a.pth")
    torch.save({"a.weight": torch.full((3,), torch.inf)}, tmp_path / "b.pth")
    line = freezetui("diff", "a.pth", "b.pth", cwd=tmp_path).stdout.splitlines()[-3]
    assert line.split()[-5:] == ["float32", "100%", "3", "became", "Inf"]


@pytest.mark.parametrize("columns", [40, 60, 80, 200])
def test_lines_fit_the_terminal_and_no_figure_is_broken(freezetui, folder, columns):
    """Each figure that a pipe gets is on one line here, too, unless its column is left out."""
    state = {f"encoder.layers.{i}.attention.{n}": torch.randn(300, 7) for i in range(2) for n in "qk"}
    other = {n: t + 0.01 for n, t in state.items()} | {"encoder.layers.0.attention.q": torch.ones(333, 7)}
    other["encoder.layers.1.attention.q"][0, 0] = torch.nan
    torch.save(state, folder / "x.pth")
    torch.save(other, folder / "y.pth")
    steps = ["x.pth", *["y.pth", "x.pth"] * 40]
    for arguments in (
        ("diff", "x.pth", "y.pth"),
        ("diff", "x.pth", "y.pth", "--sort", "change"),
        ("diff", "x.pth", "y.pth", "--stat"),
        ("diff", "a.pth", "d.pth", "--config", "run.freeze.yaml"),
        ("diff", *steps),
        ("diff", "a.pth", "d.pth", "c.pth", "--config", "run.freeze.yaml"),
        ("stats", "y.pth"),
        ("stats", "y.pth", "encoder.layers.1.attention.q"),
        ("validate", "y.pth"),
    ):
        lines = freezetui(*arguments, cwd=folder, columns=columns).stdout.splitlines()
        assert max(map(len, lines)) <= columns, arguments
        piped = freezetui(*arguments, cwd=folder).stdout
        figures = set(re.findall(r"(?<!\S)-?\d+\.\d+(?:e-\d+)?(?!\S)", piped))
        assert columns < 60 or figures <= set(" ".join(lines).split()), arguments


def test_stat_can_be_sorted_by_change(freezetui, folder):
    lines = freezetui("diff", "a.pth", "d.pth", "--stat", "--sort", "change", cwd=folder).stdout.splitlines()
    assert lines[3].startswith("stem ")
    assert len(lines) == len(freezetui("diff", "a.pth", "d.pth", "--stat", cwd=folder).stdout.splitlines())


def test_a_series_is_not_sorted_and_that_is_said(freezetui, folder):
    done = freezetui("diff", "a.pth", "c.pth", "d.pth", "--sort", "change", cwd=folder)
    assert (done.returncode, "--sort has no effect" in done.stderr) == (1, True)
    assert freezetui("diff", "a.pth", "c.pth", "d.pth", cwd=folder).stderr == ""


def test_parts_of_one_checkpoint_that_are_passed_as_a_series_are_noticed(freezetui, folder):
    for number in range(3):
        torch.save({f"layers.{number}.weight": torch.ones(number + 1)}, folder / f"part-{number}.bin")
    parts = [f"part-{number}.bin" for number in range(3)]
    assert "pass their pattern in quotes" in freezetui("diff", *parts, cwd=folder).stderr
    assert freezetui("diff", "part-*.bin", "part-*.bin", cwd=folder).returncode == 0


def test_the_same_file_twice_is_mentioned(freezetui, folder):
    (folder / "link.pth").symlink_to("a.pth")
    for other, expected in (("a.pth", True), ("link.pth", True), ("b.safetensors", False)):
        done = freezetui("diff", "a.pth", other, cwd=folder)
        assert done.returncode == 0
        assert ("BEFORE and AFTER are the same file." in done.stderr) == expected
    torch.save({"model": {"w": torch.ones(2)}, "ema": {"w": torch.zeros(2)}}, folder / "two.pth")
    done = freezetui("diff", "two.pth", "two.pth", "--key", "model", "--key-after", "ema", cwd=folder)
    assert (done.returncode, done.stderr) == (1, "")


def test_a_server_that_is_connected_to_at_once_and_does_not_answer(freezetui, folder):
    done = freezetui("diff", "a.pth", "ftp://127.0.0.1:1/x.pth", cwd=folder)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("freezetui: ftp://127.0.0.1:1/x.pth cannot be read: ")
    assert done.stderr.count("\n") == 1


def test_equal_blocks_are_folded(freezetui, tmp_path):
    state = {f"layers.{i}.{n}": torch.randn(3, 3) for i in range(12) for n in ("a.weight", "b.weight")}
    torch.save(state, tmp_path / "a.pth")
    torch.save({n: t + ("a.weight" in n) * 1.0 for n, t in state.items()}, tmp_path / "b.pth")
    output = freezetui("diff", "a.pth", "b.pth", cwd=tmp_path).stdout
    assert "{0..11} ×12" in output
    assert "in each: a.weight" in output
    assert output.count("a.weight") == 1


def test_the_json_document(freezetui, folder):
    result = freezetui("diff", "a.pth", "d.pth", "--config", "run.freeze.yaml", "--json", cwd=folder)
    document = json.loads(result.stdout)
    assert list(document) == [
        "before",
        "after",
        "matching",
        "identical",
        "verdict",
        "reason",
        "config",
        "stage",
        "totals",
        "frozen",
        "trainable",
        "buffers",
        "findings",
        "tensors",
        "absent",
    ]
    assert document["verdict"] == "moved"
    assert document["totals"]["parameters"] == {
        "tensors": 7,
        "identical": 5,
        "cast": 0,
        "changed": 2,
        "reshaped": 0,
        "added": 0,
        "removed": 0,
        "unread": 0,
    }
    assert document["frozen"] == {
        "tensors": 5,
        "held": 3,
        "moved": ["stem.0.weight", "stem.0.bias"],
        "unsure": [],
    }
    changed = document["tensors"][0]
    assert changed["name"] == "stem.0.weight"
    assert (changed["status"], changed["frozen"], changed["changed"]) == ("changed", True, 216)
    assert changed["max_delta"] == pytest.approx(0.1, rel=1e-5)
    assert document["findings"][0]["severity"] == "error"


def test_when_each_module_started_to_move(freezetui, folder):
    torch.save(torch.load(folder / "c.pth"), folder / "epoch_2.pth")
    torch.save(torch.load(folder / "a.pth"), folder / "epoch_1.pth")
    state = torch.load(folder / "c.pth")
    torch.save(
        {n: t + 0.1 if n.startswith("embed") else t for n, t in state.items()}, folder / "epoch_10.pth"
    )
    paths = sorted(str(path.name) for path in folder.glob("epoch_*.pth"))
    assert paths[1] == "epoch_10.pth"
    result = freezetui("diff", *paths, cwd=folder)
    lines = {
        line.split()[0]: line.split()[2:]
        for line in result.stdout.splitlines()
        if "step" in line or "never" in line
    }
    assert lines["stem"] == ["··", "never"]
    assert lines["head"][1:] == ["step", "1"]
    assert lines["head"][0].endswith("·")
    assert lines["embed"][1:] == ["step", "2"]
    document = json.loads(freezetui("diff", *paths, "--json", cwd=folder).stdout)
    started = {tensor["name"]: tensor["started"] for tensor in document["tensors"]}
    assert (started["head.weight"], started["embed.weight"], started["stem.0.weight"]) == (1, 2, None)
    assert [each["source"] for each in document["checkpoints"]] == [
        "epoch_1.pth",
        "epoch_2.pth",
        "epoch_10.pth",
    ]


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("e1 e10 e2", "e1 e2 e10"),
        ("zero e1 e10 e2", "zero e1 e2 e10"),
        ("e2 e1 e10", "e2 e1 e10"),
        ("e10 e2 e1", "e10 e2 e1"),
    ],
)
def test_what_a_shell_sorted_is_put_in_the_order_of_the_numbers(freezetui, folder, given, expected):
    for name in given.split():
        (folder / name).write_bytes((folder / "a.pth").read_bytes())
    lines = freezetui("diff", *given.split(), cwd=folder).stdout.splitlines()
    assert [line.split()[1] for line in lines[: lines.index("")]] == expected.split()


def test_a_key_holds_for_both_where_the_format_has_keys(freezetui, folder):
    state = torch.load(folder / "a.pth")
    torch.save({"model": state, "ema": {n: t + 1 for n, t in state.items()}}, folder / "both.pth")
    assert freezetui("diff", "both.pth", "both.pth", "--key", "ema", cwd=folder).returncode == 0
    assert (
        freezetui(
            "diff", "both.pth", "both.pth", "--key", "ema", "--key-after", "model", cwd=folder
        ).returncode
        == 1
    )
    assert freezetui("diff", "both.pth", "b.safetensors", "--key", "model", cwd=folder).returncode == 0
    assert "warning: multiple state_dicts found" in freezetui("stats", "both.pth", cwd=folder).stderr
    lacks = freezetui("diff", "a.pth", "both.pth", "--key", "ema", cwd=folder)
    assert lacks.returncode == 2 and lacks.stderr.endswith("For a key in AFTER alone, pass --key-after.\n")
    assert freezetui("diff", "a.pth", "both.pth", "--key-after", "ema", cwd=folder).returncode == 1


def test_stats(freezetui, folder):
    table = freezetui("stats", "a.pth", cwd=folder).stdout.splitlines()
    assert len(table) == 1 + 10
    one = freezetui("stats", "a.pth", "embed.weight", cwd=folder).stdout
    assert "norms of rows" in one and "norms of columns" in one
    document = json.loads(freezetui("stats", "a.pth", "stem.1", "--json", cwd=folder).stdout)
    assert [tensor["name"] for tensor in document["tensors"]] == [
        f"stem.1.{name}" for name in ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")
    ]
    assert document["tensors"][0]["min"] == document["tensors"][0]["max"] == 1
    stds = [
        row["std"]
        for row in json.loads(freezetui("stats", "a.pth", "--sort", "std", "--json", cwd=folder).stdout)[
            "tensors"
        ]
    ]
    known = [std for std in stds if std is not None]
    assert known == sorted(known, reverse=True) and stds[-1] is None
    wrong = freezetui("stats", "a.pth", "embed.wieght", cwd=folder)
    assert (wrong.returncode, "embed.weight" in wrong.stderr) == (2, True)


def test_validate(freezetui, folder):
    assert freezetui("validate", "a.pth", cwd=folder).returncode == 0
    state = torch.load(folder / "a.pth")
    state["head.bias"][1] = float("nan")
    torch.save(state, folder / "nan.pth")
    result = freezetui("validate", "nan.pth", cwd=folder)
    assert result.returncode == 1
    assert "head.bias  NaN: 1 of 4 values" in result.stdout
    document = json.loads(freezetui("validate", "nan.pth", "--json", cwd=folder).stdout)
    assert list(document) == [
        "source",
        "format",
        "valid",
        "tensors",
        "checked",
        "problems",
        "unread",
        "warnings",
    ]
    assert freezetui("validate", "run.freeze.yaml", cwd=folder).returncode == 2
    save_file({}, folder / "empty.safetensors")
    empty = freezetui("validate", "empty.safetensors", cwd=folder).stdout
    assert "warning: no tensors" in empty and "✓" not in empty
    torch.save({"w": torch.eye(3).to_sparse()}, folder / "sparse.pth")
    unread = freezetui("validate", "sparse.pth", cwd=folder)
    assert unread.returncode == 0 and "every number that can be read is finite" in unread.stdout


def test_names_with_escapes_reach_no_terminal(freezetui, tmp_path):
    folder = tmp_path / "x\x1b[31m"
    folder.mkdir()
    paths = [folder / f"{name}\x1b]0;owned\x07.pth" for name in "abc"]
    for number, path in enumerate(paths):
        state = {f"blocks.{i}.{EVIL}.weight": torch.full((2, 2), float(i + number)) for i in range(4)}
        state[f"bad{EVIL}"] = torch.tensor([float("nan")])
        if number == 1:
            state[f"only{EVIL}"] = torch.ones(1)
        torch.save(state, path)
    config = tmp_path / "c\x1b[31m.yaml"
    config.write_text("freezetui: 1\nrules:\n  - freeze: '**'\n")
    for arguments in (
        ["diff", paths[0], paths[1]],
        ["diff", paths[0], paths[1], "--sort", "change"],
        ["diff", paths[0], paths[1], "--stat"],
        ["diff", paths[0], paths[1], "--json"],
        ["diff", paths[0], paths[1], "--config", config],
        ["diff", *paths],
        ["diff", paths[0], paths[1], "--key", "\x1b[31m"],
        ["stats", paths[0]],
        ["stats", paths[0], "blocks.0.**"],
        ["stats", paths[0], "\x1b[31m"],
        ["validate", paths[0]],
        ["validate", paths[0], "--json"],
    ):
        result = freezetui(*arguments)
        assert "Traceback" not in result.stderr, result.stderr
        text = result.stdout + result.stderr
        assert {c for c in text if not c.isprintable() and c != "\n"} == set(), arguments


def holes(path: Path, nbytes: int) -> Path:
    """Write a safetensors file of one float32 tensor that takes no room on the disk."""
    header = json.dumps(
        {"w.weight": {"dtype": "F32", "shape": [nbytes // 4], "data_offsets": [0, nbytes]}}
    ).encode()
    with path.open("wb") as file:
        file.write(len(header).to_bytes(8, "little") + header)
        file.truncate(8 + len(header) + nbytes)
    return path


def running(*arguments: str | Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "freezetui", *map(str, arguments)]
    return subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # A shell starts what it puts in the background with SIGINT ignored, and children inherit that.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )


def anonymous(pid: int) -> int:
    """Bytes of anonymous memory that a process holds; 0 once it has ended."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0
    found = re.search(r"RssAnon:\s+(\d+) kB", status)
    return int(found[1]) * 1024 if found else 0


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs /proc")
@pytest.mark.parametrize("command", ["same", "changed", "stats", "validate"])
def test_memory_does_not_grow_with_the_files(tmp_path, command):
    one = holes(tmp_path / "a.safetensors", 2**29)
    other = holes(tmp_path / "b.safetensors", 2**29)
    if command == "changed":
        with other.open("r+b") as file:
            file.seek(2**28)
            file.write(b"\x3f")
    arguments = [command, one] if command in ("stats", "validate") else ["diff", one, other]
    process = running(*arguments)
    peak = 0
    while process.poll() is None:
        peak = max(peak, anonymous(process.pid))
        time.sleep(0.005)
    assert process.returncode == (command == "changed"), process.communicate()
    assert 0 < peak < 100e6


@pytest.mark.slow
def test_ctrl_c_ends_it_with_130(tmp_path):
    one, other = holes(tmp_path / "a.safetensors", 2**34), holes(tmp_path / "b.safetensors", 2**34)
    process = running("diff", one, other)
    time.sleep(2)
    assert process.poll() is None
    started = time.monotonic()
    os.kill(process.pid, signal.SIGINT)
    _, errors = process.communicate(timeout=30)
    assert (process.returncode, "Interrupted" in errors) == (130, True), errors
    assert time.monotonic() - started < 5
