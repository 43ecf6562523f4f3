"""Filter, matches, moving about."""

from __future__ import annotations

import asyncio
import json
import threading
from concurrent.futures import Future

import pytest
from textual import events
from textual.widgets import Input

from freezetui.checkpoint.types import TensorInfo
from freezetui.freeze.patterns import runs
from freezetui.freeze.plan import FreezePlan
from freezetui.freeze.rules import Rule, resolve
from freezetui.freeze.tree import ParamTree
from freezetui.session.loading import run_in_thread
from freezetui.tui.search import find, neighbor, rules_to_freeze
from freezetui.tui.widgets import filter_bar
from freezetui.tui.widgets.filter_bar import FilterBar


async def test_filter_by_words_counts_live_and_acts_on_all_matches(opened):
    async with opened() as driver:
        await driver.press("slash")
        await driver.type("bias")
        assert "16 matches" in driver.screen_text()
        assert all(not driver.session.tree.path(n).endswith("weight") for n in driver.tree.rows.visible)
        await driver.press("ctrl+f")
        assert driver.session.totals.frozen.tensors == 16
        await driver.press("enter")
        assert driver.tree.has_focus
        await driver.press("T")
        assert driver.session.totals.frozen.tensors == 0
        await driver.press("escape")
        assert driver.tree.rows.matches is None


async def test_filter_by_pattern(opened):
    async with opened() as driver:
        await driver.press("slash")
        await driver.type("features.{24..28}")
        assert "6 matches (pattern)" in driver.screen_text()
        await driver.press("enter", "F")
        assert driver.session.totals.frozen.tensors == 6
        await driver.press("slash")
        await driver.type("{")
        assert "'{' without '}'" in driver.screen_text()


async def test_with_a_filter_a_module_acts_only_on_what_is_shown(opened):
    async with opened() as driver:
        await driver.press("slash")
        await driver.type("bias")
        await driver.press("enter")
        driver.tree.cursor = 0
        await driver.press("f")
        assert driver.session.totals.frozen.tensors == 16


async def test_n_goes_round_the_matches(opened):
    async with opened() as driver:
        await driver.press("slash")
        await driver.type("classifier weight")
        await driver.press("enter")
        seen = []
        for _ in range(4):
            seen.append(driver.session.tree.path(driver.tree.node))
            await driver.press("n")
        assert seen == [f"classifier.{i}.weight" for i in (0, 3, 6, 0)]
        await driver.press("N")
        assert driver.session.tree.path(driver.tree.node) == "classifier.0.weight"


async def test_moving_folding_and_expanding(opened):
    async with opened() as driver:
        view, rows = driver.tree, driver.tree.rows
        assert view.cursor == 0
        await driver.press("j", "j", "k")
        assert driver.session.tree.path(view.node) == "features"
        await driver.press("h")
        assert not rows.is_open(view.node)
        await driver.press("l", "l")
        assert driver.session.tree.path(view.node) == "features.0"
        await driver.press("enter")
        assert rows.is_open(view.node)
        await driver.press("E")
        assert len(rows) == len(driver.session.tree)
        await driver.press("end")
        assert driver.session.tree.path(view.node) == "classifier.6.bias"
        await driver.press("C")
        assert len(rows) < len(driver.session.tree)
        await driver.press("home", "pagedown", "pageup", "c", "e")
        assert view.cursor == 0


async def test_the_mouse_toggles_on_the_state_and_opens_on_the_arrow(opened):
    async with opened() as driver:
        await driver.pilot.click("#tree", offset=(2, 1))
        assert driver.state("features") == "frozen"
        lines = len(driver.tree.rows)
        await driver.pilot.click("#tree", offset=(13, 1))
        await driver.pilot.pause()
        assert len(driver.tree.rows) < lines


@pytest.mark.parametrize(
    ("at", "direction", "on_match", "expected"),
    [
        (0, 1, False, 2),
        (2, 1, True, 3),
        (3, 1, True, 7),
        (7, 1, True, 2),
        (7, -1, True, 3),
        (2, -1, True, 7),
        (5, -1, False, 3),
    ],
)
def test_neighbor(at, direction, on_match, expected):
    assert neighbor([(2, 4), (7, 8)], at, direction, on_match) == expected


