"""The check seen through the TUI, with the engine as it is and where it dies, and quitting."""

from __future__ import annotations

import threading

import pytest

from freezetui.model_spec import ModelSpec
from freezetui.sanity.client import Engine
from freezetui.session.outcome import Outcome
from freezetui.tui.units import JOINT
from freezetui.tui.widgets.check_panel import CheckPanel

FACTORY = """
import os, sys, time
from torch import nn
print("noise from the model's own code")

def crash():
    os._exit(7)

def hang():
    time.sleep(600)

def broken():
    raise KeyError("no such layer")

def build():
    return nn.Sequential(nn.Embedding(8, 4, max_norm=0.1), nn.Flatten(), nn.Linear(16, 2))
"""


@pytest.fixture
def small(tmp_path):
    """A checkpoint whose model is built by a file of the user's own."""
    import torch
    from torch import nn

    (tmp_path / "factory.py").write_text(FACTORY)
    model = nn.Sequential(nn.Embedding(8, 4), nn.Flatten(), nn.Linear(16, 2))
    torch.save(model.state_dict(), tmp_path / "small.pt")
    return tmp_path / "small.pt"


def headline(driver) -> str:
    return str(driver.main.query_one("#check-headline").content).replace(JOINT, " ")


def footer(driver) -> str:
    return driver.screen_text().splitlines()[-1]


@pytest.mark.torch
@pytest.mark.slow
async def test_a_check_that_holds_marks_the_tree_and_goes_stale_with_the_next_edit(opened, forked):
    async with opened(device="cpu") as driver:
        driver.go("features")
        await driver.press("f", "r")
        await driver.until(lambda: driver.session.report is not None)
        await driver.pilot.pause()
        assert "HELD: 26 frozen tensors" in headline(driver)
        assert "frozen ✓" in driver.screen_text()
        assert "last check: held" in driver.screen_text()
        driver.go("features.0")
        await driver.press("t")
        assert driver.tree.line(driver.tree.node).mark == Outcome.NONE
        assert "check: out of date: ✓ HELD" in driver.screen_text()
        assert "last check: out of date" in driver.screen_text()
        await driver.press("u")
        assert "check: ✓ HELD" in driver.screen_text()


@pytest.mark.torch
@pytest.mark.slow
async def test_a_finding_leads_to_its_tensor(opened, small, in_process):
    spec = f"{small.with_name('factory.py')}:build"
    async with opened(small, model=ModelSpec(spec, input=(4,)), device="cpu") as driver:
        driver.go("0")
        await driver.press("f", "r")
        await driver.until(lambda: driver.session.report is not None)
        await driver.pilot.pause()
        assert "MOVED: 1 frozen tensor" in headline(driver)
        assert driver.tree.marks[0] == Outcome.WRONG
        driver.tree.cursor = 0
        assert "[0.weight]" in driver.screen_text()
        await driver.press("tab")
        assert "Enter go to tensor" in driver.screen_text()
        await driver.press("enter")
        assert driver.session.tree.path(driver.tree.node) == "0.weight"
        assert "max_norm" in driver.screen_text()
        await driver.press("escape")
        assert not driver.main.query_one(CheckPanel).display


@pytest.mark.torch
@pytest.mark.slow
async def test_findings_can_be_read_on_a_small_screen(opened, in_process):
    async with opened(device="cpu", size=(60, 15)) as driver:
        await driver.press("f", "r")
        await driver.until(lambda: driver.session.report is not None)
        await driver.pilot.pause()
        assert "S8  everything is frozen" in driver.screen_text()
        assert "fix: unfreeze something" in driver.screen_text()


@pytest.mark.torch
@pytest.mark.slow
async def test_a_file_of_integers_is_inconclusive(opened, tmp_path, in_process):
    import torch

    torch.save({"a.b": torch.arange(5), "a.c": torch.arange(6)}, tmp_path / "ints.pth")
    async with opened(tmp_path / "ints.pth", device="cpu") as driver:
        await driver.press("r", "enter")
        await driver.until(lambda: driver.session.report is not None)
        assert driver.session.report.verdict == "inconclusive"


