"""Write the README's pictures into docs/: real sessions on the samples, and a Llama without its data."""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path

import torch

from freezetui.model_spec import ModelSpec
from freezetui.session.options import Options
from freezetui.tui.app import FreezeTuiApp

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests"))

from support.sparse import llama  # noqa: E402

VGG = "vgg_digits.pth"
#: A model whose embedding is renormalized in every forward pass, frozen or not.
TAGGER = """
from collections import OrderedDict
from torch import nn

def tagger():
    words = nn.Embedding(500, 64, max_norm=1.0)
    hidden, tags = nn.Linear(16 * 64, 128), nn.Linear(128, 12)
    layers = OrderedDict(words=words, flat=nn.Flatten(), hidden=hidden, act=nn.ReLU(), tags=tags)
    return nn.Sequential(layers)
"""
SHAPES = {"words.weight": (500, 64), "hidden.weight": (128, 1024), "hidden.bias": (128,)}
SHAPES |= {"tags.weight": (12, 128), "tags.bias": (12,)}
SIZE = (132, 34)


class Session:
    """The app, driven by keys."""

    def __init__(self, app: FreezeTuiApp, press: Callable[..., Awaitable[None]]) -> None:
        self.app, self.press = app, press

    def go(self, path: str) -> None:
        """Move the cursor to a node."""
        main = self.app.main_screen
        assert main is not None
        main.tree_view.go_to(main.session.tree.find(path))

    async def until(self, ready: Callable[[], object]) -> None:
        """Wait until the app is that far."""
        for _ in range(1200):
            if ready():
                return
            await asyncio.sleep(0.1)
        raise TimeoutError("the app did not get that far in two minutes")


async def tour(session: Session) -> None:
    """Freeze everything before the last convolutions, and check."""
    main = session.app.main_screen
    session.go("features.24")
    await session.press("w", "r")
    await session.until(lambda: main.session.report)
    main.tree_view.action_collapse_all()
    session.go("features.5.weight")


async def moved(session: Session) -> None:
    """Freeze an embedding that its max_norm renormalizes, and check."""
    session.go("words")
    await session.press("f", "r")
    await session.until(lambda: session.app.main_screen.session.report)


async def blocks(session: Session) -> None:
    """Freeze all but the last four blocks of a Llama, and their norms."""
    session.go("model.layers.28")
    await session.press("w", "z", "l", "j", "f", "j")


async def stages(session: Session) -> None:
    """Train the classifier first, then everything."""
    await session.press("j", "f")
    for name in ("classifier", "everything"):
        await session.press("plus")
        await session.press(*name, "enter")


async def changes(session: Session) -> None:
    """Compare with the checkpoint before training."""
    await session.until(lambda: session.app.main_screen.session.comparison)
    await session.press("down")


def trained(before: Path, after: Path) -> None:
    """Write a checkpoint in which the classifier and one frozen tensor changed."""
    state = torch.load(before, weights_only=True)
    for number, name in enumerate(state):
        if name.startswith("classifier") or name == "features.17.bias":
            state[name] = state[name] * (1 + 0.01 * (number % 7 + 1))
    torch.save(state, after)
    after.with_name("trained.freeze.yaml").write_text("freezetui: 1\nrules:\n  - freeze: features\n")


async def shoot(options: Options, act: Callable[[Session], Awaitable[None]], title: str) -> str:
    """Return the SVG of a session after what `act` does."""
    app = FreezeTuiApp(options)
    async with app.run_test(size=SIZE) as pilot:
        while app.main_screen is None:
            await pilot.pause(0.05)
        await pilot.pause()

        async def press(*keys: str) -> None:
            await pilot.press(*keys)
            await pilot.pause()

        await act(Session(app, press))
        await pilot.pause(0.5)
        app.clear_notifications()
        await pilot.pause(0.5)
        return app.export_screenshot(title=title)


def main() -> None:
    """Use copies, so that no config beside a sample is read."""
    os.environ["FREEZETUI_STATE"] = "0"
    with tempfile.TemporaryDirectory() as directory:
        os.chdir(directory)  # no picture shows a path of this machine
        shutil.copy(ROOT / "sample_ckpts" / VGG, VGG)
        Path("tagger.py").write_text(TAGGER)
        torch.save({name: torch.randn(shape) for name, shape in SHAPES.items()}, "tagger.pth")
        built_by = ModelSpec("tagger.py:tagger", input=(16,))
        llama(Path("llama.safetensors"))
        trained(Path(VGG), Path("trained.pth"))
        for picture, options, act in (
            ("screenshot", Options(VGG, device="cpu"), tour),
            ("moved", Options("tagger.pth", model=built_by, device="cpu"), moved),
            ("map", Options("llama.safetensors", engine=False), blocks),
            ("stages", Options(VGG, engine=False), stages),
            ("changes", Options("trained.pth", engine=False, against=VGG), changes),
        ):
            svg = asyncio.run(shoot(options, act, f"freezetui {options.source}"))
            (ROOT / "docs" / f"{picture}.svg").write_text(svg)
        os.chdir(ROOT)


if __name__ == "__main__":
    main()
