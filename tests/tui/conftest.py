"""A running app on a sample, and a few words to drive it."""

from __future__ import annotations

import gc
import shutil
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from textual.pilot import Pilot

from freezetui.session.options import Options
from freezetui.session.session import Session
from freezetui.tui.app import FreezeTuiApp
from freezetui.tui.main_screen import MainScreen
from freezetui.tui.widgets.parameter_tree import ParameterTree

SAMPLES = Path(__file__).resolve().parents[2] / "sample_ckpts"


class Driver:
    """The app with its pilot."""

    def __init__(self, app: FreezeTuiApp, pilot: Pilot[int]) -> None:
        self.app, self.pilot = app, pilot

    @property
    def main(self) -> MainScreen:
        assert self.app.main_screen is not None
        return self.app.main_screen

    @property
    def session(self) -> Session:
        return self.main.session

    @property
    def tree(self) -> ParameterTree:
        return self.main.tree_view

    async def press(self, *keys: str) -> None:
        await self.pilot.press(*keys)
        await self.pilot.pause()

    async def type(self, text: str) -> None:
        await self.press(*text)

    def go(self, path: str) -> None:
        node = self.session.tree.find(path)
        assert node >= 0, path
        self.tree.go_to(node)

    def state(self, path: str) -> str:
        return self.session.plan.totals(*self.session.tree.span(self.session.tree.find(path))).state

    def screen_text(self) -> str:
        """Return what stands on the screen, line by line."""
        lines = self.app.screen._compositor.render_strips()
        return "\n".join("".join(segment.text for segment in strip) for strip in lines)

    def notices(self) -> str:
        """Return what the app says in passing now, in full: the toast shows as many words as fit."""
        return self.app.said[-1] if len(self.app._notifications) else ""

    async def until(self, condition: Callable[[], Any], seconds: float = 60, interval: float = 0.05) -> None:
        for _ in range(int(seconds / interval)):
            if condition():
                return
            await self.pilot.pause(interval)
        raise AssertionError(f"still not so after {seconds} s\n{self.screen_text()}")


Open = Callable[..., AbstractAsyncContextManager[Driver]]


@pytest.fixture(autouse=True)
def _short_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    """The pilot looks three times per key whether the app is idle, for 20 ms each; 10 are enough."""
    monkeypatch.setattr("textual._wait.SLEEP_GRANULARITY", 0.01)
    monkeypatch.setattr("textual._wait.SLEEP_IDLE", 0.01 / 20)


@pytest.fixture(autouse=True)
def _own_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Unexpected errors are logged in a directory of the test's own."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


@pytest.fixture
def sample(tmp_path: Path) -> Callable[[str], Path]:
    """A sample copied into a folder of the test's own, so that configs can be saved beside it."""
    return lambda name: Path(shutil.copy(SAMPLES / name, tmp_path / name))


@pytest.fixture
def opened(sample: Callable[[str], Path]) -> Open:
    """`async with opened("vgg_digits.pth", size=(100, 30)) as driver`."""

    @asynccontextmanager
    async def run(
        source: str | Path = "vgg_digits.pth",
        size: tuple[int, int] = (120, 40),
        errors_allowed: bool = False,
        **options: Any,
    ) -> AsyncIterator[Driver]:
        path = source if isinstance(source, Path) else sample(source)
        app = FreezeTuiApp(Options(source=str(path), **{"engine": False, **options}))
        try:
            async with app.run_test(size=size) as pilot:
                driver = Driver(app, pilot)
                await driver.until(lambda: app.main_screen is not None or app.failure is not None, 20, 0.01)
                for _ in range(2):  # a frame of Textual is longer than one look
                    await pilot.pause()
                yield driver
        finally:
            gc.unfreeze()  # the app froze itself for as long as its process, which here goes on without it
        if app.errors and not errors_allowed:  # the app itself tells of them in a dialog, and goes on
            raise app.errors[0]

    return run
