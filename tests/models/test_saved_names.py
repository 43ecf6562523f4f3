"""The reverse map: what a live model alone tells of its file, believed only where a fingerprint proves it."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from freezetui.checkpoint.open import open_checkpoint
from freezetui.config.schema import fingerprint
from freezetui.models.saved_names import Saved, guesses
from support import tiny_transformers as tiny
from support.name_values import compare, marked

#: Their files on the hub hold parameters, or what looks like them, that the model lacks.
UNPROVED = {"BertForMaskedLM", "GPT2LMHeadModel", "RobertaForMaskedLM", "T5ForConditionalGeneration"}


def proved_by(wanted: str):
    return lambda tensors: fingerprint(tensors) == wanted


def saved_names(model: nn.Module, proves) -> Saved | None:
    return next(guesses(model, proves), None)


@pytest.mark.parametrize("name", tiny.FAMILIES)
def test_a_saved_model_proves_its_own_names(name: str, tmp_path: Path) -> None:
    import transformers

    filled, marks = marked(tiny.saved(tiny.build(name), tmp_path))
    tiny.put(tmp_path, filled)
    model = getattr(transformers, name).from_pretrained(tmp_path)
    wanted = fingerprint(open_checkpoint(str(tmp_path)).tensors)
    saved = saved_names(model, proved_by(wanted))
    assert saved is not None and fingerprint(saved.tensors) == wanted
    verdict = compare(model, saved.names, marks)
    assert (verdict.wrong, verdict.lost) == ([], []) and verdict.right
    assert saved_names(model, proved_by("sha256:another")) is None


@pytest.mark.parametrize("name", sorted(UNPROVED))
def test_a_file_with_more_than_the_model_proves_nothing(name: str, tmp_path: Path) -> None:
    import transformers

    tiny.put(tmp_path, tiny.hub_shaped(name, tiny.saved(tiny.build(name), tmp_path)))
    model = getattr(transformers, name).from_pretrained(tmp_path)
    assert saved_names(model, proved_by(fingerprint(open_checkpoint(str(tmp_path)).tensors))) is None


def test_gpt2s_file_without_its_prefix(tmp_path: Path) -> None:
    model = tiny.build("GPT2LMHeadModel")
    tensors = tiny.saved(model, tmp_path)
    tiny.put(tmp_path, {key.removeprefix("transformer."): t for key, t in tensors.items()})
    checkpoint = open_checkpoint(str(tmp_path))
    saved = saved_names(model, proved_by(fingerprint(checkpoint.tensors)))
    assert saved is not None and saved.names.live_of("wte.weight") == (
        "transformer.wte.weight",
        "lm_head.weight",
    )


def test_a_wrapped_model_of_torch(tmp_path: Path) -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Linear(4, 5))
    torch.save(model.state_dict(), tmp_path / "net.pth")
    wanted = fingerprint(open_checkpoint(str(tmp_path / "net.pth")).tensors)
    saved = saved_names(torch.compile(model), proved_by(wanted))
    assert saved is not None and saved.names.live_of("2.weight") == ("_orig_mod.2.weight",)
