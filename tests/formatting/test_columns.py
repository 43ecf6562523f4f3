"""What is printed fits the width of the terminal, and no figure is broken."""

from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st

from freezetui.formatting.columns import Table, joined, shortened_start, wrapped

NAME = st.text("abc.0{} ", max_size=60)
FIGURE = st.text("0123456789.,e-%", min_size=1, max_size=9)
WORD = st.text("abcxyz0123456789,.", min_size=1, max_size=20)
TABLE = Table((30, 20, 8, 8), "<>>>", (0, 1, 2, 1), name=0, spare=(1,))


@given(st.lists(st.tuples(NAME, FIGURE, FIGURE, FIGURE), min_size=1, max_size=8), st.integers(40, 120))
def test_a_table_fits_and_keeps_every_figure(rows, width):
    table = TABLE.fitted(rows, width)
    assert table is not None  # a name of 16 letters and three figures take less
    for row in rows:
        line = table.line(table.shortened(row))
        assert len(line) <= width
        assert line.split()[-2:] == list(row[2:])
        assert table.widths[1] < 0 or row[1] in line.split()


@given(st.lists(st.tuples(NAME, FIGURE, FIGURE, FIGURE), min_size=1, max_size=8))
def test_without_an_edge_nothing_is_shortened_or_left_out(rows):
    assert TABLE.fitted(rows, None) == TABLE
    for row in rows:
        assert TABLE.line(row).startswith(row[0].rstrip() or " ")


def test_a_table_without_room_for_its_figures_is_none():
    rows = [("name", "shape", "1" * 20, "2" * 20)]
    assert TABLE.fitted(rows, 40) is None
    assert TABLE.fitted(rows, 60) is not None


@given(st.text("ab ", max_size=4), st.lists(WORD, min_size=1, max_size=30), st.integers(30, 100))
def test_sentences_are_broken_between_words(indent, words, width):
    line = " " * len(indent) + " ".join(words)
    parts = list(wrapped(line, width))
    assert all(len(part) <= width for part in parts)
    assert " ".join(parts).split() == words
    assert list(wrapped(line, None)) == [line]


def test_code_in_backticks_is_one_word():
    parts = list(wrapped("fix: run `freezetui check a.pth` to find out why", 24))
    assert any("`freezetui check a.pth`" in part for part in parts)


@given(st.lists(WORD, max_size=12), st.integers(30, 60))
def test_parts_are_never_broken(parts, width):
    lines = list(joined(parts, width, 2))
    assert all(len(line) <= width for line in lines)
    assert [part for line in lines for part in re.split(" {2}", line.strip())] == parts


@given(NAME, st.integers(4, 80))
def test_a_name_loses_its_start(name, width):
    short = shortened_start(name, width)
    assert len(short) <= width
    assert short == name or (short.lstrip()[0] == "…" and name.endswith(short.lstrip()[1:]))
