"""The check of several stages by one engine: each as if it were alone, and what they share only once."""

from __future__ import annotations

import os
import sys
import textwrap
from pathlib import Path

import msgspec
import pytest
import torch
from torch import nn

from freezetui import bootstrap
from freezetui.config.schema import ConfigData, Stage
from freezetui.engine.check import check
from freezetui.engine.forks import library_of
from freezetui.engine.main import answer_each
from freezetui.errors import EngineError
from freezetui.freeze.rules import Rule
from freezetui.model_spec import ModelSpec
from freezetui.sanity.client import Engine, run_checks
from freezetui.sanity.protocol import CheckRequest, Event, Finished, Progress
from freezetui.sanity.report import SanityReport

NET = """
    import os, signal
    from pathlib import Path
    import torch
    from torch import nn

    built = Path(__file__).with_suffix(".built")

    class Net(nn.Module):
        calls = 0

        def __init__(self):
            super().__init__()
            self.body, self.mid, self.head = nn.Linear(4, 6), nn.Linear(6, 6), nn.Linear(6, 2)

        def forward(self, x):
            return self.head(self.mid(self.body(x)))

    class SetUpOnce(Net):
        def forward(self, x):
            if not x.is_meta and self.training and SetUpOnce.calls == 0 and torch.is_grad_enabled():
                SetUpOnce.calls += 1
                self.body.weight.data.mul_(0.5)
            return super().forward(x)

    def ends(how):
        count = len(built.read_text()) if built.exists() else 0
        built.write_text("." * (count + 1))
        if count == 2:  # the control run and the first stage are over
            how()
        return Net()

    def exits():
        return ends(lambda: os._exit(7))

    def is_killed():
        return ends(lambda: os.kill(os.getpid(), signal.SIGTERM))

    def raises():
        return ends(lambda: 1 / 0)
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("stages")
    (folder / "net.py").write_text(textwrap.dedent(NET))
    layers = {"body": nn.Linear(4, 6), "mid": nn.Linear(6, 6), "head": nn.Linear(6, 2)}
    torch.save(nn.ModuleDict(layers).state_dict(), folder / "net.pth")
    return folder


@pytest.fixture
def asked(folder: Path) -> CheckRequest:
    (folder / "net.built").unlink(missing_ok=True)
    rules = {"head": "{body,mid}", "top": "body", "all": "body.bias"}
    stages = tuple(Stage(name, 1, (Rule("freeze", pattern),)) for name, pattern in rules.items())
    return CheckRequest(
        checkpoint=str(folder / "net.pth"),
        model=ModelSpec(f"{folder / 'net.py'}:Net"),
        config=ConfigData(stages=stages),
        stage="head",
        later=("top", "all"),
        device="cpu",
    )


def built_by(asked: CheckRequest, factory: str) -> CheckRequest:
    architecture = asked.model.architecture.replace(":Net", f":{factory}")
    return msgspec.structs.replace(asked, model=ModelSpec(architecture, input=(4,)))


def told(report: SanityReport) -> SanityReport:
    """Return what a report says, without what was measured in seconds and bytes."""
    return msgspec.structs.replace(report, seconds=0.0, cost=None)


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere each stage has an engine of its own")
def test_one_engine_says_of_each_stage_what_one_of_its_own_says(
    asked: CheckRequest, forked: None, request: pytest.FixtureRequest
) -> None:
    with Engine(asked) as engine:
        events = list(engine.events())
    together = [event.report for event in events if isinstance(event, Finished)]
    phases = [event.phase for event in events if isinstance(event, Progress)]
    request.getfixturevalue("in_process")  # an engine for each stage
    alone = run_checks(asked)
    assert [report.stage for report in together] == ["head", "top", "all"]
    assert [report.verdict for report in together] == ["held"] * 3
    assert list(map(told, together)) == list(map(told, alone))
    assert all(report.cost is not None and report.cost.control_step_seconds for report in together)
    assert phases.count("import") == 1 and phases.count("control") == asked.steps
    assert phases.count("load") == 1 + 3 and phases.count("step") == 3 * asked.steps


def test_what_model_code_remembers_of_one_stage_is_not_known_in_the_next(
    asked: CheckRequest, forked: None
) -> None:
    reports = run_checks(built_by(asked, "SetUpOnce"))
    assert [report.frozen.moved for report in reports] == [("body.weight",), ("body.weight",), ()]


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere each stage has an engine of its own")
@pytest.mark.parametrize(
    ("factory", "message"),
    [
        ("exits", "exit code 7"),
        ("is_killed", "signal 15"),
        ("raises", "ZeroDivisionError"),
    ],
)
def test_a_stage_that_ends_early_is_told_after_the_reports_before_it(
    asked: CheckRequest, factory: str, message: str, forked: None
) -> None:
    seen = []
    with Engine(built_by(asked, factory)) as engine, pytest.raises(EngineError, match=message) as caught:
        for event in engine.events():
            if isinstance(event, Finished):
                seen.append(event.report.stage)
    assert seen == ["head"]
    assert "\n" not in str(caught.value)


def test_an_engine_that_leaves_stages_is_followed_by_another(asked: CheckRequest, in_process: None) -> None:
    said: list[str] = []
    reports = run_checks(asked, lambda event: said.append(event.phase))
    assert [report.stage for report in reports] == ["head", "top", "all"]
    assert said.count("import") == 3


def test_progress_and_errors_of_several_stages_say_which(asked: CheckRequest) -> None:
    said: list[str] = []
    run_checks(asked, lambda event: said.append(event.text))
    first, *_, last = said
    assert (first, last) == ("stage head: importing torch", "stage all: comparing")
    with pytest.raises(EngineError, match=r"^stage top: .*ZeroDivisionError"):
        run_checks(built_by(asked, "raises"))
    run_checks(asked.then(()), lambda event: said.append(event.text))
    assert said[-1] == "comparing"


def test_each_stage_may_take_the_timeout(asked: CheckRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Three stages of a second each, two seconds for each, then one that takes longer."""
    line = msgspec.json.encode(Finished(check(asked))).decode()
    script = f"import time\nfor wait in (1, 1, 1, 60):\n    time.sleep(wait)\n    print({line!r}, flush=True)"
    monkeypatch.setattr(bootstrap, "command", lambda *_, **__: [sys.executable, "-c", script])
    ended = []
    with Engine(asked.then(("a", "b", "c")), timeout=2.0) as engine, pytest.raises(EngineError) as caught:
        for event in engine.events():
            ended.append(event)
    assert len(ended) == 3
    assert "timed out after 2 s" in str(caught.value)


def test_only_a_librarys_code_is_imported_before_the_fork(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert library_of("torchvision:vgg16") == "torchvision"
    assert library_of("timm.models.vgg:vgg16") == "timm"
    assert library_of("net.py:timm") == library_of("my.timm:vgg") == library_of("") == ""
    (tmp_path / "timm.py").write_text("raise SystemExit")
    assert library_of("timm:create_model") == "" and library_of("torchvision:vgg16") == "torchvision"


def test_where_no_fork_is_possible_the_first_stage_is_checked(
    asked: CheckRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse() -> int:
        raise OSError(12, "Cannot allocate memory")

    monkeypatch.setattr(os, "fork", refuse)
    sent: list[Event] = []
    answer_each(asked, sent.append)
    assert [event.report.stage for event in sent if isinstance(event, Finished)] == ["head"]
    assert isinstance(sent[-1], Finished)
