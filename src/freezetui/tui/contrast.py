"""Makes text readable on its background in every theme, with the contrast that WCAG 2 asks for."""

from __future__ import annotations

from collections.abc import Collection
from functools import cache

from rich.color import Color
from rich.color_triplet import ColorTriplet
from rich.style import Style
from rich.text import Span, Text
from textual.widget import Widget

#: The contrast of text, by WCAG 2.2, criterion 1.4.3.
MIN_CONTRAST = 4.5
#: How much of the text's color is taken from its background where text matters less.
_MUTED = 0.4
_STEPS = 20
_WHITE, _BLACK = ColorTriplet(255, 255, 255), ColorTriplet(0, 0, 0)


def legible(style: Style) -> Style:
    """Return a style with its color lightened or darkened as far as needed to read it on its background.

    What a terminal's own colors look like is not known: on its background they are left alone, and on any
    other color the text is in reverse video.
    """
    color, background = _triplet(style.color), _triplet(style.bgcolor)
    if style.bgcolor is not None and background is None and not style.bgcolor.is_default:
        return style + Style(color=Color.default(), bgcolor=Color.default(), reverse=True)
    if color is None or background is None:
        return style
    found = _readable(color, background)
    return style if found == color else style + Style(color=Color.from_triplet(found))


def has_known_colors(style: Style) -> bool:
    """Whether text and background are not among the terminal's own colors."""
    return _triplet(style.color) is not None and _triplet(style.bgcolor) is not None


def muted(widget: Widget) -> Style:
    """Return the style of text in a widget that matters less than the rest of it."""
    style = widget.visual_style.rich_style
    return Style(color=muted_style(style).color) if has_known_colors(style) else Style(dim=True)


def colored(text: Text, widget: Widget, classes: Collection[str]) -> Text:
    """Return text with the spans that are named as component classes of a widget in their readable styles."""
    found = text.copy()
    found.spans = [
        Span(a, b, legible(widget.get_component_rich_style(str(style))) if style in classes else style)
        for a, b, style in text.spans
    ]
    return found


def muted_style(style: Style) -> Style:
    """Return a style whose text matters less, in a color that can be read and without `dim`.

    A terminal's own colors are left alone.
    """
    color, background = _triplet(style.color), _triplet(style.bgcolor)
    if color is None or background is None:
        return style
    mixed = Color.from_triplet(_readable(_mix(color, background, _MUTED), background))
    return style + Style(color=mixed, dim=False)


def contrast(one: ColorTriplet, other: ColorTriplet) -> float:
    """Return the contrast of two colors, 1 to 21."""
    light, dark = sorted((_luminance(one), _luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


@cache
def _readable(color: ColorTriplet, background: ColorTriplet) -> ColorTriplet:
    """Return the color nearest to `color`, towards white or black, that can be read on a background."""
    end = max((_WHITE, _BLACK), key=lambda far: contrast(far, background))
    steps = (_mix(color, end, step / _STEPS) for step in range(_STEPS + 1))
    return next((step for step in steps if contrast(step, background) >= MIN_CONTRAST), end)


def _triplet(color: Color | None) -> ColorTriplet | None:
    return color.triplet if color is not None else None


def _mix(one: ColorTriplet, other: ColorTriplet, share: float) -> ColorTriplet:
    """Return a color between two; `share` is how much of the other."""
    return ColorTriplet(*(round(a + (b - a) * share) for a, b in zip(one, other, strict=True)))


def _luminance(color: ColorTriplet) -> float:
    """Return the relative luminance of a color, 0 to 1, as WCAG 2 defines it."""
    linear = (
        value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4
        for value in (part / 255 for part in color)
    )
    red, green, blue = linear
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue
