"""Pictures of the TUI. After a change that is meant, run this file with --snapshot-update and look at them.

Each Textual version draws its SVG a little differently, so that only the newest one is compared.
"""

from __future__ import annotations

import pytest

from freezetui.sanity.codes import finding
from freezetui.sanity.report import Cost, FrozenPart, TrainablePart
from freezetui.session.options import Options
from freezetui.tui.app import FreezeTuiApp
from support import pictures
from support.reports import answer_with, sanity_report

EMBEDDING = "tok_embed.weight"

pytestmark = pictures.MARKS


@pytest.fixture
def app(sample):
    """The app on a copy of a sample: app("vgg_digits.pth")."""
    return lambda name: FreezeTuiApp(Options(source=str(sample(name)), engine=False))


async def opened(pilot) -> None:
    """Wait until the checkpoint is read, and let no toast cover the tree."""
    while pilot.app.main_screen is None:
        await pilot.pause(0.05)
    await pilot.pause()
    pilot.app.clear_notifications()


async def freeze(pilot, path: str) -> None:
    await opened(pilot)
    tree = pilot.app.main_screen.tree_view
    tree.go_to(pilot.app.main_screen.session.tree.find(path))
    await pilot.press("f")
    await pilot.pause()


@pytest.mark.parametrize("size", [(110, 30), (60, 15)], ids=lambda size: f"{size[0]}x{size[1]}")
def test_half_frozen(snap_compare, app, size):
    async def features(pilot) -> None:
        await freeze(pilot, "features")

    assert snap_compare(app("vgg_digits.pth"), terminal_size=size, run_before=features)


#: Durations would change a picture.
MOVED = sanity_report(
    verdict="moved",
    architecture="examples/tiny_transformer.py:build",
    losses=(0.41, -0.4, 0.4),
    seconds=1.3,
    frozen=FrozenPart(1, 0, (EMBEDDING,)),
    trainable=TrainablePart(75, 75),
    findings=(finding("max_norm", [EMBEDDING]),),
    cost=Cost(0.01, 0.01, 100, 100),
)


def test_moved_with_its_cause(snap_compare, app, monkeypatch):
    answer_with([MOVED], monkeypatch)

    async def check(pilot) -> None:
        await freeze(pilot, "tok_embed")
        await pilot.press("o")
        await pilot.press(*"pkg:f", "enter")
        await pilot.press("r")
        while pilot.app.main_screen.session.report is None:
            await pilot.pause(0.05)
        await pilot.pause()

    assert snap_compare(app("tiny_transformer.pth"), terminal_size=(110, 30), run_before=check)