def test_find_tells_words_from_patterns(sample):
    from freezetui.session.options import Options
    from freezetui.session.session import Session

    tree = Session(Options(source=str(sample("vgg_digits.pth")))).tree
    assert find("", tree).spans is None
    assert find("FEATURES 28 w", tree).tensors == 1
    assert find("**.bias", tree).tensors == 16
    assert find("features.{", tree).tensors == 0
    assert "{" in find("features.{", tree).how


@pytest.mark.parametrize(
    ("text", "how", "tensors"),
    [
        ("model.layers.1", "pattern", 2),
        ("layers.1", "words", 6),
        ("model", "pattern", 6),
        ("odel", "words", 6),
        ("model.layers.1.weight ", "pattern", 1),
        ("model.layers.*.bias", "pattern", 3),
        ("model.layers.7", "words", 0),
        ("layers.*", "pattern", 0),
        ("MODEL.layers.1", "words", 6),
    ],
)
def test_the_same_text_means_the_same_as_in_a_rule(text, how, tensors):
    layers = [f"model.layers.{number}.{name}" for number in (1, 10, 11) for name in ("weight", "bias")]
    tree = ParamTree([TensorInfo(name, (2,), "float32") for name in layers])
    found = find(text, tree)
    assert (found.how, found.tensors) == (how, tensors)
    if how == "pattern" and tensors:
        frozen = resolve([Rule("freeze", text.strip())], tree)
        assert found.spans == runs(i for i, train in enumerate(frozen) if not train)


async def test_the_bar_shows_the_rule_that_freezing_adds(opened):
    async with opened() as driver:
        await driver.press("slash")
        await driver.type("features.28")
        assert "2 matches (pattern), ctrl+f: freeze features.28" in driver.screen_text()
        await driver.type(" w")
        assert "1 match (words), ctrl+f: freeze features.28.weight" in driver.screen_text()
        await driver.press("ctrl+f")
        assert "1 match (words), all frozen" in driver.screen_text()
        rule = driver.session.written().rules
        assert [(r.action, r.pattern) for r in rule] == [("freeze", "features.28.weight")]
        await driver.press("ctrl+t")
        assert "ctrl+f: freeze features.28.weight" in driver.screen_text()


def many_tensors(tmp_path):
    """Write a checkpoint of 2,500 layers, and return its path."""
    names = [f"layer.{i}.{name}" for i in range(2_500) for name in ("weight", "bias")]
    entry = {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}
    entries = {name: {**entry, "data_offsets": [4 * i, 4 * i + 4]} for i, name in enumerate(names)}
    header = json.dumps(entries).encode()
    path = tmp_path / "many.safetensors"
    path.write_bytes(len(header).to_bytes(8, "little") + header + bytes(4 * len(names)))
    return path


async def test_the_rule_for_many_tensors_is_found_in_a_thread(opened, tmp_path):
    async with opened(many_tensors(tmp_path)) as driver:
        await driver.press("slash")
        await driver.type("layer.{0..2498}.bias")
        await driver.until(lambda: "ctrl+f: freeze layer.{0..2498}.bias" in driver.screen_text(), 20)
        assert "2,499 matches (pattern)" in driver.screen_text()


async def test_a_letter_typed_while_the_rule_is_being_found_is_no_error(opened, tmp_path, monkeypatch):
    seeking, free = threading.Event(), threading.Event()

    def slow(found, plan):
        seeking.set()
        free.wait(10)
        return rules_to_freeze(found, plan)

    monkeypatch.setattr(filter_bar, "rules_to_freeze", slow)
    failed = []
    monkeypatch.setattr(threading, "excepthook", lambda failure: failed.append(failure.exc_value))
    async with opened(many_tensors(tmp_path)) as driver:
        await driver.press("slash")
        await driver.type("bia")
        await driver.until(seeking.is_set, 20)
        await driver.type("s")
        free.set()
        await driver.until(lambda: "ctrl+f: freeze" in driver.screen_text(), 20)
        assert "2,500 matches (words)" in driver.screen_text()
        await driver.press("escape")
        await driver.until(lambda: not driver.main.query_one(FilterBar).display)
    assert not failed


