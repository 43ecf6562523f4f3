"""The describer as a real process: asked, starved, killed, fed hostile configs, outlived by nobody."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import nn

from freezetui.description.client import Describer
from freezetui.description.protocol import DescribeRequest
from freezetui.errors import EngineError
from support import tiny_transformers as tiny
from support.describing import built_by, described, request
from support.forked import SUBPROCESS
from support.processes import alive, ends

ROOT = Path(__file__).resolve().parents[2]
VGG = ROOT / "sample_ckpts" / "vgg_digits.pth"
SHUFFLENET = ROOT / "sample_ckpts" / "shufflenet_digits.safetensors"


@pytest.fixture(scope="module")
def describer() -> Iterator[Describer]:
    one = Describer()
    yield one
    one.close()


def bert(folder: Path, **changes: object) -> Path:
    """Save a tiny BERT, and a config.json that claims something else."""
    tiny.saved(tiny.build("BertForMaskedLM"), folder)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, **changes}))
    return folder


def refused() -> DescribeRequest:
    """Return a request that is answered without the import of a library."""
    return built_by(request(VGG), "os:system")


def answers(describer: Describer) -> bool:
    """Whether it answers, started if it has to be."""
    return "is not a model of" in str(describer.describe(refused()).exception(timeout=200))


def test_one_process_answers_several_requests(describer: Describer) -> None:
    first = described(describer, VGG)
    pid = describer.pid
    second = described(describer, SHUFFLENET)
    assert pid and describer.pid == pid
    assert (first.model, second.model) == ("VGG", "ShuffleNetV2")
    layers = {module.path: (module.layer, module.file) for module in first.modules}
    assert layers["features.5"] == ("Conv2d 16 -> 24, 3x3", "features.5")
    assert layers["features.1"] == ("ReLU", None)
    assert layers["classifier.0"][0].startswith("Linear ")
    assert first.ran and first.takes == "images 3x64x64" and first.input == (3, 64, 64)
    runs = [module.runs for module in first.modules if module.path.startswith("features.")]
    assert runs == sorted(runs) and runs[0] > 0


def test_it_is_modest(describer: Describer) -> None:
    described(describer, VGG)
    pid = describer.pid
    assert os.getpriority(os.PRIO_PROCESS, pid) == 19
    assert os.getpgid(pid) == pid != os.getpgrp()
    limits = Path(f"/proc/{pid}/limits").read_text()
    line = next(line for line in limits.splitlines() if line.startswith("Max address space"))
    assert line.split()[3] == "unlimited"  # lifted after a build: the next library has to be imported


@pytest.fixture(scope="module")
def hurried() -> Iterator[Describer]:
    """One that gives a build four seconds."""
    one = Describer(build_seconds=4)
    yield one
    one.close()


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        (
            {"num_hidden_layers": 100_000},
            r"took more than 4 s and was stopped|more than 2 GiB|memory ran out",
        ),
        ({"model_type": "strange", "auto_map": {"AutoConfig": "evil.Config"}}, "contains custom code"),
        (
            {"hidden_size": 10**12, "num_attention_heads": 1},
            "has none of the file's tensors|raised|described",
        ),
        ({"architectures": ["os:system"]}, "no model|is not a"),
    ],
)
def test_a_hostile_config_is_one_line(
    hurried: Describer, tmp_path: Path, changes: dict[str, object], says: str, forked: None
) -> None:
    folder = bert(tmp_path, **changes)
    (folder / "evil.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\nclass Config: pass\n")
    asked = built_by(request(folder), "transformers:BertForMaskedLM")
    if "architectures" in changes:
        asked = built_by(asked, "transformers:os")
    with pytest.raises(EngineError, match=says) as caught:
        hurried.describe(asked).result(timeout=200)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "ran").exists()
    assert answers(hurried)  # it is there again


def test_a_huge_width_takes_no_memory(describer: Describer, tmp_path: Path) -> None:
    found = described(describer, bert(tmp_path, hidden_size=10**9, num_attention_heads=1))
    assert found.model == "BertForMaskedLM"
    assert found.names.reshaped


def test_users_code_is_never_imported(describer: Describer, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\n")
    for spec in (f"{tmp_path / 'mine.py'}:build", "os:system", "torch:load", "timm:list_models"):
        with pytest.raises(EngineError, match="is not a model of torchvision, timm or transformers"):
            describer.describe(built_by(request(VGG), spec)).result(timeout=200)
    for arguments in ({"model_name": "hf-hub:x/y"}, {"model_name": "resnet18", "checkpoint_path": "/x"}):
        with pytest.raises(EngineError, match="would load from a file or a hub"):
            describer.describe(built_by(request(VGG), "timm:create_model", **arguments)).result(timeout=200)
    assert not (tmp_path / "ran").exists()


def test_a_model_of_other_names_is_not_described(describer: Describer) -> None:
    with pytest.raises(EngineError, match="ResNet has none of the file's tensors"):
        describer.describe(built_by(request(VGG), "torchvision:resnet18")).result(timeout=200)


def test_killed_it_says_so_and_starts_again(forked: None) -> None:
    describer = Describer()
    try:
        assert answers(describer)
        pid = describer.pid
        os.kill(pid, signal.SIGSTOP)
        answer = describer.describe(refused())
        time.sleep(0.2)
        os.kill(pid, signal.SIGKILL)
        with pytest.raises(EngineError, match=r"ended by signal 9 .*memory ran out"):
            answer.result(timeout=60)
        assert answers(describer)
        assert describer.pid != pid
    finally:
        describer.close()


def test_idle_it_ends_by_itself(forked: None) -> None:
    describer = Describer(idle_seconds=2)
    try:
        assert answers(describer)
        pid = describer._process.pid if describer._process else 0
        assert pid and ends(pid, 20)
        assert answers(describer)
    finally:
        describer.close()


def test_closed_it_ends_and_answers_what_was_asked(forked: None) -> None:
    describer = Describer()
    assert answers(describer)
    pid = describer.pid
    os.kill(pid, signal.SIGSTOP)
    answer = describer.describe(refused())
    describer.close()
    assert ends(pid, 20)
    with pytest.raises(EngineError, match="was closed"):
        answer.result(timeout=60)
    with pytest.raises(EngineError, match="was closed"):
        describer.describe(refused()).result(timeout=60)


UI = """
    import os, sys, time
    from pathlib import Path
    from freezetui.description import client
    from freezetui.description.client import Describer
    from support.describing import built_by, request

    if sys.argv[3:]:
        from support.forked import SUBPROCESS
        client.subprocess = SUBPROCESS
    describer = Describer()
    asked = built_by(request(Path(sys.argv[1])), "os:system")
    assert describer.describe(asked).exception(timeout=200)
    print(describer.pid, flush=True)
    if sys.argv[2] == "building":
        os.kill(describer.pid, 19)
        describer.describe(asked)
        time.sleep(0.2)
    sys.stdin.readline()
