"""The keys that choose, each on a real sample."""

from __future__ import annotations

import pytest
from textual.widgets import OptionList

from freezetui.config.codec import read_config
from freezetui.tui.screens import presets


async def test_space_freezes_what_trains_and_trains_what_is_frozen(opened):
    async with opened() as driver:
        driver.go("features")
        await driver.press("space")
        assert driver.state("features") == "frozen"
        assert driver.state("classifier") == "trainable"
        assert driver.session.totals.frozen.tensors == 26
        driver.go("features.24")
        await driver.press("space")
        assert driver.state("features") == "mixed"
        driver.go("features")
        await driver.press("space")
        assert driver.state("features") == "trainable"


async def test_f_t_a_i_act_on_line_and_model(opened):
    async with opened() as driver:
        driver.go("classifier.6.bias")
        await driver.press("f")
        assert driver.session.totals.frozen.elements == 10
        await driver.press("f")
        assert driver.session.totals.frozen.tensors == 1
        driver.go("")
        await driver.press("i")
        assert driver.session.totals.trainable.elements == 10
        await driver.press("a")
        assert driver.session.totals.trainable.tensors == 0
        await driver.press("a")
        assert driver.session.totals.frozen.tensors == 0
        await driver.press("a")
        driver.go("classifier")
        await driver.press("t")
        assert driver.state("classifier") == "trainable"


async def test_undo_and_redo(opened):
    async with opened() as driver:
        start = driver.session.plan.mask()
        driver.go("features")
        await driver.press("f")
        frozen = driver.session.plan.mask()
        await driver.press("a", "i")
        await driver.press("u", "u", "u")
        assert driver.session.plan.mask() == start
        assert "undo: 26 tensors in features trainable again" in driver.notices()
        await driver.press("ctrl+r")
        assert driver.session.plan.mask() == frozen
        await driver.press("u", "u")
        assert "nothing to undo" in driver.notices()


async def test_w_freezes_everything_before(opened):
    async with opened() as driver:
        driver.go("features.24")
        await driver.press("w")
        assert driver.state("features.21") == "frozen"
        assert driver.state("features.24") == "trainable"
        assert driver.state("classifier") == "trainable"


async def test_b_reaches_every_block_and_ties_move_together(opened):
    async with opened("tiny_transformer.pth") as driver:
        driver.go("layers.2.attention")
        await driver.press("b")
        assert {driver.state(f"layers.{i}.attention") for i in range(6)} == {"frozen"}
        assert driver.state("layers.0.norm1") == "trainable"
        driver.go("lm_head")
        await driver.press("f")
        assert driver.state("tok_embed.weight") == "frozen"
        assert driver.session.plan.totals().parameters.tensors == len(
            {t.storage for t in driver.session.checkpoint.tensors}
        )


async def test_a_folded_family_toggles_all_its_blocks(opened):
    async with opened("tiny_transformer.pth") as driver:
        text = driver.screen_text()
        assert "{0..5} ×6" in text
        view = driver.tree
        view.cursor = driver.tree.rows.line_of(driver.session.tree.find("layers.0"))
        await driver.press("f")
        assert driver.state("layers") == "frozen"
        await driver.press("l", "j")
        assert "norm1 ×6" in driver.screen_text()
        assert "in 6 blocks" in driver.screen_text()
        await driver.press("z")
        assert "×6" not in driver.screen_text()
        driver.go("layers.3")
        await driver.press("t")
        assert driver.state("layers.3") == "trainable"
        assert driver.state("layers.2") == "frozen"
        await driver.press("z")
        assert "{0..2} ×3" in driver.screen_text() and "{4..5} ×2" in driver.screen_text()
        assert driver.tree.line(driver.tree.node).totals.state == "trainable"
        await driver.press("u", "z")
        assert "{0..5} ×6" in driver.screen_text()


async def test_the_last_column_and_the_order_change_on_keys(opened):
    async with opened(size=(60, 15)) as driver:
        await driver.press("m")
        assert "bytes" in driver.screen_text() and "share" not in driver.screen_text()
        driver.go("features.28")
        await driver.press("M")
        assert "bytes ▼" in driver.screen_text() and "M: model order" in driver.screen_text()
        assert driver.session.tree.path(driver.tree.node) == "features.28"
        titles = [driver.tree.rows.title(node) for node in driver.tree.rows.visible]
        assert titles[:3] == ["", "classifier", "classifier.0"]
        assert titles.index("features.28") < titles.index("features.2") < titles.index("features.0")
        await driver.press("M", "m")
        assert "share" in driver.screen_text() and "▼" not in driver.screen_text()
        assert list(driver.tree.rows.visible) == sorted(driver.tree.rows.visible)


