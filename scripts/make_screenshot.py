"""Write docs/screenshot.svg: the app on a sample, part frozen, checked."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from pathlib import Path

from freezetui.session.session import Options
from freezetui.tui.app import FreezeTuiApp

ROOT = Path(__file__).resolve().parents[1]


async def shoot(checkpoint: Path) -> str:
    """Return the SVG of a real session: freeze everything before the last convolutions, and check."""
    app = FreezeTuiApp(Options(source=str(checkpoint), device="cpu"))
    async with app.run_test(size=(132, 34)) as pilot:
        while app.main_screen is None:
            await pilot.pause(0.05)
        app.main_screen.tree_view.go_to(app.main_screen.session.tree.find("features.24"))
        await pilot.press("w", "r")
        while app.main_screen.session.report is None:
            await pilot.pause(0.2)
        app.main_screen.tree_view.action_collapse_all()
        app.main_screen.tree_view.go_to(app.main_screen.session.tree.find("features.5.weight"))
        app.clear_notifications()
        await pilot.pause(0.5)
        return app.export_screenshot(title="freezetui vgg_digits.pth")


def main() -> None:
    """Use a copy, so that no config beside the sample is read."""
    with tempfile.TemporaryDirectory() as directory:
        name = "vgg_digits.pth"
        copy = Path(shutil.copy(ROOT / "sample_ckpts" / name, directory))
        (ROOT / "docs" / "screenshot.svg").write_text(asyncio.run(shoot(copy)))


if __name__ == "__main__":
    main()