@pytest.mark.torch
@pytest.mark.slow
@pytest.mark.parametrize(
    ("factory", "said"),
    [("crash", "exit code 7"), ("broken", "no such layer"), ("hang", "timed out after 4 s")],
)
async def test_the_ui_survives_whatever_happens_in_the_engine(opened, small, factory, said, request):
    request.getfixturevalue("in_process" if factory == "broken" else "forked")
    timeout = 4.0 if factory == "hang" else None
    spec = f"{small.with_name('factory.py')}:{factory}"
    async with opened(small, model=ModelSpec(spec), device="cpu", timeout=timeout) as driver:
        driver.go("2")
        await driver.press("f")
        choice = driver.session.plan.mask()
        await driver.press("r")
        panel = driver.main.query_one(CheckPanel)
        await driver.until(lambda: said in headline(driver))
        await driver.until(lambda: not panel.running)
        assert driver.session.report is None
        assert driver.session.plan.mask() == choice
        await driver.press("s")
        await driver.until(lambda: not driver.session.unsaved)
        await driver.press("R", "t", "R")
        await driver.until(lambda: panel.display)
        assert said in headline(driver)  # until the next check


@pytest.mark.torch
async def test_the_engine_is_started_by_the_thread_that_it_must_end_with(opened, monkeypatch):
    started = []

    class Recorded(Engine):
        def __init__(self, *arguments):
            started.append(threading.current_thread())
            super().__init__(*arguments)

    monkeypatch.setattr("freezetui.sanity.client.Engine", Recorded)
    async with opened(device="cpu") as driver:
        driver.go("features")
        await driver.press("f", "r")
        await driver.until(lambda: started)
        await driver.press("escape")
        await driver.until(lambda: not driver.main._panel.running)
    assert started == [threading.main_thread()]


@pytest.mark.torch
async def test_escape_cancels_a_check(opened, small, forked):
    spec = f"{small.with_name('factory.py')}:hang"
    async with opened(small, model=ModelSpec(spec), device="cpu") as driver:
        driver.go("2")
        await driver.press("f", "r")
        panel = driver.main.query_one(CheckPanel)
        await driver.until(lambda: panel.running)
        await driver.until(lambda: "Esc cancel" in footer(driver))
        await driver.press("r")
        assert "A check is already running" in driver.notices()
        await driver.press("R")
        assert not panel.display and "checking…" in driver.screen_text(), "also where its panel is closed"
        await driver.press("R")
        assert panel.display and "checking…" in driver.screen_text()
        await driver.press("escape")
        await driver.until(lambda: not panel.running)
        assert "cancelled" in headline(driver)
        assert "not checked" in str(driver.main._totals.render())
        assert "r check" in footer(driver)


@pytest.mark.torch
async def test_an_unknown_architecture_is_asked_for(opened, small):
    async with opened(small) as driver:
        await driver.press("r")
        assert "Architecture unknown" in driver.screen_text()
        await driver.press("escape")
        assert not driver.main.query_one(CheckPanel).display
        await driver.press("o")
        await driver.type("pkg.mod:build --arg 5")
        await driver.press("enter")
        assert "'5' is not of the form NAME=VALUE" in driver.screen_text()
        await driver.press("backspace")
        await driver.type("wide=true --input 3x8x8")
        await driver.press("enter")
        model = driver.session.architecture.model
        assert model == ModelSpec("pkg.mod:build", {"wide": True}, (3, 8, 8))
        await driver.press("o")
        assert "pkg.mod:build --arg wide=true --input 3,8,8" in driver.screen_text()


@pytest.mark.torch
@pytest.mark.slow
async def test_left_empty_the_tensors_alone_are_checked_and_the_last_report_goes(opened, in_process):
    async with opened(device="cpu") as driver:
        driver.go("features")
        await driver.press("f", "r")
        await driver.until(lambda: driver.session.report is not None)
        assert driver.session.report.forward
        panel = driver.main.query_one(CheckPanel)
        await driver.until(lambda: not panel.running)
        await driver.press("o", "ctrl+u", "enter")
        await driver.until(lambda: driver.session.report is None)
        assert "not checked" in driver.screen_text()
        assert "✓" not in driver.screen_text()
        assert not panel.display
        await driver.press("r")
        await driver.until(lambda: driver.session.report is not None)
        assert not driver.session.report.forward
        assert driver.session.report.architecture == ""


@pytest.mark.torch
async def test_a_factory_named_by_the_config_is_asked_about(opened, small):
    small.with_name("small.freeze.yaml").write_text(
        "freezetui: 1\nmodel:\n  architecture: factory.py:build\nrules:\n  - freeze: '0'\n"
    )
    async with opened(small) as driver:
        await driver.press("r")
        assert "import and run" in driver.screen_text()
        await driver.press("n")
        await driver.pilot.pause()
        assert not driver.main.query_one(CheckPanel).running


