"""Every state can be read in every built-in theme: text and its background have a contrast of 4.5 to 1."""

from __future__ import annotations

import re

import msgspec
import pytest
import textual.color
from rich.color import Color
from rich.color_triplet import ColorTriplet
from rich.segment import Segment
from rich.style import Style
from textual.theme import BUILTIN_THEMES, Theme

from freezetui.sanity.codes import finding
from freezetui.tui.contrast import MIN_CONTRAST, contrast, legible, muted
from freezetui.tui.readable_filter import ReadableFilter
from freezetui.tui.widgets.tree_line import MARK_STYLES, MARKS, SIGNS, STYLES, WORDS
from support.reports import HELD

#: Whether the ANSI themes are drawn in the terminal's own colors, which old versions of Textual convert.
HAS_ANSI_THEMES = "ansi-dark" in BUILTIN_THEMES


def is_ansi(theme: Theme) -> bool:
    """Whether a theme has the terminal's own colors; old versions of Textual tell it by the name alone."""
    return getattr(theme, "ansi", theme.name.endswith("-ansi"))


def test_contrast_is_that_of_wcag():
    black, white = ColorTriplet(0, 0, 0), ColorTriplet(255, 255, 255)
    assert contrast(black, white) == contrast(white, black) == pytest.approx(21)
    assert contrast(ColorTriplet(0x77, 0x77, 0x77), white) == pytest.approx(4.48, abs=0.005)


@pytest.mark.parametrize("background", ["#000000", "#777777", "#808080", "#ffffff", "#ff0000", "#00ff00"])
@pytest.mark.parametrize("color", ["#000000", "#ffa62b", "#0178d4", "#ffffff"])
def test_what_can_be_read_stays_and_the_rest_becomes_readable(color, background):
    style = Style(color=color, bgcolor=background)
    found = legible(style)
    assert contrast(found.color.triplet, found.bgcolor.triplet) >= MIN_CONTRAST
    if contrast(style.color.triplet, style.bgcolor.triplet) >= MIN_CONTRAST:
        assert found == style


def test_the_terminals_own_colors_are_left_alone():
    for style in (Style(color="blue", bgcolor=Color.default()), Style(color=Color.default())):
        assert legible(style) is style


@pytest.mark.parametrize("color", ["blue", "default", "#777777"])
def test_text_on_another_of_the_terminals_colors_is_in_reverse_video(color):
    found = legible(Style(color=color, bgcolor="blue", bold=True))
    assert found == Style(color="default", bgcolor="default", reverse=True, bold=True)


@pytest.mark.parametrize("text", ["Title", "✗", "■", "?"])
@pytest.mark.parametrize("background", ["#1e1e1e", "#808080", "#eff1f5"])
@pytest.mark.parametrize("color", ["#df8e1d", "#268bd2", "#808080"])
def test_whatever_a_widget_draws_goes_through_the_filter(text, background, color):
    style = Style(color=color, bgcolor=background)
    for given in (style, Style(color=color), style + Style(dim=True), style + Style(reverse=True)):
        (drawn,) = ReadableFilter().apply([Segment(text, given)], textual.color.Color.parse(background))
        found = drawn.style
        back = found.bgcolor or Color.parse(background)
        assert contrast(found.color.triplet, back.triplet) >= MIN_CONTRAST and not found.dim
    frame = [Segment("╭──▔▏ ", style), Segment("x", Style(color="blue", bgcolor=background)), Segment("y")]
    assert ReadableFilter().apply(frame, textual.color.Color.parse(background)) == frame


#: Keys to a state -> the words that show that it is there.
SCENES = {
    ("plus", "enter", "plus", "enter", "v", "j"): "2 lines, Esc ends",
    ("f", "slash", *"bia"): "^f freeze all",
    ("slash", "r", "e", "colon", "left_parenthesis"): "regular expression",
    ("p",): "Presets",
    ("y",): "Plain PyTorch",
    ("plus", "enter", "equals_sign"): "Stages, in the order",
    ("S", "ctrl+u", "x", "enter"): "must end in",
    ("f", "q"): "Unsaved changes",
    ("question_mark",): "Move one line up",
    ("ctrl+p",): "Search for commands",
    ("f", "D"): "freezetui: 1",
}


#: The themes with the least contrast; the oldest Textual does not have all of them.
LEAST = {"textual-light", "solarized-dark", "atom-one-dark"}


async def test_dialogs_tabs_and_fields_can_be_read_where_themes_have_the_least_contrast(opened, monkeypatch):
    monkeypatch.setenv("FREEZETUI_STATE", "0")  # each starts anew
    for keys, words in SCENES.items():
        async with opened("tiny_transformer.pth", size=(100, 30)) as driver:  # which no describer builds
            await driver.press(*keys)
            for name in LEAST & BUILTIN_THEMES.keys():
                driver.app.theme = name
                await driver.pilot.pause()
                assert words in driver.screen_text(), driver.screen_text()
                for text, style in on_top(driver.app.screen):
                    ratio = contrast(style.color.triplet, style.bgcolor.triplet)
                    assert ratio >= MIN_CONTRAST, (name, keys, text, ratio)


def on_top(screen):
    """Yield the text of a screen, and its styles; of a dialog only what is in its box."""
    box = screen.children[0].region if screen.is_modal else screen.region
    for y, strip in enumerate(screen._compositor.render_strips()[box.y : box.bottom]):
        for segment in strip.crop(box.x, box.right):
            if re.search(r"[^\s\u2500-\u259f]", segment.text) and segment.style.color is not None:
                yield f"{y}: {segment.text}", segment.style


