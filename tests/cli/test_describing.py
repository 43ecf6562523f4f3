"""`freezetui plan` with the describer: towers, ties that the file does not show, and doing without."""

from __future__ import annotations

from pathlib import Path

import pytest

from support import tiny_transformers as tiny
from support.command_line import Done, run


def plan(directory: Path, *arguments: object, **variables: str) -> Done:
    return run("plan", directory, *arguments, **variables)


@pytest.fixture(scope="module")
def gpt2(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("gpt2")
    tiny.saved(tiny.build("GPT2LMHeadModel"), directory)
    return directory


def test_a_name_that_is_tied_away_is_told_from_a_misspelled_one(gpt2: Path, in_process: None) -> None:
    done = plan(gpt2, "--freeze", "lm_head")
    assert done.returncode == 2 and done.stderr.count("\n") == 1
    assert "lm_head.weight is tied to transformer.wte.weight. Write transformer.wte.weight." in done.stderr
    assert "Closest: transformer" in plan(gpt2, "--freeze", "transformr").stderr


def test_the_plan_tells_ties_that_the_file_does_not_show(
    gpt2: Path, tmp_path: Path, in_process: None
) -> None:
    done = plan(gpt2, "--preset", "head", "-o", tmp_path / "head.yaml")
    assert done.returncode == 0, done.stderr
    assert "lm_head.weight is tied to transformer.wte.weight" in done.stdout
    assert "1 tensor" in done.stdout


def test_without_the_describer_a_preset_says_what_it_goes_by(gpt2: Path, tmp_path: Path) -> None:
    for arguments, variables in ((["--no-engine"], {}), ([], {"FREEZETUI_ENGINE": "0"})):
        output = tmp_path / "last.yaml"
        done = plan(gpt2, "--preset", "last-blocks:1", "-o", output, *arguments, **variables)
        assert done.returncode == 0 and "the preset goes by names" in done.stderr


def test_a_model_of_towers_names_the_choices(tmp_path: Path, in_process: None) -> None:
    tiny.saved(tiny.build("CLIPModel"), tmp_path)
    done = plan(tmp_path, "--preset", "head")
    assert done.returncode == 2 and "Choose head:text or head:vision." in done.stderr
    done = plan(tmp_path, "--preset", "last-blocks:1:vision", "-o", tmp_path / "v.yaml")
    assert done.returncode == 0, done.stderr
    assert "19 tensors" in done.stdout


def test_a_python_that_does_not_exist_is_one_line(gpt2: Path) -> None:
    done = plan(gpt2, "--preset", "head", "--python", "/no/such/python")
    assert done.returncode == 2 and "is not a Python interpreter" in done.stderr
