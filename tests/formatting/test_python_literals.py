"""Tuples of names as Python: what they say, in lines that a terminal of 80 columns shows whole."""

from __future__ import annotations

import pytest

from freezetui.formatting.python_literals import MAX_WIDTH, name_items, table


@pytest.mark.parametrize("stages", [("",), ("first", "everything")])
@pytest.mark.parametrize("tails", [1, 2, 12])
def test_no_line_is_wider_than_a_terminal_and_the_names_are_the_same(stages, tails):
    parts = [f"self_attn.{letter}_proj.base_layer." for letter in "qkvoabcdefgh"[:tails]]
    names = [f"base_model.model.layers.{n}.{part}" for n in range(14) for part in parts]
    lines = list(table("FROZEN", {stage: name_items(names) for stage in stages}))
    assert max(map(len, lines)) <= MAX_WIDTH
    found: dict[str, object] = {}
    exec("\n".join(lines), found)
    frozen = found["FROZEN"]
    assert isinstance(frozen, tuple if stages == ("",) else dict)
    for each in [frozen] if isinstance(frozen, tuple) else frozen.values():
        assert sorted(each) == sorted(names)
