"""The pattern language against a naive reference."""

from __future__ import annotations

import re
import time
from fnmatch import fnmatchcase
from itertools import pairwise, product

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from freezetui.checkpoint.types import TensorInfo
from freezetui.errors import PatternError
from freezetui.freeze.patterns import Pattern, literal
from freezetui.freeze.presets import chosen, find_preset
from freezetui.freeze.regexes import Budget
from freezetui.freeze.rules import Rule, matched, resolve
from freezetui.freeze.tree import ParamTree
from support.strategies import names, trees

simple = st.sampled_from(["a", "b", "0", "1", "10", "weight", "*", "**", "w*", "*t", "layers"])


def naive(pattern: list[str], name: list[str]) -> bool:
    """Whether the pattern names a prefix of `name`; `**` stands for any number of segments."""
    if not pattern:
        return True
    if pattern[0] == "**":
        return naive(pattern[1:], name) or (bool(name) and naive(pattern, name[1:]))
    return bool(name) and fnmatchcase(name[0], pattern[0]) and naive(pattern[1:], name[1:])


def covered(tree: ParamTree, pattern: str) -> set[str]:
    return {t.name for start, stop in Pattern(pattern).spans(tree) for t in tree.tensors[start:stop]}


@given(trees, st.lists(simple, min_size=1, max_size=4))
def test_wildcards_as_in_the_reference(tree, pattern):
    expected = {t.name for t in tree.tensors if naive(pattern, t.name.split("."))}
    assert covered(tree, ".".join(pattern)) == expected
    assert {t.name for t in tree.tensors if Pattern(".".join(pattern)).matches(t.name)} == expected


@given(trees, names)
def test_a_literal_names_itself_and_what_is_below(tree, name):
    expected = {t.name for t in tree.tensors if t.name == name or t.name.startswith(name + ".")}
    assert covered(tree, literal(name)) == expected


alternatives = st.sampled_from(["a", "b", "0", "", "a*", "b.0", "**", ".", "0..2", "9..11"])
braced = st.lists(
    st.one_of(
        st.sampled_from(["a", "b", "0", "1", ".", "."]), st.lists(alternatives, min_size=1, max_size=3)
    ),
    min_size=1,
    max_size=4,
)


@given(trees, braced)
def test_braces_stand_for_their_alternatives_written_out(tree, parts):
    assume(not {"", "**"} <= {a for part in parts if isinstance(part, list) for a in part})  # {}{**}
    pattern = "".join(part if isinstance(part, str) else "{" + ",".join(part) + "}" for part in parts)
    numbers = {"0..2": "0,1,2", "9..11": "9,10,11"}
    options = [
        [part] if isinstance(part, str) else ",".join(numbers.get(a, a) for a in part).split(",")
        for part in parts
    ]
    written_out = {"".join(chosen) for chosen in product(*options)}
    expected = {
        t.name
        for t in tree.tensors
        if any(naive(plain.split("."), t.name.split(".")) for plain in written_out)
    }
    assert covered(tree, pattern) == expected
    assert {t.name for t in tree.tensors if Pattern(pattern).matches(t.name)} == expected
    spans = Pattern(pattern).spans(tree)
    assert all(stop <= start for (_, stop), (start, _) in pairwise(spans))


