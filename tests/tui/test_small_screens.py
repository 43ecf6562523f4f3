"""What always stands on the screen, however small: the last verdict, the full name of the line."""

from __future__ import annotations

import json

import pytest
import torch
from textual.geometry import Size
from textual.widgets import Input

from freezetui.sanity.codes import finding
from freezetui.sanity.report import FrozenPart, TrainablePart
from freezetui.session.options import Options
from freezetui.tui.app import FreezeTuiApp
from freezetui.tui.screens.prompt import PromptScreen
from freezetui.tui.widgets.check_panel import CheckPanel
from freezetui.tui.widgets.header import Header, _architecture_in
from support.reports import sanity_report

SIZES = [(60, 15), (78, 15), (80, 24), (100, 15), (110, 30), (200, 50)]


@pytest.mark.parametrize("size", SIZES, ids=str)
async def test_the_verdict_and_the_full_name_of_the_line_stand_on_every_screen(opened, size):
    async with opened("vgg_digits.pth", size=size) as driver:
        totals = driver.main.query_one("#totals")
        assert "not checked" in str(totals.render())
        driver.go("features.28.weight")
        await driver.press("f")
        for verdict in ("held", "moved", "inconclusive"):
            driver.session.checked(report_with(verdict), driver.session.plan.mask())
            driver.main.refresh_session()
            await driver.pilot.pause()
            shown = driver.screen_text()
            assert verdict in shown.splitlines()[totals.region.y + totals.region.height - 1], shown
            assert "features.28.weight" in shown
        await driver.press("t")
        assert "out of date" in str(totals.render())
        await driver.press("R")
        driver.main._panel.post_message(CheckPanel.Failed("Out of memory:", "Try fewer steps."))
        await driver.until(lambda: "failed" in str(totals.render()))
        await driver.press("exclamation_mark")
        assert "Out of memory: Try fewer steps." in " ".join(driver.screen_text().split())


@pytest.mark.parametrize("size", SIZES, ids=str)
async def test_the_first_frame_is_laid_out_as_after_a_resize_to_the_same_size(opened, size):
    async with opened("vgg_digits.pth", size=size) as driver:
        first = driver.main._size_classes().split()
        await driver.pilot.resize_terminal(90, 18)
        await driver.until(lambda: driver.main.classes >= {"-narrow", "-low"})
        await driver.pilot.resize_terminal(*size)
        await driver.until(lambda: driver.main.classes == {*first})
        assert len(first) == 2


def report_with(verdict):
    frozen = FrozenPart(1, int(verdict == "held"))
    return sanity_report(architecture="x", verdict=verdict, frozen=frozen, trainable=TrainablePart(31, 31))


async def test_a_name_longer_than_the_screen_takes_two_lines_from_the_start(tmp_path):
    name = "base.wrapped.net.model.language_model.decoder.layers.2.self_attn.q_proj.lora_A.default.weight"
    torch.save({name: torch.zeros(4, 8), "head.weight": torch.zeros(4, 8)}, tmp_path / "deep.pth")
    app = FreezeTuiApp(Options(source=str(tmp_path / "deep.pth"), engine=False))
    async with app.run_test(size=(60, 15)) as pilot:
        while app.main_screen is None:
            await pilot.pause(0.02)
        await pilot.pause()
        line = app.main_screen.query_one("#detail-line")
        assert line.region.height == 2
        tree = app.main_screen.tree_view
        before = tree.region
        tree.go_to(app.main_screen.session.tree.find(name))
        await pilot.pause()
        assert str(line.render()).replace("\n", "").startswith(f" {name}  float32") and tree.region == before
        await pilot.press("R")
        await pilot.pause()
        assert line.region.height == 1  # the proof needs the line more
        await pilot.press("R")
        await pilot.pause()
        assert line.region.height == 2
        await pilot.resize_terminal(105, 24)
        await pilot.pause()
        assert line.region.height == 1 and f" {name}  " in str(line.render())


