"""Which keys the footer names: those that do something now, the most needed first."""

from __future__ import annotations

from collections.abc import Iterator
from textwrap import shorten
from typing import TYPE_CHECKING, NamedTuple

from freezetui.session.session import Session

if TYPE_CHECKING:
    from freezetui.tui.proof import ProofLine

#: A line that cannot be frozen says why in so many cells.
_MAX_WHY = 36
#: Keys of this rank and lower ones are shown without their label if it does not fit.
MAX_BARE = 11


class FooterKey(NamedTuple):
    """One key of the footer.

    Attributes:
        key: as shown; "" for a remark.
        label: what it does.
        action: what a click runs, as written in a binding.
        rank: the highest are left out first where not all fit, or lose their labels, see `MAX_BARE`.
    """

    key: str
    label: str
    action: str
    rank: int


def tree_keys(session: Session, node: int, filtered: bool) -> Iterator[FooterKey]:
    """Yield the keys of the tree, in the order of the footer.

    Args:
        node: the line under the cursor.
        filtered: whether a filter limits the tree.
    """
    totals = session.plan.totals(*session.tree.span(node))
    if totals.state == "untrainable":
        tensor = session.tree.tensor(node)
        why = tensor.untrainable_reason if tensor is not None else "nothing here is trainable"
        yield FooterKey("", f"({shorten(why, _MAX_WHY, placeholder='…')})", "", 2)
    else:
        yield FooterKey("Space", "toggle", "edit('toggle')", 13)
        yield FooterKey("f", "freeze", "edit('freeze')", 1)
        yield FooterKey("t", "train", "edit('train')", 2)
    if session.stages.can_undo:
        yield FooterKey("u", "undo", "edit('undo')", 3)
    if filtered:
        yield FooterKey("F", "freeze all", "edit('freeze_matches')", 4)
        yield FooterKey("T", "train all", "edit('train_matches')", 5)
        yield FooterKey("n", "next", "next_match(1)", 14)
        yield FooterKey("Esc", "end filter", "leave", 4)
    else:
        yield FooterKey("p", "presets", "presets", 11)


def screen_keys(session: Session, running: bool, notices: bool) -> Iterator[FooterKey]:
    """Yield the keys of the screen, in the order of the footer.

    Args:
        running: whether a check runs.
        notices: whether there is something to know, which the header is brief about.
    """
    yield FooterKey("/", "filter", "filter", 5)
    yield FooterKey("Esc", "cancel", "leave", 1) if running else FooterKey("r", "check", "check", 4)
    yield FooterKey("s", "save", "save", 4)
    if session.stages.names:
        yield FooterKey("[ ]", "stage", "stage(1)", 7)
        yield FooterKey("=", "stages", "stages", 16)
    yield FooterKey("+", "stage", "add_stage", 9)
    yield FooterKey("y", "code", "copy", 10)
    if notices:
        yield FooterKey("!", "state", "notices", 8)
    yield FooterKey("?", "help", "app.help", 5)
    yield FooterKey("^p", "palette", "app.command_palette", 15)
    yield FooterKey("q", "quit", "app.quit", 12)


def finding_keys(line: ProofLine | None) -> Iterator[FooterKey]:
    """Yield the keys of the list of what a check has proven; `line` is the one under the cursor."""
    yield FooterKey("↑ ↓", "lines", "", 5)
    if line is not None and line.receipt:
        yield FooterKey("Enter", "save the receipt", "", 1)
    elif line is not None and line.tensor:
        yield FooterKey("Enter", "go to tensor", "", 1)
    if line is not None and line.code:
        yield FooterKey("y", "copy the fix", "", 2)
    yield FooterKey("Tab", "tree", "", 3)
    yield FooterKey("R", "close", "proof", 4)


def filter_keys() -> Iterator[FooterKey]:
    """Yield the keys while a filter is typed."""
    yield FooterKey("Enter", "apply", "", 1)
    yield FooterKey("^f", "freeze all", "", 2)
    yield FooterKey("^t", "train all", "", 3)
    yield FooterKey("↓", "tree", "", 5)
    yield FooterKey("Esc", "clear", "leave", 4)