"""


@pytest.mark.parametrize("how", ["killed", "ends", "building"])
def test_it_never_outlives_its_ui(how: str) -> None:
    path = os.pathsep.join([str(ROOT / "tests"), *filter(None, sys.path)])
    module, more = (
        (subprocess, []) if how == "killed" else (SUBPROCESS, ["forked"])
    )  # one starts from nothing
    ui = module.Popen(
        [sys.executable, "-c", textwrap.dedent(UI), str(VGG), how, *more],
        stdin=module.PIPE,
        stdout=module.PIPE,
        env={**os.environ, "PYTHONPATH": path},
    )
    assert ui.stdout is not None and ui.stdin is not None
    pid = int(ui.stdout.readline())
    assert alive(pid)
    if how == "ends":
        ui.stdin.close()
    else:
        time.sleep(0.5)
        ui.kill()
    ui.wait(60)
    assert ends(pid, 20)
    ui.stdout.close()


def test_a_constructor_that_looks_at_values_is_built_anyway(tmp_path: Path, describer: Describer) -> None:
    pytest.importorskip("timm")
    import timm

    model = timm.create_model("convnext_atto", num_classes=3, drop_path_rate=0.1)
    torch.save(model.state_dict(), tmp_path / "model.pth")
    asked = built_by(
        request(tmp_path / "model.pth"),
        "timm:create_model",
        model_name="convnext_atto",
        num_classes=3,
        drop_path_rate=0.1,
    )
    found = describer.describe(asked).result(timeout=200)
    assert found.names.placed == len(model.state_dict())
    assert isinstance(model, nn.Module) and found.model == type(model).__name__
