"""Models of transformers, built from the config beside their checkpoint and checked like any other."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
import torch

from freezetui.config.schema import ConfigData
from freezetui.engine.check import check
from freezetui.errors import ModelError
from freezetui.freeze.rules import Rule
from freezetui.model_spec import ModelSpec
from freezetui.sanity.protocol import CheckRequest
from freezetui.session.options import Options
from freezetui.session.session import Session


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small GPT-2 with tied embeddings, in shards, as transformers saves it."""
    from transformers import GPT2Config, GPT2LMHeadModel

    folder = tmp_path_factory.mktemp("models") / "gpt2-1.5"
    torch.manual_seed(0)
    sizes = {"n_embd": 16, "n_layer": 3, "n_head": 2, "n_positions": 32, "vocab_size": 60}
    GPT2LMHeadModel(GPT2Config(**sizes, bos_token_id=0, eos_token_id=1)).save_pretrained(
        folder, max_shard_size="20KB"
    )
    return folder


def request(folder: Path, **settings: object) -> CheckRequest:
    return CheckRequest(
        checkpoint=str(folder),
        model=ModelSpec("transformers:GPT2LMHeadModel"),
        config=ConfigData(rules=(Rule("freeze", "transformer.h.{0..1}"),)),
        device="cpu",
        **settings,
    )


def test_the_sanity_step_runs_the_real_model(folder: Path) -> None:
    report = check(request(folder))
    assert (report.verdict, report.forward) == ("held", True)
    assert report.frozen.tensors == report.frozen.held == 24
    assert not report.trainable.still


def test_a_session_takes_it_from_the_config_and_names_the_folder_whole(folder: Path) -> None:
    session = Session(Options(str(folder)))
    assert session.architecture.model.architecture == "transformers:GPT2LMHeadModel"
    assert session.architecture.label == "transformers GPT2LMHeadModel"
    assert session.architecture.trusted
    assert session.config_path == folder.parent / "gpt2-1.5.freeze.yaml"
    path = session.save()
    again = Session(Options(str(folder)))
    assert again.config is not None
    assert again.config.model.checkpoint == "gpt2-1.5"
    assert again.architecture.trusted  # no question: only the library itself is run
    path.unlink()


def test_what_a_config_names_is_asked_for(folder: Path) -> None:
    path = folder.parent / "gpt2-1.5.freeze.yaml"
    path.write_text("freezetui: 1\nmodel: {architecture: 'timm:create_model', arguments: {model_name: x}}\n")
    assert not Session(Options(str(folder))).architecture.trusted
    path.unlink()


@pytest.mark.parametrize("name", ["GPT2LMHead", "pipeline", "AutoModel", "GPT2Config"])
def test_only_model_classes_are_built(folder: Path, name: str) -> None:
    asked = CheckRequest(checkpoint=str(folder), model=ModelSpec(f"transformers:{name}"), device="cpu")
    with pytest.raises(ModelError, match=f"has no model class {name}"):
        check(asked)


def test_without_a_config_it_says_what_is_missing(tmp_path: Path) -> None:
    torch.save({"wte.weight": torch.ones(2, 2)}, weights := tmp_path / "model.pth")
    asked = CheckRequest(
        checkpoint=str(weights), model=ModelSpec("transformers:GPT2LMHeadModel"), device="cpu"
    )
    with pytest.raises(ModelError, match=r"needs a config\.json beside the checkpoint") as raised:
        check(asked)
    assert "Copy it there" in raised.value.hint


def test_without_transformers_it_says_what_to_install(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(ModelError, match="not installed") as raised:
        check(request(folder))
    assert "freezetui[transformers]" in raised.value.hint


def test_without_its_config_it_says_what_is_missing(tmp_path: Path) -> None:
    torch.save({"wte.weight": torch.ones(2, 2)}, tmp_path / "gpt2.pth")
    with pytest.raises(ModelError, match=r"needs a config\.json beside the checkpoint") as raised:
        check(request(tmp_path / "gpt2.pth"))
    assert str(tmp_path) in raised.value.message


def test_code_beside_the_config_is_not_run(folder: Path, tmp_path: Path) -> None:
    """`auto_map` asks transformers to import a file of the folder."""
    for file in folder.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    config = json.loads((tmp_path / "config.json").read_text())
    config["auto_map"] = {"AutoConfig": "evil.Config", "AutoModelForCausalLM": "evil.Model"}
    (tmp_path / "config.json").write_text(json.dumps(config))
    (tmp_path / "evil.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')")
    assert check(request(tmp_path)).verdict == "held"
    assert not (tmp_path / "ran").exists()
