"""`freezetui export`: code on stdout, one line for each error."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from support import command_line

SAMPLES = Path(__file__).resolve().parents[2] / "sample_ckpts"
CONFIG = "freezetui: 1\nmodel: {checkpoint: vgg_digits.pth}\nrules:\n  - freeze: features\n"
STAGES = "stages:\n  - name: head\n  - {name: all, rules: [{train: '**'}]}\n"


@pytest.fixture
def config(tmp_path: Path) -> Path:
    shutil.copy(SAMPLES / "vgg_digits.pth", tmp_path)
    path = tmp_path / "vgg.freeze.yaml"
    path.write_text(CONFIG + STAGES)
    return path


def export(config: Path, *options: str, to: str = "python") -> command_line.Done:
    return command_line.run("export", config, "--to", to, *options, COLUMNS="200")


def test_the_code_is_all_that_stdout_has(config):
    result = export(config)
    assert (result.returncode, result.stderr) == (0, "")
    assert '    "head": ("features.",),\n    "all": (),\n' in result.stdout
    assert result.stdout.endswith('these names"\n    )\n')
    one = export(config, "--stage", "head").stdout
    assert '\nFROZEN = ("features.",)\n' in one
    assert "stage" not in one


@pytest.mark.parametrize(
    ("text", "options", "said"),
    [
        (CONFIG, ["--to", "keras"], "'keras' is not 'python'. See freezetui export --help."),
        (CONFIG, ["--stage", "x"], "the config has no stage 'x'. It has no stages."),
        (CONFIG.replace("vgg_digits", "gone"), [], "names 'gone.pth', which does not exist"),
        (CONFIG.replace("{checkpoint: vgg_digits.pth}", "{}"), [], "Pass --checkpoint PATH."),
        (CONFIG.replace("features", "feature"), [], "'feature' matches no parameter. Closest: features."),
        (
            CONFIG + "expect:\n  frozen: {tensors: 3, elements: 5}\n",
            [],
            "the config does not fit the checkpoint: frozen: expected 3 tensors (5 elements), found 26",
        ),
    ],
)
def test_errors_are_one_line(config, text, options, said):
    config.write_text(text)
    result = export(config, *options)
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr.count("\n") == 1, result.stderr
    assert said in result.stderr


def test_another_checkpoint_can_be_passed(config):
    moved = config.parent / "moved.pth"
    (config.parent / "vgg_digits.pth").rename(moved)
    result = export(config, "--checkpoint", str(moved))
    assert result.returncode == 0, result.stderr
    assert f"of the checkpoint {moved}." in result.stdout.replace("\n# ", " ")


@pytest.mark.torch
@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "pattern"),
    [("BertForMaskedLM", "bert"), ("ViTForImageClassification", "vit"), ("MixtralForCausalLM", "model")],
)
def test_names_are_the_live_ones_where_a_library_renames(tmp_path, name, pattern, in_process):
    import transformers

    from freezetui.training.config import FreezeConfig
    from support import tiny_transformers as tiny

    tensors = tiny.saved(tiny.build(name), tmp_path / "m")
    if name in tiny.HUB:
        tiny.put(tmp_path / "m", tiny.hub_shaped(name, tensors))
    path = tmp_path / "m.freeze.yaml"
    path.write_text(f"freezetui: 1\nmodel: {{checkpoint: m}}\nrules:\n  - freeze: {pattern}\n")
    result = export(path)
    assert result.returncode == 0, result.stderr
    assert f"Names are those of a {name} loaded from" in result.stdout
    namespace = {}
    exec(result.stdout, namespace)
    model, other = (getattr(transformers, name).from_pretrained(tmp_path / "m") for _ in range(2))
    namespace["freeze"](model)
    FreezeConfig.load(path).apply(other, checkpoint=tmp_path / "m")
    flags = [{n: p.requires_grad for n, p in m.named_parameters()} for m in (model, other)]
    assert flags[0] == flags[1] and len(set(flags[0].values())) == 2