async def test_quit_asks_only_when_something_is_unsaved(opened, sample):
    path = sample("vgg_digits.pth")
    async with opened(path) as driver:
        driver.go("features")
        await driver.press("f", "q")
        assert "Unsaved changes" in driver.screen_text()
        await driver.press("escape")
        assert driver.app.is_running
        await driver.press("q", "s")
        await driver.until(lambda: driver.app.return_code is not None or not driver.app.is_running, 5)
    assert path.with_name("vgg_digits.freeze.yaml").exists()
    async with opened(path) as driver:
        await driver.press("q")
        await driver.until(lambda: not driver.app.is_running, 5)
    assert driver.app.return_value == 0


async def test_a_config_for_another_model_says_how_it_differs(opened, sample):
    path = sample("vgg_digits.pth")
    path.with_name("vgg_digits.freeze.yaml").write_text(
        "freezetui: 1\nmodel:\n  fingerprint: sha256:00\nrules:\n  - freeze: features\n  - freeze: fc\n"
        "expect:\n  frozen: {tensors: 7, elements: 9}\n  trainable: {tensors: 6, elements: 236170}\n"
    )
    async with opened(path) as driver:
        said = driver.notices()
        assert "frozen: expected 7 tensors" in said
        assert "expected 7 tensors (9 elements), found 26 (154,688)" in said
        assert "fc" in said
        assert driver.state("features") == "frozen"
        await driver.press("s")
        assert "It does not fit what is open: frozen: expected 7 tensors" in driver.screen_text()


async def test_a_broken_config_beside_the_checkpoint_is_kept(opened, sample):
    path = sample("vgg_digits.pth")
    config = path.with_name("vgg_digits.freeze.yaml")
    config.write_text("freezetui: 1\nrulez: []\n")
    async with opened(path) as driver:
        assert "rulez" in driver.notices()
        driver.go("features")
        await driver.press("f", "s")
        assert "is not readable as a config" in driver.screen_text()
        await driver.press("n")
        await driver.pilot.pause()
        assert driver.session.unsaved
        assert config.read_text() == "freezetui: 1\nrulez: []\n"
        await driver.press("s", "y")
        await driver.until(lambda: not driver.session.unsaved)
    assert "freeze: features" in config.read_text()
    assert config.with_name("vgg_digits.freeze.yaml.bak").read_text() == "freezetui: 1\nrulez: []\n"


async def test_a_checkpoint_that_cannot_be_opened_ends_the_app_with_2(opened, tmp_path):
    path = tmp_path / "x.pth"
    path.write_bytes(b"PK\x03\x04 cut short")
    async with opened(path) as driver:
        assert driver.app.failure is not None
    assert driver.app.return_value == 2


@pytest.mark.parametrize("size", [(60, 15), (80, 24), (120, 40), (200, 50), (30, 8)])
async def test_every_key_works_at_every_size(opened, size):
    async with opened("tiny_transformer.pth", size=size) as driver:
        keys = "j k l h space f t a i b w u e E c C z n N d escape question_mark escape p escape slash escape"
        await driver.press(*keys.split(), "ctrl+r", "pagedown", "end", "home", "enter")
        assert driver.app.is_running
        await driver.pilot.resize_terminal(100, 30)
        await driver.pilot.pause()
        assert "tiny_transformer" in driver.screen_text()


@pytest.mark.torch
async def test_saving_what_takes_long_shows_that_it_runs_and_can_be_given_up(opened, tmp_path):
    import random

    import torch
    from safetensors.torch import save_file

    path = tmp_path / "large.safetensors"
    save_file({f"blocks.{i}.{n}": torch.ones(1) for i in range(15_000) for n in ("weight", "bias")}, path)
    async with opened(path, size=(60, 15)) as driver:
        toss = random.Random(0)
        driver.session.plan.replace(bytes(toss.randrange(2) for _ in range(30_000)))
        # Not pressed by the pilot, which waits until nothing is busy any more.
        driver.app.simulate_key("s")
        await driver.until(lambda: "Simplifying the rules" in driver.screen_text())
        choice = driver.session.plan.mask()
        driver.app.simulate_key("f")  # goes nowhere
        driver.app.simulate_key("escape")
        await driver.until(lambda: driver.app.screen is driver.main)
        assert driver.session.plan.mask() == choice
        assert driver.session.unsaved
        assert not list(tmp_path.glob("*.yaml"))
        driver.session.plan.undo()
        driver.go("blocks.5")
        await driver.press("f", "d")
        await driver.until(lambda: "■ freeze blocks.5" in driver.screen_text())
        await driver.press("escape", "s")
        await driver.until(lambda: not driver.session.unsaved)
    assert "freeze: blocks.5" in path.with_name("large.freeze.yaml").read_text()
