"""Lines of the details pane about what changed since an earlier checkpoint."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache

from rich.text import Text

from freezetui.freeze.tree import ParamTree
from freezetui.session.comparison import Comparison
from freezetui.session.session import Session
from freezetui.text import listed, printable

_MAX_NAMES = 4


def change_of_tensor(session: Session, name: str) -> list[Text]:
    """Return what changed in a tensor since the checkpoint of `--against`; [] if that is not known."""
    comparison = session.comparison
    change = comparison.change(name) if comparison is not None else None
    if comparison is None or change is None:
        return []
    from freezetui.formatting.change import tensor_change

    lines = [Text(line) for line in tensor_change(change)]
    index = session.tree.first[session.tree.find(name)]
    if index in comparison.changed_statistics:
        lines.insert(0, Text("✗ statistics of a frozen norm, but they changed", "bold"))
    elif index in comparison.changed_frozen:
        lines.insert(0, Text("✗ frozen, but it changed", "bold"))
    return [Text(), *_head(session), *lines]


def change_of_lines(session: Session, spans: Iterable[tuple[int, int]], is_root: bool) -> list[Text]:
    """Return what changed in the tensors of a line since the checkpoint of `--against`."""
    comparison = session.comparison
    if comparison is None:
        return []
    lines = [Text(line) for line in _counted(comparison, session.tree, tuple(spans))]
    if is_root and comparison.nothing_in_common:
        lines = [Text("No tensor name in common with the earlier file: nothing was compared.")]
    if is_root and comparison.removed:
        removed = listed(comparison.removed, _MAX_NAMES)
        lines.append(Text(f"{len(comparison.removed):,} only in the earlier file: {removed}", "dim"))
    if is_root and comparison.note:
        lines.append(Text(printable(comparison.note), "dim"))
    return [Text(), *_head(session), *lines]


@lru_cache(256)
def _counted(comparison: Comparison, tree: ParamTree, spans: tuple[tuple[int, int], ...]) -> list[str]:
    """Return what changed in some tensors; kept, since there may be 100,000 below the cursor."""
    from freezetui.formatting.change import module_change

    del tree  # a key: in another order of the tensors the spans mean others
    return module_change([change for start, stop in spans for change in comparison.below(start, stop)])


def _head(session: Session) -> list[Text]:
    assert session.comparison is not None
    return [Text(f"against {printable(session.comparison.before)}:", "dim")]
