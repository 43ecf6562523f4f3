"""What does not fit is cut between words, and what matters most is kept."""

from __future__ import annotations

import pytest
import torch

from freezetui.tui.widgets.detail_line import DetailLine, whole_parts
from freezetui.tui.widgets.drawing import whole_words
from freezetui.tui.widgets.filter_bar import FilterBar


@pytest.mark.parametrize("room", range(40))
def test_only_whole_words_and_parts_are_left(room):
    text = "198 frozen, 0 trainable, 415,296 elements"
    words, parts = whole_words(text, room), whole_parts(text, room)
    assert len(words) <= room and len(parts) <= room
    if room > len("198…"):
        assert words[-1] == "…" and text.startswith(words[:-1])
        assert not text[len(words) - 1].isalnum() and not parts.endswith(("415", "415,…"))
    if room >= len("198 frozen"):
        assert text.startswith(parts) and text[len(parts)] == ","
    assert whole_words(text, 41) == whole_parts(text, 41) == text
    assert whole_words("averylongword", room) in (
        "averylongword",
        f"{'averylongword'[: room - 1]}…" * bool(room),
    )


@pytest.mark.parametrize("size", [(60, 15), (80, 24)])
async def test_the_tied_name_is_kept_where_sizes_do_not_fit(opened, tmp_path, size):
    weight = torch.zeros(256, 64)
    norms = {f"model.layers.{n}.input_layernorm.weight": torch.ones(64) for n in range(5)}
    torch.save({"model.embed_tokens.weight": weight, **norms, "lm_head.weight": weight}, tmp_path / "m.pth")
    async with opened(tmp_path / "m.pth", size) as driver:
        driver.go("lm_head.weight")
        await driver.pilot.pause()
        line = str(driver.main.query_one(DetailLine).render())
        assert line.startswith(" lm_head.weight  tied to model.embed_tokens.weight")
        assert len(line) <= size[0] and (line.endswith("64.0 KiB") or "KiB" not in line)
        await driver.press("slash", *"norm")
        bar = driver.main.query_one(FilterBar)
        count = bar.query_one("#filter-count")
        said = str(count.render()).rstrip()
        assert said.startswith("5 matches") and said.endswith(
            ("freeze 5 tensors", "freeze model.layers", "(words)")
        )
        assert count.region.right <= size[0] and count.region.width >= len(said)


async def test_a_hint_that_fills_the_bar_is_said_in_brief(opened, tmp_path):
    names = [f"decoder.block.{n}.weight" for n in range(54)]
    torch.save({name: torch.zeros(2) for name in (*names, "encoder.weight")}, tmp_path / "t5.pth")
    async with opened(tmp_path / "t5.pth", (60, 15)) as driver:
        await driver.press("slash", *"decoder")
        assert "54 matches, ctrl+f: freeze decoder " in driver.screen_text()