async def test_every_state_can_be_read_in_every_theme(opened):
    seen = set()
    async with opened("vgg_digits.pth", size=(100, 30)) as driver:
        for name, theme in BUILTIN_THEMES.items():
            driver.app.theme = name
            await driver.pilot.pause()
            drawn = {
                (over, style): driver.tree.styles_over(over)[style]
                for over in ("", "cursor", "selected")
                for style in STYLES
                if style not in ("cursor", "selected")
            }
            for widget in (driver.main.query_one("#totals"), driver.main.query_one("#heads")):
                text = widget.render()
                drawn[widget.id, "plain"] = widget.rich_style + text.style
                drawn[widget.id, "muted"] = widget.rich_style + muted(widget)
                assert is_ansi(theme) or "dim" not in {str(span.style) for span in text.spans}
            for what, style in drawn.items():
                if not is_ansi(theme):
                    ratio = contrast(style.color.triplet, style.bgcolor.triplet)
                    assert ratio >= MIN_CONTRAST, (name, what, ratio)
                    seen.add(what)
    assert {("cursor", "trainable"), ("", "wrong"), ("totals", "muted")} <= seen


async def test_dim_text_can_be_read_in_every_theme(opened):
    seen = set()
    async with opened("vgg_digits.pth", size=(120, 30)) as driver:
        await driver.press("plus", "enter", "plus", "enter", "R")
        for name, theme in BUILTIN_THEMES.items():
            driver.app.theme = name
            await driver.pilot.pause()
            if is_ansi(theme):
                continue
            for id in ("header", "details-text", "totals", "keys", "heads", "check-headline"):
                widget = driver.main.query_one(f"#{id}")
                for line in widget.render_lines(widget.size.region):
                    for segment in line:
                        style = segment.style
                        if segment.text.strip() and style is not None and style.color is not None:
                            assert not style.dim, (name, id, segment)
                            ratio = contrast(style.color.triplet, style.bgcolor.triplet)
                            assert ratio >= MIN_CONTRAST, (name, id, segment.text, ratio)
                            seen.add(id)
    assert {"header", "details-text", "totals", "keys", "check-headline"} <= seen


def test_shape_and_word_say_the_same_as_color():
    assert len(set(SIGNS.values())) == len(SIGNS)
    assert len(set(WORDS.values())) == len(WORDS) and set(WORDS) < set(SIGNS)
    assert len(MARKS) == len(set(MARKS)) == len(MARK_STYLES)
    assert MARK_STYLES[MARKS.index("✗")] == "wrong" != MARK_STYLES[MARKS.index("✓")]


async def test_the_proof_can_be_read_in_every_theme(opened):
    notes = (finding("max_norm", ["features.0.weight"]), finding("dropout", ["features.3.weight"]))
    seen = set()
    async with opened("vgg_digits.pth", size=(100, 40)) as driver:
        await driver.press("R")
        for verdict in ("held", "moved", "inconclusive"):
            report = msgspec.structs.replace(HELD, verdict=verdict, findings=notes)
            driver.session.checked(report, driver.session.plan.mask())
            driver.main.refresh_session()
            driver.main.query_one("#check-findings" if verdict == "moved" else "#tree").focus()
            for name, theme in BUILTIN_THEMES.items():
                driver.app.theme = name
                await driver.pilot.pause()
                for id in ("check-headline", "check-findings"):
                    for text, style in drawn_in(driver.main.query_one(f"#{id}")):
                        seen.add((id, verdict))
                        if is_ansi(theme):
                            assert style.bgcolor.is_default or not HAS_ANSI_THEMES, (name, id, text, style)
                        else:
                            ratio = contrast(style.color.triplet, style.bgcolor.triplet)
                            assert ratio >= MIN_CONTRAST, (name, id, verdict, text, ratio)
    assert len(seen) == 6


def drawn_in(widget):
    """Yield the text of a widget, and its styles."""
    for line in widget.render_lines(widget.size.region):
        for segment in line:
            if segment.text.strip() and segment.style is not None and segment.style.color is not None:
                yield segment.text, segment.style


@pytest.mark.skipif(not HAS_ANSI_THEMES, reason="this version of Textual draws its ANSI theme in true colors")
async def test_the_line_and_the_place_of_the_cursor_can_be_read_in_the_terminals_colors(opened):
    async with opened("vgg_digits.pth", size=(80, 24)) as driver:
        driver.go("features")
        await driver.press("f")
        underlined = set()
        for name in (name for name, theme in BUILTIN_THEMES.items() if is_ansi(theme)):
            driver.app.theme = name
            await driver.pilot.pause()
            styles = driver.tree.styles_over("cursor")
            over = {name: styles[name] for name in STYLES}
            assert all(style.bgcolor.is_default for style in over.values()), (name, over)
            assert over["frozen"].reverse and over["frozen"].color.is_default
            for text, style in drawn_in(driver.main.query_one("#map")):
                assert style.bgcolor.is_default and not style.reverse, (name, text, style)
                if style.underline:
                    underlined.add(text.strip("◆▓▒"))
        assert underlined == {""}


async def test_without_color_the_line_of_the_cursor_and_a_range_are_in_reverse_video(opened, monkeypatch):
    monkeypatch.setenv("NO_COLOR", "1")
    async with opened("vgg_digits.pth", size=(80, 24)) as driver:
        await driver.press("v", "down")
        plain, selected, cursor = (
            driver.tree.styles_over(over)["frozen"] for over in ("", "selected", "cursor")
        )
        assert not plain.reverse
        assert selected.reverse and not selected.bold
        assert cursor.reverse and cursor.bold