def test_who_stops_waiting_for_a_thread_does_not_cancel_it():
    promise = Future()
    free = threading.Event()
    run_in_thread(promise, lambda: free.wait(10))
    assert not promise.cancel()
    free.set()
    assert promise.result(10)


def test_no_rule_is_sought_for_what_is_scattered_widely():
    tree = ParamTree([TensorInfo(f"layer.{name}{i}", (1,), "float32") for i in range(30) for name in "ab"])
    plan, found = FreezePlan(tree), find("r.A", tree)
    assert found.tensors == 30
    assert rules_to_freeze(found, plan) is None
    plan.set(found.spans, False)
    assert rules_to_freeze(found, plan) == ()


async def test_the_keys_act_on_the_text_as_it_stands_and_not_on_the_last_count(opened):
    async with opened() as driver:
        await driver.press("slash")
        keys = driver.main.query_one("#filter-input")
        # As a terminal delivers what is typed fast: all at once, before anything has been counted.
        for key in [*"bias", "ctrl+f"]:
            driver.app.post_message(events.Key(key, key if len(key) == 1 else None))
        await driver.until(lambda: driver.session.totals.frozen.tensors)
        assert keys.value == "bias"
        assert driver.session.totals.frozen.tensors == 16


async def test_a_filter_that_matches_nothing_says_so(opened):
    async with opened() as driver:
        await driver.press("slash")
        await driver.type("qwerty")
        assert "0 matches" in driver.screen_text()
        assert "nothing matches" in driver.screen_text()
        await driver.press("ctrl+t")
        assert "the filter matches nothing" in driver.notices()
        await driver.press("enter", "f", "space", "w", "i", "b")
        assert not driver.session.unsaved


async def test_escape_gives_the_cursor_back_and_forgets_the_matches(opened):
    async with opened() as driver:
        await driver.press("j", "j", "j", "slash")
        await driver.type("classifier.6")
        await driver.type("zz")
        await driver.press("escape")
        assert driver.session.tree.path(driver.tree.node) == "features.2"
        await driver.press("F")
        assert "no filter: press /" in driver.notices()
        assert not driver.session.unsaved


async def test_a_folded_family_stays_folded_after_a_filter(opened):
    async with opened("tiny_transformer.pth") as driver:
        driver.tree.cursor = 5
        assert driver.tree.rows.family(driver.tree.node)
        await driver.pilot.pause()
        assert "layers.{0..5}" in driver.screen_text()
        await driver.press("slash", "escape", "f")
        assert driver.session.totals.frozen.tensors == 72


async def test_with_a_filter_everything_is_what_is_shown(opened):
    async with opened("tiny_transformer.pth") as driver:
        await driver.press("slash")
        await driver.type("norm1.bias")
        await driver.press("enter", "n", "w")
        assert driver.session.totals.frozen.tensors == 1
        await driver.press("a")
        assert driver.session.totals.frozen.tensors == 6
        await driver.press("e")
        assert "Clear the filter (Esc)" in driver.notices()


async def test_the_hint_names_the_rule_where_one_says_it_and_else_how_many_tensors(opened):
    async with opened("tiny_transformer.pth", size=(80, 24)) as driver:
        await driver.press("slash")
        await driver.type("norm1.bias")
        await driver.until(lambda: "ctrl+f: freeze layers.{0..5}.norm1.bias" in driver.screen_text())
        await driver.press(*["backspace"] * 10)
        await driver.type("layers.{0..4}")
        await driver.until(lambda: "ctrl+f: freeze 60 tensors" in driver.screen_text())
        await driver.press("enter", "g")
        assert "of the matches: 0 frozen, 60 trainable" in driver.screen_text()


async def test_the_hint_counts_what_freezing_changes(opened):
    async with opened("shufflenet_digits.safetensors", size=(120, 24)) as driver:
        await driver.press("slash")
        await driver.type("branch2.1")  # weights, biases and the statistics of norms
        await driver.until(lambda: "80 matches (words), ctrl+f: freeze 32 tensors" in driver.screen_text())
        await driver.press("ctrl+f")
        assert "frozen: 32 tensors set" in driver.notices()
        await driver.press("ctrl+t")
        assert "trainable: 32 tensors set" in driver.notices()
        await driver.press(*["backspace"] * 9)
        await driver.type("running_mean")
        await driver.until(lambda: "matches (words), none trainable" in driver.screen_text())


