"""Writes plain values as YAML text, in the documented style."""

from __future__ import annotations

import io
import re
from json import dumps
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq
from ruamel.yaml.scalarstring import DoubleQuotedScalarString

_ON_ONE_LINE = ("arguments", "input", "frozen", "trainable")

_UNPRINTABLE = re.compile(r"[^\n -~]")


def yaml_text(plain: Any) -> str:
    """Return plain values as block-style YAML, small leaves on one line."""
    yaml = YAML(typ="rt")
    yaml.width = 2**30
    yaml.indent(mapping=2, sequence=4, offset=2)
    stream = io.StringIO()
    yaml.dump(_shaped(plain), stream)
    return _UNPRINTABLE.sub(_escape, stream.getvalue())


def same(one: Any, other: Any) -> bool:
    """Whether two plain values are equal; 1, 1.0 and True are not."""
    return dumps(one, sort_keys=True) == dumps(other, sort_keys=True)


def _escape(character: re.Match[str]) -> str:
    """Escape invisible characters that ruamel.yaml writes unescaped, such as direction marks."""
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
    if isinstance(plain, str):  # quoted unless a word: ruamel.yaml writes {a: ?0} but cannot read it
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
