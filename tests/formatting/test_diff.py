"""The tree that `freezetui diff` prints."""

from __future__ import annotations

from freezetui.diff.report import DiffReport, Series, Side, TensorDiff
from freezetui.formatting.diff import diff_lines
from freezetui.formatting.series import series_lines

NAMES = [f"features.{number}.weight" for number in (0, 2, 5, 7, 10)]


def report(changed: str, frozen: dict[str, bool]) -> DiffReport:
    """Return a diff in which one of five layers of different shapes changed."""
    side = Side("a.pth", "zip state_dict", "", (), ())
    tensors = [
        TensorDiff(
            name,
            "changed" if name == changed else "identical",
            "parameter",
            (index + 1, 2),
            "float32",
            2 * (index + 1),
            frozen=frozen.get(name),
            changed=2 if name == changed else 0,
            delta_norm=0.1 if name == changed else 0.0,
            norm=1.0,
        )
        for index, name in enumerate(NAMES)
    ]
    return DiffReport(side, side, "", tuple(tensors), None)


def test_numbered_modules_in_which_nothing_changed_are_one_line() -> None:
    lines = [line.split()[:4] for line in diff_lines(report(NAMES[3], {})) if line.startswith(("=", "~"))]
    assert lines[2:] == [
        ["=", "same", "{0..5}", "×3"],
        ["~", "changed", "7", "1"],
        ["~", "changed", "weight", "4x2"],
        ["=", "same", "10", "1"],
    ]


def test_frozen_and_trainable_modules_are_not_one_line() -> None:
    frozen = {name: name in NAMES[:2] for name in NAMES}
    lines = [
        line.split()[2:5] for line in diff_lines(report(NAMES[4], frozen)) if line.startswith(("=", "~"))
    ]
    assert lines[2:4] == [["■", "{0..2}", "×2"], ["○", "{5..7}", "×2"]]


def test_modules_in_which_nothing_ever_changed_are_one_line_of_a_series() -> None:
    steps = report(NAMES[3], {}), report(NAMES[4], {})
    lines = [line.split() for line in series_lines(Series(steps))]
    assert [line[0] for line in lines if "never" in line] == ["{0..5}"]