async def test_the_palette_does_not_act_behind_a_dialog(opened):
    async with opened() as driver:
        depth = len(driver.app.screen_stack)
        await driver.press("p", "ctrl+p")
        assert len(driver.app.screen_stack) == depth + 1
        await driver.press("escape", "ctrl+p")
        await driver.until(lambda: len(driver.app.screen_stack) == depth + 1)


#: Takes more than the two seconds that regular expressions may.
ENDLESS = "re:(a|aa)+[bc]"


@pytest.fixture
def endless(tmp_path):
    """A checkpoint with a name on which ENDLESS does not end."""
    path = tmp_path / "endless.safetensors"
    names = ["a" * 60, *(f"layer.{i}.weight" for i in range(50))]
    entries = {
        name: {"dtype": "F32", "shape": [1], "data_offsets": [4 * i, 4 * i + 4]}
        for i, name in enumerate(names)
    }
    header = json.dumps(entries).encode()
    path.write_bytes(len(header).to_bytes(8, "little") + header + bytes(4 * len(names)))
    return path


async def test_an_endless_pattern_blocks_no_key_and_is_told(opened, endless):
    async with opened(endless) as driver:
        await driver.press("slash")
        driver.main.query_one(Input).value = ENDLESS
        await driver.until(lambda: "matching" in driver.screen_text())
        rounds = 0
        while driver.main.query_one(FilterBar)._waiting:
            await asyncio.sleep(0.01)
            rounds += 1
        assert rounds > 20  # the UI has gone on while the thread matched
        await driver.until(lambda: "Timed out" in driver.screen_text(), 20)
        await driver.press("escape")
        await driver.until(lambda: not driver.main._filter.display)


async def test_a_stale_result_is_dropped(opened, endless):
    async with opened(endless) as driver:
        await driver.press("slash")
        await driver.type(ENDLESS)
        driver.main.query_one(Input).value = "layer w"
        await driver.until(lambda: "50 matches (words)" in driver.screen_text(), 2)
        await driver.until(lambda: not driver.main.query_one(FilterBar)._waiting, 20)
        assert "50 matches (words)" in driver.screen_text()
        assert "Timed out" not in driver.screen_text()


async def test_keys_that_change_wait_for_what_the_text_matches(opened, endless):
    async with opened(endless) as driver:
        await driver.press("slash")
        await driver.type(r"re:layer\.\d\.weight")
        await driver.press("ctrl+f")
        await driver.until(lambda: driver.session.totals.frozen.tensors == 10, 20)
        driver.main.query_one(Input).value = r"re:layer\.[0-4]\.weight"
        await driver.press("ctrl+t", "enter")
        await driver.until(lambda: driver.session.totals.frozen.tensors == 5, 20)
        await driver.until(lambda: driver.session.tree.path(driver.tree.node) == "layer.0.weight", 20)


async def test_a_pattern_that_re_warns_about_is_silent(opened, recwarn):
    async with opened() as driver:
        await driver.press("slash")
        driver.main.query_one(Input).value = "re:[[a]--[b]&&.*"
        await driver.until(
            lambda: "no matches" in driver.screen_text() or "0 matches" in driver.screen_text(), 20
        )
    assert [str(warning.message) for warning in recwarn if "set" in str(warning.message)] == []


async def test_a_pattern_that_matches_deeper_is_offered(opened):
    async with opened(size=(60, 15)) as driver:
        await driver.press("slash", *"bia*")
        assert "0 matches; try **.bia*" in driver.screen_text()
        await driver.press(*["backspace"] * 4, *"zz*")
        assert "0 matches (pattern)" in driver.screen_text()


async def test_what_freezes_the_rest_does_not_read_as_if_it_froze_all(opened):
    async with opened(size=(100, 30)) as driver:
        await driver.press("a", "slash", *"classifier", "ctrl+t")
        assert "ctrl+f: freeze these, and all is frozen" in driver.screen_text()
        await driver.press("ctrl+f")
        assert driver.session.totals.trainable.tensors == 0