async def test_memory_and_the_check_stay_beside_long_counts(opened, tmp_path):
    names = [f"blocks.{n // 2}.{'ab'[n % 2]}" for n in range(24_000)]
    header = {
        n: {"dtype": "F32", "shape": [1], "data_offsets": [4 * i, 4 * i + 4]} for i, n in enumerate(names)
    }
    encoded = json.dumps(header).encode()
    path = tmp_path / "many.safetensors"
    path.write_bytes(len(encoded).to_bytes(8, "little") + encoded + bytes(4 * len(names)))
    async with opened(path, size=(80, 24)) as driver:
        driver.go("blocks.0.a")
        await driver.press("b", "f")
        text = driver.screen_text()
        assert "memory with AdamW" in text and "not checked (press r)" in text
        assert "■ frozen" in text and "○ trainable" in text and "(50%)" in text


async def test_a_tall_screen_opens_the_blocks_that_a_group_stands_for(opened, tmp_path):
    parts = [f"encoder.layer.{n}.{part}" for n in range(12) for part in ("attn.weight", "mlp.weight")]
    for height, is_open in ((24, False), (60, True)):
        path = tmp_path / f"{height}.pth"  # how another one was looked at is remembered
        torch.save({name: torch.zeros(2, 2) for name in (*parts, "head.weight")}, path)
        async with opened(path, (120, height)) as driver:
            rows, block = driver.tree.rows, driver.session.tree.find("encoder.layer.0")
            assert "{0..11} ×12" in driver.screen_text() and rows.is_open(block) == is_open
            assert len(rows) <= driver.tree.size.height and ("attn ×12" in driver.screen_text()) == is_open
            await driver.press("E", "C")
            assert rows.is_open(block) == is_open


@pytest.mark.parametrize("width", [60, 80, 120])
async def test_a_message_is_cut_at_a_word(opened, width):
    async with opened(size=(width, 24)) as driver:
        driver.app.notify("words of seven letters " * 9, timeout=30)
        await driver.pilot.pause()
        (shown,) = (notice.message for notice in driver.app._notifications)
        assert width - 12 < len(shown) <= width - 2 and shown.endswith("…")
        assert set(shown[:-1].split()) == {"words", "of", "seven", "letters"}
        assert driver.notices() == "words of seven letters " * 9


async def test_what_the_header_tells_of_the_file_does_not_change_with_an_edit_and_with_saving(
    opened, monkeypatch
):
    width = 0
    monkeypatch.setattr(Header, "size", property(lambda _: Size(width, 1)))
    async with opened() as driver:
        told: dict[int, list[tuple[bool, ...]]] = {}
        for keys, state in (((), "no config yet"), (("j", "f"), "unsaved"), (("s",), "saved")):
            await driver.press(*keys)
            for width in range(50, 160):
                text = str(driver.main.query_one(Header).render())
                assert state in text and len(text) <= width
                parts = ("vgg_digits.pth", "zip state_dict", "torchvision vgg16")
                told.setdefault(width, []).append(tuple(part in text for part in parts))
        assert all(len(set(each)) == 1 for each in told.values()), told
        assert {each[0] for each in told.values()} > {(True, True, True)}


@pytest.mark.parametrize("keys", [("f",), ("plus", "enter", "plus", "enter")])
async def test_at_60_by_15_the_headline_of_a_proof_leaves_room_for_the_keys(opened, keys):
    async with opened(size=(60, 15)) as driver:
        await driver.press("j", *keys)
        held = sanity_report(frozen=FrozenPart(26, 26), trainable=TrainablePart(6, 6))
        nothing = sanity_report(
            verdict="inconclusive",
            stage="everything",
            frozen=FrozenPart(0, 0),
            trainable=TrainablePart(32, 32),
            findings=(finding("nothing_to_hold"),),
        )
        report = nothing if "plus" in keys else held
        assert bool(report.nothing_to_hold) == ("plus" in keys)
        driver.session.checked(report, driver.session.plan.mask())
        await driver.press("R")
        await driver.pilot.pause()
        assert "(Tab: this list, R: close)" in driver.screen_text().replace("\n", " ")


async def test_an_architecture_that_does_not_fit_is_told_as_far_as_it_does(opened):
    async with opened(size=(60, 15)) as driver:
        assert "torchvision vgg16…" in driver.screen_text().splitlines()[0]
        await driver.press("j", "f")
        assert "torchvision vgg16…" in driver.screen_text().splitlines()[0]