@given(st.integers(0, 10**5), st.integers(0, 10**5), st.lists(st.integers(0, 2 * 10**5)))
def test_a_range_holds_its_whole_numbers_and_no_others(low, count, others):
    high = low + count
    pattern = Pattern(f"{{{low}..{high}}}")
    for number in (low - 1, low, (low + high) // 2, high, high + 1, *others):
        assert pattern.matches(str(number)) == (low <= number <= high)


def tree_of(*names: str) -> ParamTree:
    return ParamTree([TensorInfo(name, (2,), "float32", "parameter") for name in names])


VGG = tree_of(
    *(f"features.{i}.{p}" for i in (0, 2, 24, 26, 28) for p in ("weight", "bias")), "classifier.0.weight"
)


@pytest.mark.parametrize(
    ("pattern", "tensors"),
    [
        ("features", 10),
        ("features.{24..28}", 6),
        ("features.{0,2}.weight", 2),
        ("features.{0..2}.{weight,bias}", 4),
        ("{features.0,classifier}", 3),
        ("{features.0,1..3}", 2),
        ("features.2*", 8),
        ("**.bias", 5),
        ("**", 11),
        ("*.0", 3),
        ("re:features\\.2[0-9]\\..*", 6),
        ("re:features", 0),
        ("feature", 0),
        ("features.\\*", 0),
    ],
)
def test_examples(pattern, tensors):
    assert len(covered(VGG, pattern)) == tensors


@pytest.mark.parametrize("pattern", ["", "re:(", "{a", "a}", "{a{b}}", "{5..1}", "{a.b,c}" * 12])
def test_malformed_patterns_say_so_in_one_line(pattern):
    with pytest.raises(PatternError) as caught:
        Pattern(pattern)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("pattern", "closest"),
    [
        ("feature", "features"),
        ("classifer.0", "classifier"),
        ("features.29", "features.2"),
        ("0.bias", "features.0.bias"),
        ("features.0.bias.x", "features.0.bias"),
        ("features..0", "features.0"),
        ("re:features", "features"),
    ],
)
def test_a_pattern_that_matches_nothing_names_the_closest(pattern, closest):
    with pytest.raises(PatternError) as caught:
        matched(pattern, VGG)
    assert re.search(rf"{re.escape(closest)}\b", caught.value.hint)


def test_a_pattern_that_hits_only_buffers_is_an_error():
    tree = ParamTree(
        [TensorInfo("bn.running_mean", (2,), "float32", "buffer"), TensorInfo("w", (2,), "float32")]
    )
    with pytest.raises(PatternError, match="not trainable"):
        resolve([Rule("freeze", "bn")], tree)


@given(trees, st.lists(st.tuples(st.sampled_from(["freeze", "train"]), st.integers(0, 99)), max_size=6))
def test_the_last_rule_that_matches_wins(tree, drawn):
    able = [t for t in tree.tensors if not t.untrainable_reason]
    rules = [Rule(action, "re:" + re.escape(able[i % len(able)].name)) for action, i in drawn] if able else []
    mask = resolve(rules, tree)
    for index, tensor in enumerate(tree.tensors):
        group = tree.tie_groups.get(index, (index,))
        known = {"re:" + re.escape(tree.tensors[i].name) for i in group}
        said = [rule.action for rule in rules if rule.pattern in known]
        assert bool(mask[index]) == (not said or said[-1] == "train"), tensor


@pytest.mark.parametrize("pattern", ["{a, b}", "{a,cc}", "a.{0..1,x}", "{a.0,b}.w", "**.{w,v}"])
def test_an_alternative_that_names_nothing_is_told(pattern):
    tree = ParamTree([TensorInfo(name, (1,), "float32", "parameter", None) for name in ("a.0.w", "b.w")])
    if pattern == "{a.0,b}.w":
        assert len(matched(pattern, tree)) == 1
    else:
        with pytest.raises(PatternError, match="in pattern"):
            matched(pattern, tree)


MANY = [f"model.layers.{i % 40}.block{i}.{'ab' * 15}{i % 7}.weight" for i in range(10_000)]


@pytest.mark.parametrize(
    "pattern",
    [
        "*a" * 25 + "*c",
        "**." + "*" * 25 + "c",
        "**.a." * 20 + "b",
        "**.*a." * 20 + "b",
        "**." * 20 + "nothing",
        "{a,b}" * 20 + "c",
        "**." + "{a,ab,b,ba}" * 20 + "c",
        "**." + "*{a,b}" * 20 + "c",
        "{" + ",".join(f"x{i}.y{i}.z" for i in range(990)) + "}.w",
        "**.{" + ",".join(f"x{i}.y{i}.z" for i in range(990)) + "}",
        "**.{" + ",".join(f"x{i}" for i in range(50_000)) + "}",
        "**.{" + ",".join(f"{2 * i}" for i in range(500, 50_000)) + "}.w",
        "**.{" + ",".join(f"{5 * i}..{5 * i + 3}" for i in range(500, 20_000)) + "}.w",
        "a" * 1_000_000,
        "." * 100_000,
        "**.*." * 1_000 + "c",
    ],
    ids=lambda pattern: pattern[:12],
)
def test_no_pattern_takes_long_over_many_names(pattern):
    tree = tree_of(*MANY)
    started = time.process_time()
    assert Pattern(pattern).spans(tree) == []
    assert (
        time.process_time() - started < 5
    )  # backtracking would take minutes; a slow machine takes one second


