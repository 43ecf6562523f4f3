"""Every state can be read in every built-in theme: text and its background have a contrast of 4.5 to 1."""

from __future__ import annotations

import msgspec
import pytest
from rich.color import Color
from rich.color_triplet import ColorTriplet
from rich.style import Style
from textual.theme import BUILTIN_THEMES, Theme

from freezetui.sanity.codes import finding
from freezetui.tui.contrast import MIN_CONTRAST, contrast, legible, muted
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
