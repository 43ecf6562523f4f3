"""A config as YAML text: written anew, or changed in place so that a person's lines and comments stay."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from difflib import SequenceMatcher
from json import dumps
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq
from ruamel.yaml.nodes import MappingNode, Node, SequenceNode
from ruamel.yaml.scalarstring import DoubleQuotedScalarString

_ON_ONE_LINE = ("arguments", "input", "frozen", "trainable")

_UNPRINTABLE = re.compile(r"[^\n -~]")

_Edit = tuple[int, int, str]  # from and to, in characters of the old text, and what stands there instead


def written(plain: Any) -> str:
    """Plain values as block-style YAML, small leaves on one line."""
    yaml = YAML(typ="rt")
    yaml.width = 2**30
    yaml.indent(mapping=2, sequence=4, offset=2)
    stream = io.StringIO()
    yaml.dump(_shaped(plain), stream)
    return _UNPRINTABLE.sub(_escape, stream.getvalue())


def rewritten(text: str, old: dict[str, Any], new: dict[str, Any]) -> str:
    """`text` with only that written anew in which `new` differs from `old`, which is what `text` says.

    A comment above a rule stays where it is, whatever becomes of the rule; one beside it shares its fate.
    """
    text = text if text.endswith("\n") else text + "\n"
    root = YAML(typ="rt").compose(text)
    newline = "\r\n" if "\r\n" in text else "\n"
    pieces, done = [], 0
    for start, stop, instead in sorted(_mapping(text, root, old, new), key=lambda edit: edit[0]):
        pieces += [text[done:start], instead.replace("\n", newline)]
        done = stop
    return "".join([*pieces, text[done:]])


def same(one: Any, other: Any) -> bool:
    """Whether two plain values are equal; 1, 1.0 and True are not."""
    return dumps(one, sort_keys=True) == dumps(other, sort_keys=True)


def _escape(character: re.Match[str]) -> str:
    """What ruamel.yaml writes as it is: direction marks and the like. All of it stands in double quotes."""
    if character[0].isprintable():
        return character[0]
    code = ord(character[0])
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def _shaped(plain: Any) -> Any:
    if isinstance(plain, dict):
        return {key: _flow(v) if key in _ON_ONE_LINE else _shaped(v) for key, v in plain.items()}
    if isinstance(plain, list):
        return [_shaped(item) for item in plain]
    return DoubleQuotedScalarString(plain) if isinstance(plain, str) and not plain.isprintable() else plain


def _flow(plain: Any) -> Any:
    if isinstance(plain, str):  # quoted where it is no word: ruamel.yaml writes {a: ?0}, which it cannot read
        return plain if re.fullmatch(r"[\w./+-]+", plain) else DoubleQuotedScalarString(plain)
    if not isinstance(plain, dict | list):
        return plain
    leaf: CommentedMap | CommentedSeq
    if isinstance(plain, dict):
        leaf = CommentedMap((_flow(key), _flow(value)) for key, value in plain.items())
    else:
        leaf = CommentedSeq(map(_flow, plain))
    leaf.fa.set_flow_style()
    return leaf


def _mapping(text: str, node: MappingNode, old: dict[str, Any], new: dict[str, Any]) -> Iterator[_Edit]:
    """Entries that changed, came or went; one that is in neither `old` nor `new` stays as it is."""
    column = node.start_mark.column
    entries = {key.value: (key, value) for key, value in node.value}
    before = None  # the entry above, in the order of `new`
    for name, value in new.items():
        if name in entries:
            key, before = entries[name]
            if not same(old.get(name), value):
                yield from _entry(text, key, before, old.get(name), value)
        else:
            first = node.start_mark.index - column
            start = first if before is None else _line_end(text, _content_end(text, before))
            yield start, start, " " * column + _block({name: value}, column) + "\n"
    for name in old.keys() - new.keys() & entries.keys():
        key, value = entries[name]
        yield _line_start(text, key.start_mark.index), _line_end(text, _content_end(text, value)), ""


def _entry(text: str, key: Node, node: Node, old: Any, new: Any) -> Iterator[_Edit]:
    """The edits for `key: old`, which shall be `key: new`."""
    if isinstance(node, MappingNode) and _is_block(node) and isinstance(new, dict) and new:
        yield from _mapping(text, node, old or {}, new)
    elif isinstance(node, SequenceNode) and _is_block(node) and isinstance(new, list):
        yield from _sequence(text, key, node, old or [], new)
    else:
        column = key.start_mark.column
        yield key.start_mark.index, _content_end(text, node), _block({key.value: new}, column)


def _sequence(text: str, key: Node, node: SequenceNode, old: list[Any], new: list[Any]) -> Iterator[_Edit]:
    """The edits for the items of a list below `key`; those that did not change keep their lines."""
    items: list[Node] = node.value
    first = items[0].start_mark
    dash = text[_line_start(text, first.index) : first.index]
    if not new:
        colon = text.index(":", key.end_mark.index) + 1
        yield colon, colon, " []"
    matcher = SequenceMatcher(None, [*map(dumps, old)], [*map(dumps, new)], autojunk=False)
    for tag, a, b, c, d in matcher.get_opcodes():
        if tag == "equal":
            continue
        pairs = [*zip(range(a, b), range(c, d), strict=False)]
        for i, j in pairs:
            yield from _item(text, items[i], old[i], new[j])
        for item in items[a + len(pairs) : b]:
            end = _content_end(text, item)
            yield _line_start(text, item.start_mark.index), _line_end(text, end), ""
        kept = a + len(pairs)
        above = _content_end(text, items[kept - 1]) if kept else key.end_mark.index
        for added in new[c + len(pairs) : d]:
            start = _line_end(text, above)
            yield start, start, dash + _block(added, first.column) + "\n"


def _item(text: str, node: Node, old: dict[str, Any], new: dict[str, Any]) -> Iterator[_Edit]:
    if isinstance(node, MappingNode) and _is_block(node) and old.keys() & new.keys():
        yield from _mapping(text, node, old, new)
    else:
        yield node.start_mark.index, _content_end(text, node), _block(new, node.start_mark.column)


def _is_block(node: Node) -> bool:
    """Whether it holds other nodes, on lines of their own."""
    return isinstance(node, MappingNode | SequenceNode) and not node.flow_style and bool(node.value)


def _block(plain: Any, column: int) -> str:
    """`plain` as it is written where the cursor stands at `column`."""
    return written(plain).rstrip("\n").replace("\n", "\n" + " " * column)


def _content_end(text: str, node: Node) -> int:
    """Where the last character of `node` ends; comments behind it do not count."""
    while _is_block(node):
        last = node.value[-1]
        node = last[1] if isinstance(node, MappingNode) else last
    end: int = node.end_mark.index
    while text[end - 1] in " \t\r\n":
        end -= 1
    return end


def _line_start(text: str, index: int) -> int:
    return text.rfind("\n", 0, index) + 1


def _line_end(text: str, index: int) -> int:
    return text.find("\n", index) + 1 or len(text)
