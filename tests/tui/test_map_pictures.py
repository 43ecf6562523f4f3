"""Pictures of the tree and the map of a Llama: blocks split by state, outcomes, values, a light theme.

After a change that is meant, run this file with --snapshot-update and look at them.
"""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from freezetui.sanity.report import FrozenPart, SanityReport, TrainablePart, Unchanged
from freezetui.session.options import Options
from freezetui.tui.app import FreezeTuiApp
from freezetui.tui.columns import Measures
from support import pictures
from support.reports import sanity_report
from support.sparse import llama

pytestmark = pictures.MARKS
SIZE = (120, 26)


@pytest.fixture
def app(tmp_path):
    """The app on a Llama of 6.7 B parameters without data."""
    return FreezeTuiApp(Options(source=str(llama(tmp_path / "llama.safetensors")), engine=False))


async def last_blocks_train(pilot) -> None:
    """Freeze everything before the last four blocks, and open those."""
    while pilot.app.main_screen is None:
        await pilot.pause(0.05)
    await pilot.pause()
    tree = pilot.app.main_screen.tree_view
    tree.go_to(pilot.app.main_screen.session.tree.find("model.layers.28"))
    await pilot.press("w", "z", "l", "j", "f")
    pilot.app.clear_notifications()
    await pilot.pause()


@pytest.mark.parametrize("theme", ["textual-dark", "textual-light"])
def test_blocks_split_by_state(snap_compare, app, theme):
    async def shown(pilot) -> None:
        await last_blocks_train(pilot)
        pilot.app.theme = theme
        await pilot.pause()

    assert snap_compare(app, terminal_size=SIZE, run_before=shown)


def test_bytes_sorted_with_a_range(snap_compare, app):
    async def shown(pilot) -> None:
        await last_blocks_train(pilot)
        await pilot.press("m", "M", "v", "j", "j")
        await pilot.pause()

    assert snap_compare(app, terminal_size=SIZE, run_before=shown)


def report_of(session) -> SanityReport:
    """Return a report: one frozen tensor moved, one proves nothing, and one that trains stood still."""
    trains = [
        t.name for t, state in zip(session.tree.tensors, session.plan.states, strict=True) if state == 1
    ]
    moved, unproven = "model.layers.3.mlp.up_proj.weight", "model.layers.12.self_attn.q_proj.weight"
    return sanity_report(
        verdict="moved",
        architecture="pkg:llama",
        losses=(0.41, 0.4, 0.4),
        seconds=1.3,
        frozen=FrozenPart(len(session.tree.tensors) - len(trains), 200, (moved,), (unproven,)),
        trainable=TrainablePart(len(trains), len(trains) - 1, (Unchanged("lm_head.weight", "no gradient"),)),
        gradients={name: 10.0 ** -(i % 5) for i, name in enumerate(trains)},
    )


@pytest.mark.parametrize("measure", ["share", "gradient"])
def test_after_a_check(snap_compare, app, measure):
    async def shown(pilot) -> None:
        await last_blocks_train(pilot)
        session = pilot.app.main_screen.session
        session.checked(report_of(session), session.plan.mask())
        pilot.app.main_screen.refresh_session()
        while pilot.app.main_screen.tree_view.painter.measure.name != measure:
            await pilot.press("m")
        await pilot.pause()

    assert snap_compare(app, terminal_size=SIZE, run_before=shown)


def test_what_a_run_changed(snap_compare, app):
    async def shown(pilot) -> None:
        await last_blocks_train(pilot)
        main = pilot.app.main_screen
        tensors = main.session.tree.tensors
        change = [0.0 if i < 120 else 10.0 ** -(i % 4) for i in range(len(tensors))]
        change[60] = 0.03
        known = SimpleNamespace(relative_change=change, changed_frozen=[60], words={}, squares=())
        session = SimpleNamespace(tree=main.session.tree, report=None, comparison=known)
        main.tree_view.show_measures(Measures(session).now())
        await pilot.press("g")
        await pilot.pause()

    assert snap_compare(app, terminal_size=SIZE, run_before=shown)