async def test_a_range_of_lines_is_edited_together_until_esc(opened):
    async with opened() as driver:
        driver.go("features.24")
        await driver.press("v", "j", "j", "f")
        assert "3 lines" in driver.screen_text()
        assert [driver.state(f"features.{i}") for i in (21, 24, 26, 28)] == ["trainable", *["frozen"] * 3]
        await driver.press("space")
        assert driver.state("features") == "trainable"
        await driver.press("escape", "f")
        assert driver.state("features.24") == "trainable" and driver.state("features.28") == "frozen"
        assert "3 lines" not in driver.screen_text()
        await driver.press("u", "u", "u")
        assert not driver.session.unsaved


async def test_buffers_and_integers_say_why_they_cannot_train(opened):
    async with opened("shufflenet_digits.safetensors") as driver:
        driver.go("conv1.1.running_mean")
        before = driver.session.plan.mask()
        await driver.press("space")
        assert driver.session.plan.mask() == before
        assert "buffer" in driver.notices()
        driver.go("conv1.1.num_batches_tracked")
        await driver.press("f")
        assert driver.session.plan.mask() == before


async def test_presets(opened):
    async with opened("tiny_transformer.pth") as driver:
        await driver.press("p")
        await driver.press("down", "right", "enter")
        await driver.until(lambda: driver.session.unsaved)
        assert driver.state("layers.3") == "frozen"
        assert driver.state("layers.4") == "trainable"
        assert driver.state("layers.5") == "trainable"
        await driver.press("p")
        await driver.press("enter")
        await driver.until(lambda: driver.state("layers.5") == "frozen")
        assert driver.state("lm_head") == "trainable"
        await driver.press("p", "escape")
        assert driver.state("lm_head") == "trainable"


@pytest.mark.parametrize("many", [1, 10_000])
async def test_a_preset_that_matches_nothing_is_shown_and_cannot_be_chosen(opened, monkeypatch, many):
    monkeypatch.setattr(presets, "_MANY", many)  # from there on, the figures follow the first frame
    async with opened("tiny_transformer.pth") as driver:
        before = driver.session.plan.mask()
        await driver.press("p")
        await driver.until(lambda: "none here" in driver.screen_text())
        options = driver.app.screen.query_one(OptionList)
        assert [option.id for option in options.options if option.disabled] == ["adapters"]
        assert options.highlighted == 0
        options.highlighted = 4
        await driver.press("enter")
        assert isinstance(driver.app.screen, presets.PresetScreen)
        await driver.press("escape")
        assert driver.session.plan.mask() == before


@pytest.mark.parametrize("key", ["escape", "q", "p"])
async def test_the_presets_close_without_a_choice(opened, key):
    async with opened("tiny_transformer.pth") as driver:
        await driver.press("p")
        assert isinstance(driver.app.screen, presets.PresetScreen)
        await driver.press(key)
        assert driver.app.screen is driver.main and not driver.session.unsaved


async def test_saving_writes_the_choice_and_opens_with_it_again(opened, sample):
    path = sample("vgg_digits.pth")
    async with opened(path) as driver:
        driver.go("features")
        await driver.press("f")
        assert "unsaved" in driver.screen_text()
        await driver.press("s")
        await driver.until(lambda: not driver.session.unsaved)
        assert "unsaved" not in driver.screen_text()
        config = read_config(path.with_name("vgg_digits.freeze.yaml"))
        assert [(rule.action, rule.pattern) for rule in config.rules] == [("freeze", "features")]
        assert config.model.checkpoint == "vgg_digits.pth"
        assert config.model.architecture == "torchvision:vgg16"
        assert config.expect is not None and config.expect.frozen.tensors == 26
        mask = driver.session.plan.mask()
    async with opened(path) as driver:
        assert driver.session.plan.mask() == mask
        assert not driver.session.unsaved
        await driver.press("d")
        assert "Nothing has changed" in driver.screen_text()
        await driver.press("escape")
        driver.go("features.28")
        await driver.press("t", "d")
        assert "train  features.28" in driver.screen_text()


