"""Edits a config's YAML in place: changes only the lines of changed values, and keeps everything else.

ruamel.yaml finds where each value is in the text and writes the new ones. Its own round trip is not used:
it reformats unchanged values, mixes line endings, drops a comment with the item above it, and appends a
rule below the next section's comment; see tests/config/test_yaml_edit.py.
"""

from __future__ import annotations

from difflib import SequenceMatcher
from json import dumps
from typing import Any, NamedTuple

from ruamel.yaml import YAML
from ruamel.yaml.nodes import MappingNode, Node, SequenceNode

from freezetui.config.yaml_text import same, yaml_text


def edit(text: str, old: dict[str, Any], new: dict[str, Any]) -> str:
    """Return `text`, the YAML of `old`, edited to be that of `new`.

    A comment above a rule stays even if the rule is removed; one on the same line is removed with it.
    """
    return _Editor(text).edited(old, new)


class _Edit(NamedTuple):
    """Characters `start .. stop - 1` of the old text, and what replaces them."""

    start: int
    stop: int
    text: str


class _Editor:
    """Collects edits of one text."""

    def __init__(self, text: str) -> None:
        self.newline = "\r\n" if "\r\n" in text else "\n"
        self.text = text if text.endswith("\n") else text + "\n"
        self.edits: list[_Edit] = []

    def edited(self, old: dict[str, Any], new: dict[str, Any]) -> str:
        self._mapping(YAML(typ="rt").compose(self.text), old, new)
        pieces, done = [], 0
        for edit in sorted(self.edits, key=lambda edit: edit.start):
            pieces += [self.text[done : edit.start], edit.text.replace("\n", self.newline)]
            done = edit.stop
        return "".join([*pieces, self.text[done:]])

    def _mapping(self, node: MappingNode, old: dict[str, Any], new: dict[str, Any]) -> None:
        """Edit a block mapping; a key that is in neither `old` nor `new` stays unchanged."""
        column = node.start_mark.column
        entries = {key.value: (key, value) for key, value in node.value}
        end = node.start_mark.index - column  # of the entry above, in the order of `new`
        for name, value in new.items():
            if name in entries:
                key, there = entries[name]
                end = self._lines(key, there)[1]
                if not same(old.get(name), value):
                    self._value(key, there, old.get(name), value)
            else:
                self._insert(end, " " * column, {name: value})
        for name in old.keys() - new.keys() & entries.keys():
            self._remove(*entries[name])

    def _value(self, key: Node, node: Node, old: Any, new: Any) -> None:
        """Replace `key: old` with `key: new`."""
        if isinstance(node, MappingNode) and _is_block(node) and isinstance(new, dict) and new:
            self._mapping(node, old or {}, new)
        elif isinstance(node, SequenceNode) and _is_block(node) and isinstance(new, list):
            self._sequence(key, node, old or [], new)
        else:
            self._replace(key, node, {key.value: new})

    def _sequence(self, key: Node, node: SequenceNode, old: list[Any], new: list[Any]) -> None:
        """Edit a block list below `key`; unchanged items keep their lines."""
        items: list[Node] = node.value
        if not new:
            colon = self.text.index(":", key.end_mark.index) + 1
            self.edits.append(_Edit(colon, colon, " []"))
        first = items[0].start_mark.index
        dash = self.text[self._line_start(first) : first]
        ends = [self._line_end(key.end_mark.index), *(self._lines(item, item)[1] for item in items)]
        matcher = SequenceMatcher(None, [*map(dumps, old)], [*map(dumps, new)], autojunk=False)
        for tag, a, b, c, d in matcher.get_opcodes():
            if tag == "equal":
                continue
            both = min(b - a, d - c)
            for i, j in zip(range(a, a + both), range(c, c + both), strict=True):
                self._item(items[i], old[i], new[j])
            for item in items[a + both : b]:
                self._remove(item, item)
            for added in new[c + both : d]:
                self._insert(ends[a + both], dash, added)

    def _item(self, node: Node, old: dict[str, Any], new: dict[str, Any]) -> None:
        if isinstance(node, MappingNode) and _is_block(node) and old.keys() & new.keys():
            self._mapping(node, old, new)
        else:
            self._replace(node, node, new)

    def _replace(self, first: Node, last: Node, plain: Any) -> None:
        start = first.start_mark
        text = yaml_text(plain).rstrip("\n").replace("\n", "\n" + " " * start.column)
        self.edits.append(_Edit(start.index, self._content_end(last), text))

    def _insert(self, at: int, indent: str, plain: Any) -> None:
        """Add lines at the start of a line; `indent` may end in the dash of a list."""
        text = yaml_text(plain).rstrip("\n").replace("\n", "\n" + " " * len(indent))
        self.edits.append(_Edit(at, at, f"{indent}{text}\n"))

    def _remove(self, first: Node, last: Node) -> None:
        self.edits.append(_Edit(*self._lines(first, last), ""))

    def _lines(self, first: Node, last: Node) -> tuple[int, int]:
        """Return the start and end of the lines from one node to another, without comments below them."""
        return self._line_start(first.start_mark.index), self._line_end(self._content_end(last))

    def _content_end(self, node: Node) -> int:
        """Return the end of `node` without the comments below, which ruamel.yaml counts as part of it."""
        while _is_block(node):
            last = node.value[-1]
            node = last[1] if isinstance(node, MappingNode) else last
        end: int = node.end_mark.index
        while self.text[end - 1] in " \t\r\n":
            end -= 1
        return end

    def _line_start(self, index: int) -> int:
        return self.text.rfind("\n", 0, index) + 1

    def _line_end(self, index: int) -> int:
        return self.text.find("\n", index) + 1 or len(self.text)


def _is_block(node: Node) -> bool:
    """Whether it is a nonempty mapping or list in block style."""
    return isinstance(node, MappingNode | SequenceNode) and not node.flow_style and bool(node.value)
