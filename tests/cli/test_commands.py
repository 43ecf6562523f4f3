"""The commands: what they print, where, and how they end."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from freezetui import __version__
from support.command_line import Done, run

SAMPLES = Path(__file__).resolve().parents[2] / "sample_ckpts"


@pytest.fixture
def vgg(tmp_path: Path) -> Path:
    return Path(shutil.copy(SAMPLES / "vgg_digits.pth", tmp_path))


def assert_one_line(result: Done, *parts: str) -> None:
    assert result.returncode == 2, result
    assert result.stdout == ""
    assert result.stderr.count("\n") == 1, result.stderr
    for part in parts:
        assert part in result.stderr


def test_show_json_has_the_fields_of_the_contract(vgg):
    result = run("show", vgg, "--json")
    document = json.loads(result.stdout)
    assert list(document) == [
        "source",
        "format",
        "architecture",
        "unwrapped",
        "warnings",
        "totals",
        "tensors",
    ]
    assert document["architecture"] == "torchvision:vgg16"
    assert document["totals"]["parameters"]["tensors"] == len(document["tensors"]) == 32
    assert list(document["totals"]) == ["parameters", "buffers", "frozen", "trainable"]
    assert document["tensors"][0] == {
        "name": "features.0.weight",
        "shape": [16, 3, 3, 3],
        "dtype": "float32",
        "elements": 432,
        "bytes": 1728,
        "kind": "parameter",
        "requires_grad": None,
        "frozen": False,
        "tied_to": [],
    }


def test_without_a_terminal_open_prints_what_show_prints(vgg):
    assert run(vgg).stdout == run("show", vgg).stdout
    assert "features" in run(vgg).stdout


def test_show_depth_and_config(vgg):
    assert run("plan", vgg, "--freeze", "features").returncode == 0
    shallow = run("show", vgg, "--depth", "1").stdout
    assert "features" in shallow
    assert "weight" not in shallow
    assert "■ frozen" in shallow
    other = vgg.with_name("other.freeze.yaml")
    other.write_text("freezetui: 1\nrules:\n  - freeze: classifier\n")
    totals = json.loads(run("show", vgg, "--config", other, "--json").stdout)["totals"]
    assert totals["frozen"]["tensors"] == 6


def test_plan_takes_freeze_and_train_in_the_order_given(vgg):
    result = run("plan", vgg, "--freeze", "features", "--train", "features.{24..28}", "--freeze", "**.bias")
    assert result.returncode == 0
    shown = json.loads(run("show", vgg, "--json").stdout)["tensors"]
    mask = {tensor["name"] for tensor in shown if not tensor["frozen"]}
    assert mask == {f"features.{i}.weight" for i in (24, 26, 28)} | {
        f"classifier.{i}.weight" for i in (0, 3, 6)
    }
    result = run(
        "plan", vgg, "--train", "features.{24..28}", "--freeze", "features", "-o", vgg.with_name("b.yaml")
    )
    assert result.returncode == 0
    assert "26 tensors" in result.stdout


def test_blocks_of_different_states_are_no_one_line(tmp_path):
    config = tmp_path / "c.freeze.yaml"
    run("plan", SAMPLES / "tiny_transformer.pth", "--freeze", "layers.0", "-o", config)
    lines = run("show", SAMPLES / "tiny_transformer.pth", "--config", config).stdout
    assert "×6" not in lines
    assert "■ frozen      0 " in lines


def test_the_root_is_named_after_the_checkpoint_not_the_config(tmp_path):
    config = tmp_path / "other.freeze.yaml"
    saved = run("plan", SAMPLES / "vgg_digits.pth", "--freeze", "features", "-o", config)
    assert saved.stderr == f"Saved {config}\n"
    lines = run("show", SAMPLES / "vgg_digits.pth", "--config", config, "--depth", "0").stdout
    assert "◐ mixed   vgg16 " in lines


def test_plan_does_not_overwrite_the_config_of_another_checkpoint(vgg, tmp_path, in_process):
    other, config = SAMPLES / "tiny_transformer.pth", vgg.with_suffix(".freeze.yaml")
    assert run("plan", vgg, "--freeze", "features").returncode == 0
    before = config.read_bytes()
    for more in ([], ["--stage", "warm"]):
        refused = run("plan", other, "--freeze", "layers.0", *more, "-o", config)
        assert_one_line(refused, f"was saved for {vgg.name}, which has different names or shapes", "-o FILE")
    assert config.read_bytes() == before
    assert run("plan", other, "--freeze", "layers.0", "-o", tmp_path / "new.yaml").returncode == 0
    shutil.copy(other, vgg)  # the same checkpoint, which is another model now
    done = run("plan", vgg, "--freeze", "layers.0")
    assert done.returncode == 0 and done.stderr.startswith(f"Overwriting {config}: frozen: expected 26")


@pytest.mark.torch
def test_a_preset_goes_by_the_describer_where_it_may_start(vgg, forked):
    done = run("plan", vgg, "--preset", "head")
    assert "6 tensors" in done.stdout
    assert "goes by names" not in done.stderr


def test_presets_that_match_nothing(vgg, in_process):
    assert_one_line(run("plan", vgg, "--preset", "haed"), "haed", "last-blocks")
    assert_one_line(run("plan", vgg, "--preset", "norms"), "the preset 'norms' matches nothing")
    assert_one_line(run("plan", vgg, "--preset", "last-blocks:99"), "13 repeated blocks")
    transformer = SAMPLES / "tiny_transformer.pth"
    assert_one_line(run("plan", transformer, "--preset", "last-blocks:99"), "6 repeated blocks")


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (["show", "missing.pth"], ["missing.pth", "does not exist"]),
        (["missing.pth"], ["missing.pth", "does not exist"]),
        (["show", "/"], ["/ contains no checkpoint"]),
        (["plan", "vgg_digits.pth", "--freeze", "classifer"], ["classifer", "classifier"]),
        (["show", "vgg_digits.pth", "--key", "ema"], ["ema"]),
        (["show", "vgg_digits.pth", "--config", "none.yaml"], ["none.yaml"]),
        (["check", "vgg_digits.pth", "--config", "bad.yaml"], ["bad.yaml", "line 2", "Valid"]),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(vgg, arguments, parts):
    vgg.with_name("bad.yaml").write_text("freezetui: 1\nrulez: []\n")
    assert_one_line(run(*arguments, cwd=vgg.parent), *parts)


def test_control_characters_never_reach_the_terminal(tmp_path):
    path = tmp_path / "a\x1b[31mred.pth"
    path.write_bytes(b"nothing")
    for arguments in ([path], ["show", path], ["show", tmp_path / "\u202eevil"]):
        result = run(*arguments)
        assert result.returncode == 2
        assert "\x1b" not in result.stderr
        assert "\u202e" not in result.stderr


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (["check", "x", "--device", "gpu"], ["gpu", "cuda:N"]),
        (["check", "x", "--input", "3xa"], ["3xa", "3,224,224"]),
        (["check", "x", "--steps", "0"], ["0", "freezetui check --help"]),
        (["check", "x", "--stepz", "3"], ["--stepz", "--steps"]),
        (["show"], ["PATH", "freezetui show --help"]),
        (["show", ""], ["empty"]),
        (["--nope"], ["--nope"]),
        (["chekc", "vgg_digits.pth"], ["chekc", "Did you mean 'check'? See freezetui --help."]),
        (["plan2", "vgg_digits.pth"], ["plan2 does not exist"]),
        (["check", "vgg_digits.pth", "--input", "²,3"], ["not a valid shape"]),
        (["check", "vgg_digits.pth", "--input", "9" * 5000 + ",3"], ["not a valid shape"]),
        pytest.param(
            ["check", "vgg_digits.pth", "--arg", "a=" + "[" * 100_000], ["a='["], marks=pytest.mark.torch
        ),
        (["plan", "vgg_digits.pth"], ["Nothing to do"]),
        (["plan", "vgg_digits.pth", "--preset", ""], ["''"]),
        (["plan", "vgg_digits.pth", "--preset", "last-blocks:²"], ["²"]),
        (["plan", "vgg_digits.pth", "--freeze", "features", "-o", "x" * 300 + ".yaml"], ["too long"]),
        (["show", "x" * 300], ["too long"]),
    ],
)
def test_bad_usage_is_one_line_and_exit_code_2(vgg, arguments, parts, in_process):
    result = run(*arguments, cwd=vgg.parent)
    if "importing torch" in result.stderr:  # what the factory makes of its arguments comes after progress
        result = result._replace(stderr=result.stderr.splitlines(keepends=True)[-1])
    assert_one_line(result, *parts)


def test_without_arguments_it_prints_the_help():
    result = run()
    assert result.returncode == 2
    assert "freezetui show model.pth" in result.stderr


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_output_that_cannot_be_written_is_one_line(vgg):
    with Path("/dev/full").open("w") as full:
        result = subprocess.run(
            [sys.executable, "-m", "freezetui", "show", vgg], stdout=full, stderr=subprocess.PIPE, text=True
        )
    assert (result.returncode, result.stderr.count("\n")) == (2, 1), result.stderr


def test_help_version_and_completion():
    assert __version__ in run("--version").stdout
    assert "freezetui show model.pth" in run("--help").stdout
    assert "_FREEZETUI_COMPLETE" in run(_FREEZETUI_COMPLETE="bash_source").stdout
    for command in ("open", "show", "plan", "check"):
        assert "Usage" in run(command, "--help").stdout


@pytest.mark.parametrize(
    ("words", "completed"),
    [("sh", "plain,show"), ("vgg", "file,vgg"), ("x.pth --ke", "plain,--key"), ("check x --device m", "mps")],
)
def test_completion_knows_commands_files_and_options(words, completed):
    line = f"freezetui {words}"
    number = str(len(line.split()) - 1)
    result = run(COMP_WORDS=line, COMP_CWORD=number, _FREEZETUI_COMPLETE="bash_complete")
    assert completed in result.stdout


def test_a_factory_named_by_the_config_is_not_imported_unasked(vgg):
    factory = vgg.with_name("factory.py")
    factory.write_text("open('ran', 'w')\n")
    config = vgg.with_name("vgg_digits.freeze.yaml")
    config.write_text(
        "freezetui: 1\nmodel:\n  architecture: factory.py:build\nrules:\n  - freeze: features\n"
    )
    result = run("check", vgg, cwd=vgg.parent)
    assert_one_line(result, "factory.py:build", "--architecture")
    assert not vgg.with_name("ran").exists()


@pytest.mark.torch
@pytest.mark.slow
def test_check_held_as_json_and_the_checkpoint_is_untouched(vgg, forked):
    before = vgg.read_bytes()
    run("plan", vgg, "--freeze", "features")
    result = run("check", vgg, "--json", "--device", "cpu")
    report = json.loads(result.stdout)
    assert result.returncode == 0, result
    assert report["verdict"] == "held"
    assert report["forward"] is True
    assert report["frozen"]["held"] == report["frozen"]["tensors"] == 26
    assert report["trainable"]["moved"] == 6
    assert "importing torch" in result.stderr
    assert vgg.read_bytes() == before


@pytest.mark.torch
@pytest.mark.slow
def test_check_finds_what_moves_a_frozen_weight(tmp_path, in_process):
    """An Embedding with max_norm rewrites its frozen weight in the forward itself."""
    import torch

    factory = tmp_path / "factory.py"
    factory.write_text(
        "from torch import nn\n"
        "def build():\n"
        "    return nn.Sequential(nn.Embedding(8, 4, max_norm=0.1), nn.Flatten(), nn.Linear(16, 2))\n"
    )
    model = torch.nn.Sequential(torch.nn.Embedding(8, 4), torch.nn.Flatten(), torch.nn.Linear(16, 2))
    path = tmp_path / "model.pt"
    torch.save(model.state_dict(), path)
    run("plan", path, "--freeze", "0")
    result = run("check", path, "--architecture", f"{factory}:build", "--input", "4", "--json")
    report = json.loads(result.stdout)
    assert result.returncode == 1, result
    assert report["frozen"]["moved"] == ["0.weight"]
    assert any(finding["code"] == "M5" for finding in report["findings"])


@pytest.mark.torch
@pytest.mark.parametrize(
    ("end", "said"),
    [
        ("rules:\n  - freeze: feetures\n", "feetures"),
        (
            "rules:\n  - freeze: features\nexpect:\n  frozen: {tensors: 1, elements: 1}\n"
            "  trainable: {tensors: 6, elements: 236170}\n",
            "1 tensor",
        ),
        (
            "rules:\n  - freeze: features\nexpect:\n  frozen: {tensors: 26, elements: 154688, "
            "fingerprint: 'sha256:00'}\n",
            "different names or shapes",
        ),
    ],
)
def test_check_refuses_a_config_that_a_script_would_refuse(vgg, end, said):
    vgg.with_name("vgg_digits.freeze.yaml").write_text("freezetui: 1\n" + end)
    assert_one_line(run("check", vgg), said)


@pytest.mark.torch
@pytest.mark.slow
def test_check_without_an_architecture_is_inconclusive(tmp_path, in_process):
    import torch

    path = tmp_path / "model.pt"
    torch.save({"a.weight": torch.ones(3, 3), "b.weight": torch.ones(3, 3)}, path)
    run("plan", path, "--freeze", "a")
    result = run("check", path)
    assert result.returncode == 3, result
    assert "no forward pass" in result.stdout