async def test_save_as_asks_before_it_writes_over_another_file(opened, tmp_path):
    other = tmp_path / "other.freeze.yaml"
    other.write_text("freezetui: 1\n# mine\ndefault: freeze\n")
    async with opened() as driver:
        driver.go("classifier")
        await driver.press("f", "S")
        driver.app.screen.query_one("Input").value = str(other)
        await driver.press("enter")
        await driver.until(lambda: "Overwrite" in driver.screen_text())
        await driver.press("n")
        await driver.pilot.pause()
        assert read_config(other).default == "freeze"
        await driver.press("S")
        driver.app.screen.query_one("Input").value = str(other)
        await driver.press("enter")
        await driver.until(lambda: "Overwrite" in driver.screen_text())
        await driver.press("y")
        await driver.until(lambda: not driver.session.unsaved)
        assert read_config(other).default == "train"
        assert "# mine" in other.read_text()


async def test_b_makes_the_other_blocks_as_this_one_is(opened):
    async with opened("tiny_transformer.pth") as driver:
        driver.go("layers.1")
        await driver.press("f", "b")
        assert driver.state("layers") == "frozen"
        await driver.press("b")
        assert driver.state("layers") == "trainable"


async def test_b_takes_no_other_kind_of_layer(opened):
    async with opened("conv_digits_training.pt") as driver:
        tree = driver.session.tree
        convolutions = [n for n in range(len(tree)) if tree.leaf[n] and len(tree.tensor(n).shape) == 4]
        driver.tree.go_to(convolutions[0])
        await driver.press("b")
        frozen = [t.name for t, s in zip(tree.tensors, driver.session.plan.states, strict=True) if s == 0]
        assert frozen == [tree.path(node) for node in convolutions]


async def test_w_on_the_first_line_and_tied_counts_are_told_right(opened):
    async with opened("tiny_transformer.pth") as driver:
        await driver.press("w")
        assert "there is nothing above" in driver.notices()
        await driver.press("p", "end", "enter")
        await driver.until(lambda: driver.session.unsaved)
        assert "76 tensors set" in driver.notices()


async def test_a_config_changed_on_disk_is_asked_about(opened, sample):
    path = sample("vgg_digits.pth")
    async with opened(path) as driver:
        driver.go("features")
        await driver.press("f", "s")
        await driver.until(lambda: not driver.session.unsaved)
        config = path.with_name("vgg_digits.freeze.yaml")
        config.write_text("freezetui: 1\nrules:\n  - freeze: classifier\n")
        await driver.press("t", "d")
        assert "changed on disk" in driver.screen_text()
        await driver.press("escape", "s")
        assert "changed on disk" in driver.screen_text()
        await driver.press("n")
        await driver.pilot.pause()
        assert "classifier" in config.read_text()


async def test_names_that_cannot_be_saved_under_are_refused_in_the_dialog(opened):
    async with opened() as driver:
        await driver.press("S", "ctrl+u")
        await driver.type("x.txt")
        await driver.press("enter")
        assert "must end in .yaml or .json" in driver.screen_text()


async def test_a_range_ends_when_the_lines_are_sorted(opened):
    async with opened() as driver:
        await driver.press("v", "down", "down", "M")
        assert driver.tree.selection.anchor is None and "lines, Esc ends" not in driver.screen_text()
        await driver.press("v", "down", "m")
        assert driver.tree.selection.anchor is None, "another measure, another order"
        await driver.press("M", "v", "down", "M")
        assert driver.tree.selection.anchor is None


async def test_a_key_that_changes_nothing_says_what_is_so_already(opened):
    async with opened("tiny_transformer.pth") as driver:
        driver.tree.cursor = driver.tree.rows.line_of(driver.session.tree.find("layers.0"))
        await driver.press("l", "j")
        assert driver.tree.rows.times(driver.tree.node) == 6
        for key, state in (("t", "trainable"), ("f", "frozen")):
            driver.app.clear_notifications()
            await driver.press(key, key)
            assert f"already {state}" in driver.notices() and "0 tensors" not in driver.notices()
        driver.app.clear_notifications()
        driver.tree.choose(driver.session.plan.mask())
        await driver.pilot.pause()
        assert driver.notices() == "the plan is already what this preset makes it"
