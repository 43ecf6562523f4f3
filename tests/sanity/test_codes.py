"""The registry of finding codes: the engine and the diff use all of it and nothing beside it."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from freezetui.sanity.codes import CODES, finding

SOURCE = Path(__file__).resolve().parents[2] / "src" / "freezetui"
FILES = [*(SOURCE / "engine").glob("*.py"), SOURCE / "diff" / "verdict.py"]


def strings_of_the_engine_and_the_diff() -> set[str]:
    trees = [ast.parse(path.read_text("utf-8")) for path in FILES]
    nodes = [node for tree in trees for node in ast.walk(tree)]
    return {node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str)}


def test_every_finding_is_used_and_causes_in_scripts_are_not():
    used = strings_of_the_engine_and_the_diff() & CODES.keys()
    assert used == {key for key, entry in CODES.items() if entry.severity is not None}


def test_no_finding_is_written_elsewhere():
    for path in FILES:
        calls = [node for node in ast.walk(ast.parse(path.read_text("utf-8"))) if isinstance(node, ast.Call)]
        assert "Finding" not in {call.func.id for call in calls if isinstance(call.func, ast.Name)}, path.name


def test_keys_are_unique_and_codes_are_grouped():
    codes = [entry.code for entry in CODES.values()]
    assert all(re.fullmatch(r"[MFSN]\d+", code) for code in codes)
    groups = [(code[0], int(code[1:])) for code in codes]
    assert groups == sorted(groups, key=lambda group: ("MFSN".index(group[0]), group[1]))


def test_values_are_put_into_the_message_and_the_fix():
    found = finding("no_model", ["a"], reason="none", suggestion="pkg.mod:Net")
    assert (found.severity, found.code, found.tensors) == ("warning", "N1", ("a",))
    assert found.message == "no forward pass: none; only an optimizer step on the tensors was checked"
    assert "--architecture pkg.mod:Net " in found.fix
    with pytest.raises(KeyError):
        finding("no_model", suggestion="SPEC")
    with pytest.raises(KeyError):
        finding("no_such_key")


def test_a_value_in_braces_stays_as_it_is():
    assert "{x}" in finding("no_control", reason="fails ({x})").message
