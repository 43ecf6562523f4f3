"""What a change of a config leaves as it is, and that ruamel.yaml's own round trip does not."""

from __future__ import annotations

import copy
import io
from collections.abc import Callable
from typing import Any, NamedTuple

import pytest
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from freezetui.config.yaml_edit import edit

HEADED = """\
freezetui: 1
rules:
  # below
  - freeze: a
  # above
  - train: b

# About norms.
norm_statistics: freeze
# the end
"""


class Case(NamedTuple):
    """A text, what is done to the values, and what the text says then."""

    text: str
    change: Callable[[Any], Any]
    becomes: str


def freeze_by_default(config: Any) -> None:
    config["default"] = "freeze"


def untouched(line: str) -> Case:
    """Return a config in which another line changes."""
    return Case(f"default: train\n{line}", freeze_by_default, f"default: freeze\n{line}")


CASES = {
    "the indentation of mappings": untouched("model:\n    input: [1]\n"),
    "the indentation of lists": untouched("rules:\n- freeze: a\n"),
    "spaces inside a list": untouched("model:\n  input: [3,8, 8]\n"),
    "spaces behind a key": untouched("rules:\n  - freeze:   a\n"),
    "a list over two lines": untouched("model:\n  input: [3,\n          8]\n"),
    "text over two lines": untouched("model:\n  checkpoint: 'a\n    b'\n"),
    "how a truth value is written": untouched("model:\n  arguments: {a: True}\n"),
    "how null is written": untouched("model:\n  arguments: {a: ~}\n"),
    "the sign of a number": untouched("model:\n  arguments: {a: +1}\n"),
    "an escaped direction mark": untouched('model:\n  checkpoint: "\\u202e"\n'),
    "spaces at the end of a line": untouched("norm_statistics: freeze  \nexpect: null\n"),
    "the marks of a document": untouched("norm_statistics: freeze\n...\n"),
    "Windows line ends": Case(
        HEADED.replace("\n", "\r\n"),
        lambda config: config.update(norm_statistics="update"),
        HEADED.replace("norm_statistics: freeze", "norm_statistics: update").replace("\n", "\r\n"),
    ),
    "the comment below a rule that goes": Case(
        HEADED, lambda config: config["rules"].pop(0), HEADED.replace("  - freeze: a\n", "")
    ),
    "the next heading, where the last rule goes": Case(
        HEADED, lambda config: config["rules"].pop(), HEADED.replace("  - train: b\n", "")
    ),
    "the next heading, where all rules go": Case(
        HEADED,
        lambda config: config["rules"].clear(),
        HEADED.replace("rules:", "rules: []").replace("  - freeze: a\n", "").replace("  - train: b\n", ""),
    ),
    "the next heading, where all rules are others": Case(
        HEADED,
        lambda config: config.update(rules=[{"train": "x"}]),
        HEADED.replace("freeze: a", "train: x").replace("  - train: b\n", ""),
    ),
    "the next heading, where a rule is added": Case(
        HEADED,
        lambda config: config["rules"].append({"train": "c"}),
        HEADED.replace("  - train: b\n", "  - train: b\n  - train: c\n"),
    ),
    "the comment at the end, where the last key goes": Case(
        HEADED, lambda config: config.pop("norm_statistics"), HEADED.replace("norm_statistics: freeze\n", "")
    ),
}


def round_trip(text: str, change: Callable[[Any], Any]) -> str:
    """Make the same change with ruamel.yaml: its own objects changed in place, and written."""
    yaml = YAML(typ="rt")
    yaml.preserve_quotes = True
    yaml.width = 2**30
    yaml.indent(mapping=2, sequence=4, offset=2)
    document = yaml.load(text)
    change(document)
    stream = io.StringIO()
    yaml.dump(document, stream)
    return stream.getvalue()


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_stays_as_it_is_which_ruamels_round_trip_does_not_do(case):
    old = YAML(typ="safe", pure=True).load(case.text)
    new = copy.deepcopy(old)
    case.change(new)
    assert edit(case.text, old, new) == case.becomes
    assert round_trip(case.text, case.change) != case.becomes


def test_ruamels_round_trip_even_writes_what_it_cannot_read():
    written = round_trip(HEADED, lambda config: config["rules"].clear())
    with pytest.raises(YAMLError):
        YAML(typ="safe", pure=True).load(written)


def test_text_without_a_last_line_end_gets_one_where_something_changes():
    assert edit("default: train", {"default": "train"}, {"default": "freeze"}) == "default: freeze\n"


def test_a_stage_is_changed_key_by_key():
    text = "stages:\n  - name: a  # first\n    epochs: 5  # days\n    rules:\n      - train: x\n"
    old = YAML(typ="safe", pure=True).load(text)
    new = copy.deepcopy(old)
    new["stages"][0]["epochs"] = 6
    new["stages"][0]["rules"].append({"train": "y"})
    assert edit(text, old, new) == text.replace("5", "6") + "      - train: y\n"
