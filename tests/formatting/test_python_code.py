"""Plain PyTorch code: what it says of names, without torch."""

from __future__ import annotations

import ast
from collections.abc import Callable
from time import process_time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from freezetui.checkpoint.types import Checkpoint, TensorInfo
from freezetui.config.schema import fingerprint
from freezetui.errors import ConfigError
from freezetui.formatting.python_code import python_code
from freezetui.freeze.plan import FROZEN, TRAINABLE, FreezePlan
from freezetui.freeze.rules import Rule, resolve
from freezetui.freeze.structure_by_names import by_names
from freezetui.freeze.tree import ParamTree
from support.strategies import choices


def run(code: str) -> dict[str, Any]:
    """Run the code in an empty namespace; it imports nothing."""
    assert not [node for node in ast.walk(ast.parse(code)) if isinstance(node, ast.Import | ast.ImportFrom)]
    namespace: dict[str, Any] = {}
    exec(compile(code, "exported.py", "exec"), namespace)
    return namespace


def checkpoint(tree: ParamTree, **fields: Any) -> Checkpoint:
    return Checkpoint(**{"source": "model.pth", "format": "", "tensors": tuple(tree.tensors), **fields})


def tree_of(*names: str) -> ParamTree:
    return ParamTree([TensorInfo(name, (2, 3), "float32") for name in names])


def code_for(names: tuple[str, ...], *frozen: str, **fields: Any) -> str:
    tree = tree_of(*names)
    mask = bytes(resolve([Rule("freeze", pattern) for pattern in frozen], tree))
    return python_code(checkpoint(tree, **fields), tree, {"": mask})


@given(choices())
def test_names_are_frozen_as_in_the_plan(choice):
    tree, mask = choice
    plan = FreezePlan(tree, mask)
    try:
        namespace = run(python_code(checkpoint(tree), tree, {"": mask}))
    except ConfigError as error:
        assert "both a tensor and a module" in str(error)
        names = {tensor.name for tensor in tree.tensors}
        assert any(f"{name}." in other for name in names for other in names)
        return
    assert namespace["EXPECTED"] == plan.totals().frozen.elements
    for tensor, state in zip(tree.tensors, plan.states, strict=True):
        if state in (FROZEN, TRAINABLE):
            assert namespace["is_frozen"](tensor.name) == (state == FROZEN), tensor.name


@given(st.text(), st.text(min_size=1), st.text(min_size=1))
def test_no_name_escapes_from_its_string_or_comment(source, name, stage):
    tree = tree_of("a.weight", f"b.{name}")
    masks = {stage: b"\1\0", "all": b"\0\0"}
    namespace = run(python_code(checkpoint(tree, source=source), tree, masks, config=source))
    assert set(namespace) == {"__builtins__", "WRAPPERS", "FROZEN", "EXPECTED", "is_frozen", "freeze"}
    assert set(namespace["FROZEN"]) == {stage, "all"}
    assert namespace["is_frozen"](f"b.{name}", stage)


def test_code_in_names_is_not_run():
    names = (
        'a"); import os; ("',
        "b\n__import__('os')",
        "layers.0.{i}",
        "layers.1.{i}",
        "layers.2.{i}",
        "c.d",
    )
    namespace = run(code_for(names, "**", "c", source='x"""\nimport os'))
    assert "os" not in namespace
    assert all(map(namespace["is_frozen"], names))


def test_a_module_is_a_prefix_and_numbers_are_a_range():
    names = tuple(
        f"layers.{i}.{part}" for i in range(4) for part in ("attn.q.weight", "attn.k.weight", "mlp")
    )
    assert 'FROZEN = ("layers.",)' in code_for((*names, "head.weight"), "layers")
    assert 'FROZEN = (*(f"layers.{i}." for i in range(3)),)' in code_for(names, "layers.{0..2}")
    assert 'FROZEN = (*(f"layers.{i}.attn." for i in range(1, 4)),)' in code_for(names, "layers.{1..3}.attn")
    code = code_for(names, "layers.{0,1,3}.{mlp,attn.q}")
    assert 'f"layers.{i}.{part}" for i in (0, 1, 3) for part in ("attn.q.", "mlp.")' in " ".join(code.split())
    assert 'FROZEN = ("layers.10.",)' in code_for(("layers.1.weight", "layers.10.weight"), "layers.10")


def test_a_new_module_trains_even_beside_an_all_frozen_model():
    namespace = run(code_for(("body.weight", "conv1.weight"), "**"))
    assert namespace["is_frozen"]("body.weight")
    assert not any(map(namespace["is_frozen"], ("head.weight", "conv10.weight", "body2.weight")))


@pytest.mark.parametrize("live", ["module.a.0.weight", "_orig_mod.module.a.0.weight", "a._orig_mod.0.weight"])
def test_wrappers_do_not_count(live):
    assert run(code_for(("a.0.weight", "b.weight"), "a"))["is_frozen"](live)


def test_a_module_called_module_is_not_a_wrapper():
    namespace = run(code_for(("module.weight", "weight"), "module"))
    assert namespace["is_frozen"]("module.weight")
    assert not namespace["is_frozen"]("weight")


def test_a_prefix_that_the_reader_removed_is_removed_from_live_names():
    namespace = run(code_for(("a.weight", "b.weight"), "a", prefix="module.netG."))
    assert namespace["is_frozen"]("module.netG.a.weight")
    assert not namespace["is_frozen"]("netG.b.weight")


def test_code_and_presets_of_many_tensors_take_less_than_their_tree():
    names = [f"layers.{i}.experts.{j}.w{k}.weight" for i in range(20) for j in range(500) for k in range(2)]
    tensors = [TensorInfo(name, (2, 3), "float32") for name in names]

    def seconds(work: Callable[[], object]) -> float:
        """Return the processor's time of the fastest of three runs."""
        return min(-process_time() + (work(), process_time())[1] for _ in range(3))

    tree = ParamTree(tensors)
    file, half = checkpoint(tree), b"\0" * (len(names) // 2) + b"\1" * (len(names) // 2)
    base = seconds(lambda: ParamTree(tensors))
    assert seconds(lambda: python_code(file, tree, {"": half})) < base
    assert seconds(lambda: by_names(tree)) < base
    assert seconds(lambda: fingerprint(tensors)) < 1.5 * base