async def test_a_preset_keeps_its_counts_on_one_line(opened, tmp_path):
    names = [f"layers.{i}.lora_{part}.weight" for i in range(3) for part in "AB"]
    torch.save({name: torch.zeros(64, 33) for name in names}, tmp_path / "adapter.pth")
    async with opened(tmp_path / "adapter.pth", size=(60, 15)) as driver:
        await driver.press("p")
        lines = [line.strip(" │○%") for line in driver.screen_text().splitlines()]
        assert "train the adapters only (lora_ and the like)" in lines
        assert lines[lines.index("train the adapters only (lora_ and the like)") + 1] == "12.67 K, 100"


@pytest.mark.parametrize("size", [(60, 15), (80, 24)], ids=str)
async def test_a_long_line_of_a_prompt_is_shown_whole_and_its_field_is_on_the_screen(opened, size):
    line = "peft:AutoPeftModelForCausalLM.from_pretrained --arg path=" + "/a_long_directory_name" * 3
    async with opened(size=size) as driver:
        body = "\n".join(f"line {number} of the text above" for number in range(30))
        driver.app.push_screen(PromptScreen("Architecture", body, line))
        await driver.pilot.pause(0.1)
        screen = driver.app.screen
        field, whole = screen.query_one(Input), screen.query_one("#prompt-whole")
        assert "Enter: accept" in driver.screen_text() and "line 0 of" in driver.screen_text()
        assert screen.region.contains_region(field.region) and field.region.height
        assert screen.region.contains_region(whole.region)
        shown = "".join(strip.text.strip() for strip in whole.render_lines(whole.size.region))
        assert "".join(shown.split()) == "".join(line.split())
        await driver.press("ctrl+u")
        await driver.type("short")
        assert not whole.display, "the field shows all of it"


@pytest.mark.parametrize(
    ("label", "room", "shown"),
    [
        ("transformers T5ForConditionalGeneration", 39, "transformers T5ForConditionalGeneration"),
        ("transformers T5ForConditionalGeneration", 30, "T5ForConditionalGeneration"),
        ("transformers T5ForConditionalGeneration", 20, "T5ForConditionalGen…"),
        ("torchvision vgg16, custom widths, 10 classes", 21, "torchvision vgg16…"),
        ("my/long/path/to/models.py:build", 20, "my/long/path/to/mod…"),
    ],
)
def test_a_header_rather_omits_the_library_than_the_model(label, room, shown):
    assert _architecture_in(label, room) == shown


async def shown_toast(pilot, screen, begins):
    """Wait for the one toast that says this: a busy machine mounts it later."""
    for _ in range(600):
        await pilot.pause(0.05)
        toasts = [toast for toast in screen.query("Toast") if toast.region.height]
        if len(toasts) == 1 and toasts[0]._notification.message.startswith(begins):
            return toasts[0]
    raise AssertionError(list(screen.query("Toast")))


@pytest.mark.parametrize("size", [(60, 15), (80, 24), (120, 40), (200, 50)], ids=str)
async def test_a_message_takes_the_line_of_the_map_and_nothing_else_moves(sample, size):
    app = FreezeTuiApp(Options(source=str(sample("vgg_digits.pth")), engine=False))
    async with app.run_test(size=size, notifications=True) as pilot:
        while app.main_screen is None:
            await pilot.pause(0.01)
        main, checked = app.main_screen, 0
        for keys in ((), ("R",), ("R", "D"), ("D", "slash", "b"), ("enter",)):
            await pilot.press(*keys)
            await pilot.pause()
            before = {
                widget.id: widget.region
                for widget in main.query("#main, #tree, #side, #check, #filter, #map, #totals, #keys")
            }
            for text in ("short", "words of a long message " * 20, "\u540d" * 300, "x" * 300):
                main.notify(text)
                toast = await shown_toast(pilot, main, begins=text[:4])
                assert toast.region.y == main.query_one("#map").region.y and toast.region.height == 1
                assert before == {i: main.query_one(f"#{i}").region for i in before}
                checked += 1
            app.clear_notifications()
        assert checked == 20
