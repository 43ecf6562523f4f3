"""Tells how the names of the checkpoint and of the model differ, and what only one of them has."""

from __future__ import annotations

from collections.abc import Iterable

from freezetui.freeze.name_map import NameMap
from freezetui.sanity.codes import finding
from freezetui.sanity.report import Finding
from freezetui.text import listed

#: Names of one tied parameter that are listed.
_MAX_NAMES = 4


def what_differs(names: NameMap | None, trainable: Iterable[str] = ()) -> list[Finding]:
    """Return what is left out, what is new, what is tied, and what trains of an adapter's base model.

    Args:
        names: None without a model: nothing differs.
        trainable: live names of what trains.
    """
    if names is None:
        return []
    findings = []
    if ignored := (*names.dropped, *names.unplaced):
        findings.append(finding("ignored", ignored, count=f"{len(ignored):,}"))
    if names.missing:
        findings.append(finding("initialized", names.missing, count=f"{len(names.missing):,}"))
    trains = set(trainable)
    if base := [tensor for tensor in names.live if tensor.origin == "base" and tensor.name in trains]:
        first = base[0].clean or base[0].name
        findings.append(finding("base_trains", [tensor.name for tensor in base], first=first))
    ties = [group for group in names.ties if len(names.files_of(group[0])) < len(group)]
    return findings + [finding("tied", group, names=listed(group, _MAX_NAMES)) for group in ties]


def file_names(names: NameMap | None) -> dict[str, tuple[str, ...]]:
    """Return live name -> the checkpoint's names that it is made of, where they are not the same."""
    if names is None:
        return {}
    return {t.name: t.files for t in names.live if t.files and t.files != (t.name,)}
