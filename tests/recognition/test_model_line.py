"""What builds a model, as one line: written and read again."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from freezetui.errors import FreezeTuiError
from freezetui.model_spec import ModelSpec
from freezetui.recognition.model_line import read_model_line, write_model_line

names = st.from_regex(r"[a-z_][a-z0-9_]{0,8}", fullmatch=True)
values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**40), 2**40) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3),
    max_leaves=4,
)
specs = st.sampled_from(["torchvision:vgg16", "pkg.mod:build", "my models/it's.py:build"])


@given(specs, st.dictionaries(names, values, max_size=3), st.lists(st.integers(1, 999), max_size=4))
def test_the_line_is_read_as_it_was_written(spec, arguments, shape):
    model = ModelSpec(spec, arguments, tuple(shape))
    assert read_model_line(write_model_line(model)) == model


def test_an_empty_line_names_nothing():
    assert read_model_line("  ") == ModelSpec()


@pytest.mark.parametrize("line", ["a:b c:d", "a:b --steps 3", "a:b --arg", "a:b --input x", "a:b 'open"])
def test_what_cannot_be_read_is_told(line):
    with pytest.raises(FreezeTuiError, match="Write SPEC"):
        read_model_line(line)


@pytest.mark.parametrize("line", ["bert", "model.py", "resnet18 --arg num_classes=3"])
def test_what_names_no_callable_is_told(line):
    with pytest.raises(FreezeTuiError, match="Write torchvision:NAME"):
        read_model_line(line)
