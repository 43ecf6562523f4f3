"""What could not be compared is not called unchanged: data that both sides lack, steps of a series."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from freezetui.checkpoint.open import open_checkpoint
from freezetui.checkpoint.types import Checkpoint
from freezetui.cli.main import run
from freezetui.diff.run import diff, diff_series
from freezetui.errors import ConfigError
from freezetui.formatting.diff import diff_lines
from freezetui.formatting.series import series_lines

from .conftest import told


def lacking(folder: Path, *missing: str) -> Checkpoint:
    """Return a checkpoint in shards `0` and `1`, the second of which is missing, and names in no shard."""
    folder.mkdir()
    save_file({"a.weight": torch.ones(3)}, folder / "0.safetensors")
    index = {"a.weight": "0.safetensors", "b.weight": "1.safetensors"} | dict.fromkeys(
        missing, "0.safetensors"
    )
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": index}))
    return open_checkpoint(folder)


def test_data_that_both_sides_lack_is_not_compared(tmp_path):
    one, other = lacking(tmp_path / "one"), lacking(tmp_path / "other")
    report = diff(one, other)
    assert (report.exit_code, report.identical, report.absent) == (2, False, ("b.weight",))
    assert report.not_compared.startswith("1 tensor could not be compared: listed in the index")
    assert report.document()["absent"] == ("b.weight",)
    assert "no data           1 tensor: listed in an index, but not in its files" in list(diff_lines(report))


def test_what_one_side_lists_and_neither_has_is_not_compared(tmp_path):
    torch.save({"a.weight": torch.ones(3), "b.weight": torch.ones(3)}, tmp_path / "whole.pth")
    whole = open_checkpoint(tmp_path / "whole.pth")
    for sides in ((whole, lacking(tmp_path / "after", "c")), (lacking(tmp_path / "before", "c"), whole)):
        report = diff(*sides)
        assert (report.exit_code, report.absent) == (2, ("c",))
        assert told(report, "b.weight").status == "unread"


def test_data_that_a_part_lacks_is_not_called_removed(tmp_path):
    """The other side has the same tensors below a path."""
    torch.save({f"body.{name}.weight": torch.ones(3) for name in "ab"}, tmp_path / "whole.pth")
    whole, part = open_checkpoint(tmp_path / "whole.pth"), lacking(tmp_path / "part")
    for sides, name in (((whole, part), "body.b.weight"), ((part, whole), "b.weight")):
        report = diff(*sides)
        assert (report.exit_code, report.absent, told(report, name).status) == (2, (), "unread")
        assert {tensor.status for tensor in report.tensors} == {"identical", "unread"}


def test_nothing_is_held_whose_data_both_sides_lack(tmp_path):
    one, other = lacking(tmp_path / "one"), lacking(tmp_path / "other")
    config = tmp_path / "c.freeze.yaml"
    config.write_text("freezetui: 1\nrules:\n  - freeze: a\n")
    report = diff(one, other, config)
    assert (report.exit_code, report.judged.verdict) == (3, "inconclusive")
    assert report.judged.reason == "the data of 1 tensor that an index lists is missing"
    config.write_text("freezetui: 1\nrules:\n  - freeze: b\n")
    with pytest.raises(ConfigError) as refused:
        diff(one, other, config)
    assert "are missing: download them" in refused.value.hint


def test_a_step_that_was_not_compared_is_not_without_change(tmp_path):
    for name, parts in {"zero": (0, 1, 0), "one": (0, 1, 0), "two": (0, 1, 1)}.items():
        values = [torch.full((2,), float(part)) for part in parts]
        state = dict(zip(("a.weight", "b.weight", "c.weight"), values, strict=True))
        torch.save(state | {"a.weight": state["a.weight"].to("meta")}, tmp_path / f"{name}.pth")
    series = diff_series([open_checkpoint(tmp_path / f"{name}.pth") for name in ("zero", "one", "two")])
    lines = list(series_lines(series))
    rows = {words[0]: words[2:] for line in lines if len(words := line.split()) > 3}
    assert (rows["a"], rows["b"]) == (["??", "not", "known"], ["··", "never"])
    assert rows["model"][0].startswith("?") and rows["model"][1:] == ["step", "2"]
    assert "? not all of it could be compared" in lines


def test_a_series_prints_the_warnings_and_the_matching_of_each_file_once(tmp_path):
    both = {"model": {"a.weight": torch.ones(3)}, "ema": {"a.weight": torch.zeros(3)}}
    torch.save(both, tmp_path / "both.pth")
    torch.save({"body.a.weight": torch.ones(3), "head": torch.ones(1)}, tmp_path / "below.pth")
    both, below = (open_checkpoint(tmp_path / f"{name}.pth") for name in ("both", "below"))
    lines = [line.strip() for line in series_lines(diff_series([both, lacking(tmp_path / "one"), below]))]
    files = lines[: lines.index("")]
    assert [line.split(":")[0] for line in files[1:4:2]] == ["warning", "warning"]
    assert len(files) == 6 and files[-1] == "matched below a path: AFTER has the prefix body."


def test_stats_say_that_the_data_of_a_tensor_is_missing(tmp_path, capsys, monkeypatch):
    lacking(tmp_path / "one", "c.weight")
    for pattern, words in (("b", "b.weight is listed"), ("{b,c}", "b.weight, c.weight are listed")):
        monkeypatch.setattr(sys, "argv", ["freezetui", "stats", str(tmp_path / "one"), pattern])
        with pytest.raises(SystemExit) as ended:
            run()
        error = capsys.readouterr().err
        assert (ended.value.code, error.count("\n")) == (2, 1)
        assert f"{words} in the index, but in none of the files: missing: 1.safetensors" in error


@pytest.mark.parametrize("scale", ["weight_scale", "weight_scale_inv", "SCB"])
def test_a_quantized_export_of_frozen_weights_has_not_moved_them(tmp_path, scale):
    weight = torch.randn(4, 4, generator=torch.Generator().manual_seed(0)).bfloat16()
    factor = weight.float().abs().max() / 448
    save_file({"a.weight": weight, "head.weight": weight + 0}, tmp_path / "base.safetensors")
    exported = {"a.weight": (weight.float() / factor).to(torch.float8_e4m3fn), f"a.{scale}": factor}
    save_file({**exported, "head.weight": weight + 1}, tmp_path / "export.safetensors")
    config = tmp_path / "c.freeze.yaml"
    config.write_text("freezetui: 1\nrules:\n  - freeze: a\n")
    report = diff(*(open_checkpoint(tmp_path / f"{name}.safetensors") for name in ("base", "export")), config)
    assert report.judged.verdict == "inconclusive"
    assert told(report, "a.weight").reason == "bfloat16 and float8_e4m3fn cannot be compared: one has a scale"
    assert told(report, "head.weight").status == "changed"
