"""Tells what is frozen although no rule names it: it is one parameter with what a rule freezes."""

from __future__ import annotations

from collections.abc import Sequence

from freezetui.config.schema import ConfigData
from freezetui.engine.model_under_test import ModelUnderTest
from freezetui.freeze.patterns import Pattern
from freezetui.freeze.rules import Rule
from freezetui.freeze.tree import ParamTree
from freezetui.sanity.codes import finding
from freezetui.sanity.report import Finding


def frozen_by_ties(
    under_test: ModelUnderTest, config: ConfigData, stage: str | None, frozen: Sequence[str]
) -> list[Finding]:
    """Return a note on frozen parameters of whose names in the file the rules freeze only some.

    What the file has under one name is reported by `what_differs`.

    Args:
        frozen: the frozen parameters, tied ones under their first name.
    """
    names, tensors = under_test.names, under_test.tensors
    if names is None or tensors is None or config.default == "freeze":
        return []
    groups = {group: names.files_of(group[0]) for group in names.ties if group[0] in frozen}
    groups = {group: files for group, files in groups.items() if len(files) > 1}
    if not groups:
        return []
    tree = ParamTree(tensors)
    by_rule = {name for rule in config.rules_for(stage) for name in _frozen_by(rule, tree)}
    found = [
        name
        for group, files in groups.items()
        if 0 < len(by_rule.intersection(files)) < len(files)
        for name in group
        if by_rule.isdisjoint((name, names.prefix + names.by_name[name].clean))
    ]
    return [finding("frozen_by_tie", found)] if found else []


def _frozen_by(rule: Rule, tree: ParamTree) -> list[str]:
    """Return what a rule freezes by name; none where only the live model has what it names."""
    spans = [] if rule.action == "train" else Pattern(rule.pattern).spans(tree)
    return [tree.tensors[i].name for start, stop in spans for i in range(start, stop)]