@pytest.mark.parametrize(
    "pattern", ["{a.b,c}" * 20, "{a.b,c}" * 9 + "x" * 100_000, "{a.b,c,d}" * 6 + "x." * 50_000]
)
def test_what_braces_would_expand_to_is_bounded_before_it_is_made(pattern):
    started = time.process_time()
    with pytest.raises(PatternError, match="expands to more than") as caught:
        Pattern(pattern)
    assert time.process_time() - started < 2
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize(
    "pattern",
    [
        "x" * 10**6,
        "{" + "x," * 10**5,
        "re:" + "x." * 10**5,
        "{a,b}" * 10**5,
        "{" + "x," * 10**5 + "features}",
    ],
    ids=lambda pattern: pattern[:12],
)
def test_a_message_does_not_repeat_a_long_pattern(pattern):
    started = time.process_time()
    with pytest.raises(PatternError) as caught:
        matched(pattern, VGG)
    assert len(caught.value.message) < 450
    assert len(caught.value.hint) < 450
    assert "\n" not in str(caught.value)
    assert time.process_time() - started < 2


@pytest.mark.parametrize("rows", ["[:32000]", "[90:]", "[1:2]", "[-5:]", "[ 1 : 2 ]", "$[:32000]", "[:]"])
def test_row_ranges_are_said_not_to_be_supported_yet(rows):
    with pytest.raises(PatternError, match=r"row ranges such as .* are not supported yet"):
        matched("features.0.weight" + rows, VGG)
    named = tree_of("features.0.weight" + rows)
    assert matched("features.0.weight" + rows, named) == [(0, 1)]


def test_a_pattern_that_matches_deeper_is_told():
    with pytest.raises(PatternError, match="matches no parameter") as caught:
        matched("bia*", VGG)
    assert caught.value.hint == "'**.bia*' matches at any depth."
    with pytest.raises(PatternError, match="matches no parameter") as caught:
        matched("**bias", VGG)
    assert caught.value.hint == "'**.*bias' matches at any depth."
    with pytest.raises(PatternError, match="matches no parameter") as caught:
        matched("zz*", VGG)
    assert "**." not in caught.value.hint


def test_only_so_many_patterns_get_a_hint():
    """A config with 60,000 wrong rules is read in a moment."""
    tree, budget = tree_of(*MANY), Budget()
    hints = []
    for i in range(1_000):
        with pytest.raises(PatternError, match="matches no parameter") as caught:
            matched(f"model.layers.1.bloc{i}", tree, budget)
        hints.append(caught.value.hint)
    assert hints[0].startswith("Closest: model.layers.1.block")
    assert set(hints[100:]) == {"'**' matches everything."}


def test_what_only_has_the_name_of_a_buffer_is_told_how_to_freeze():
    tree = ParamTree([TensorInfo("a.u", (2,), "float32", "buffer", guessed=True)])
    with pytest.raises(PatternError, match="not trainable") as caught:
        matched("a.u", tree)
    assert caught.value.hint.endswith("write a rule for the module around it.")


def test_presets_say_what_does_not_match():
    with pytest.raises(PatternError, match="unknown preset 'x'"):
        find_preset("x")
    with pytest.raises(PatternError, match="the preset 'norms' matches nothing in this model"):
        chosen(find_preset("norms"), tree_of("a.weight", "b.x"))
    with pytest.raises(PatternError, match=r"this model has 5 repeated blocks\. Choose a number up to 5"):
        chosen(find_preset("last-blocks:9"), VGG)
