"""Pictures of dialogs, panes and small screens, each a few keys away from a checkpoint that was just opened.

After a change that is meant, run this file with --snapshot-update and look at them.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from types import SimpleNamespace
from typing import NamedTuple

import pytest
import torch
from textual.widgets import Input

from freezetui.sanity.codes import finding
from freezetui.sanity.report import FrozenPart, SanityReport, TrainablePart
from freezetui.session.options import Options
from freezetui.session.recent import note_opened
from freezetui.tui.actions import recover
from freezetui.tui.app import FreezeTuiApp
from freezetui.tui.screens.presets import PresetScreen
from support import pictures
from support.reports import HELD, answer_with, sanity_report

SAMPLES = Path(__file__).resolve().parents[2] / "sample_ckpts"
VGG = "vgg_digits.pth"

pytestmark = pictures.MARKS

SMALL, USUAL, LARGE, WIDE = (60, 15), (80, 24), (120, 32), (200, 50)
FREEZE_FEATURES = ("j", "f")
STAGES = (*FREEZE_FEATURES, "plus", "enter", "plus", "enter", "g", "t")
FILTER = ("slash", *"features.{24..28}")


class Scene(NamedTuple):
    """A terminal size, the keys that lead to the picture, and the theme."""

    size: tuple[int, int]
    keys: tuple[str, ...]
    theme: str = "textual-dark"


SCENES = {
    "filter": Scene(USUAL, FILTER),
    "filter_small": Scene(SMALL, FILTER),
    "stages": Scene(USUAL, STAGES),
    "stages_dialog": Scene(USUAL, (*STAGES, "equals_sign")),
    "stages_dialog_small": Scene(SMALL, (*STAGES, "equals_sign"), "textual-light"),
    "cost": Scene(USUAL, (*FREEZE_FEATURES, "dollar_sign")),
    "code": Scene(USUAL, (*FREEZE_FEATURES, "y")),
    "yaml": Scene(LARGE, (*STAGES, "D")),
    "yaml_small": Scene(SMALL, (*STAGES, "D")),
    "values": Scene(LARGE, ("j", "l", "l", "j", "V")),
    "help": Scene(USUAL, ("question_mark",)),
    "notices": Scene(USUAL, ("exclamation_mark",)),
    "unsaved": Scene(SMALL, (*FREEZE_FEATURES, "q"), "textual-light"),
    "wide": Scene(WIDE, FREEZE_FEATURES),
    "wide_light": Scene(WIDE, FREEZE_FEATURES, "textual-light"),
}


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A directory in which the sample has a short name, so that no picture shows where it is."""
    monkeypatch.chdir(tmp_path)
    shutil.copy(SAMPLES / VGG, VGG)


def app_on(source: str) -> FreezeTuiApp:
    return FreezeTuiApp(Options(source=source, engine=False))


def after(*keys: str, theme: str = "textual-dark", until: Callable[[FreezeTuiApp], object] | None = None):
    """Return what waits for the checkpoint, presses keys, and waits until the app is that far."""

    async def act(pilot) -> None:
        app = pilot.app
        app.theme = theme
        while app.main_screen is None:
            await pilot.pause(0.05)
        await pilot.pause()
        await pilot.press(*keys)
        await pilot.pause(0.3)
        while until is not None and not until(app):
            await pilot.pause(0.05)
        for field in app.screen.query(Input):
            field.cursor_blink = False
        app.clear_notifications()
        before = ""
        while (now := app.export_screenshot()) != before:
            before = now
            await pilot.pause(0.2)

    return act


@pytest.mark.parametrize("name", SCENES)
def test_keys_lead_to(snap_compare, name):
    scene = SCENES[name]
    act = after(*scene.keys, theme=scene.theme)
    assert snap_compare(app_on(VGG), terminal_size=scene.size, run_before=act)


@pytest.fixture
def checked(monkeypatch: pytest.MonkeyPatch) -> list[SanityReport]:
    """The reports that the next checks end with."""
    reports: list[SanityReport] = []

    answer_with(reports, monkeypatch)
    return reports


INCONCLUSIVE = sanity_report(
    verdict="inconclusive",
    forward=False,
    frozen=FrozenPart(26, 26),
    trainable=TrainablePart(6, 0),
    findings=(finding("no_input", reason="no input is known", suggestion=""),),
)
MOVED = sanity_report(
    verdict="moved",
    losses=(0.4, 0.4, 0.4),
    frozen=FrozenPart(26, 25, ("features.0.weight",)),
    trainable=TrainablePart(6, 6),
    findings=(finding("writes_weight", ["features.0.weight"], phase="forward pass"),),
)


@pytest.mark.parametrize(
    ("report", "size", "theme"),
    [
        pytest.param(HELD, LARGE, "textual-dark", id="held"),
        pytest.param(HELD, SMALL, "textual-dark", id="held_small"),
        pytest.param(INCONCLUSIVE, USUAL, "textual-light", id="inconclusive"),
        pytest.param(MOVED, USUAL, "textual-light", id="moved"),
        pytest.param(MOVED, SMALL, "textual-dark", id="moved_small"),
    ],
)
def test_after_a_check(snap_compare, checked, report, size, theme):
    checked.append(report)
    act = after(*FREEZE_FEATURES, "r", theme=theme, until=lambda app: app.main_screen.session.report)
    assert snap_compare(app_on(VGG), terminal_size=size, run_before=act)


def test_unsaved_choice_is_offered(snap_compare, monkeypatch):
    monkeypatch.setattr(
        recover, "datetime", SimpleNamespace(fromtimestamp=lambda when: datetime(2026, 11, 27))
    )

    async def end_unasked() -> None:
        async with app_on(VGG).run_test() as pilot:
            await after(*FREEZE_FEATURES)(pilot)

    asyncio.run(end_unasked())
    act = after(until=lambda app: app.screen is not app.main_screen)
    assert snap_compare(app_on(VGG), terminal_size=USUAL, run_before=act)


def test_recent_and_below(snap_compare, tmp_path):
    (tmp_path / "runs").mkdir()
    for name in ("first.pth", "second.pth"):
        shutil.copy(SAMPLES / VGG, tmp_path / "runs" / name)
        os.utime(tmp_path / "runs" / name, (time.time() - 3 * 86_400,) * 2)
    note_opened(Options("runs/first.pth"))

    async def shown(pilot) -> None:
        await pilot.pause(0.5)

    app = FreezeTuiApp(Options(source="."), choose=True)
    assert snap_compare(app, terminal_size=USUAL, run_before=shown)


@pytest.fixture
def adapter() -> str:
    """An adapter of three blocks, deep below wrappers; no library knows it."""
    start = "base_model.model.model.language_model.encoder.layers"
    names = (
        f"{start}.{layer}.self_attn.{part}_proj.{low}.default.weight"
        for layer in range(3)
        for part in "qv"
        for low in ("lora_A", "lora_B")
    )
    torch.save({name: torch.zeros(8, 8) for name in names}, "adapter.pth")
    return "adapter.pth"


def test_deep_names(snap_compare, adapter):
    act = after("E", *["j"] * 12)
    assert snap_compare(app_on(adapter), terminal_size=SMALL, run_before=act)


def test_presets(snap_compare, adapter):
    act = after("p", until=lambda app: isinstance(app.screen, PresetScreen))
    assert snap_compare(app_on(adapter), terminal_size=USUAL, run_before=act)
