"""`re:` patterns mean what `re` makes of them, and end in time."""

from __future__ import annotations

import re
import subprocess
import sys
import threading
import time
import warnings

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from freezetui.checkpoint.types import TensorInfo
from freezetui.errors import PatternError
from freezetui.freeze.patterns import Pattern
from freezetui.freeze.regexes import Budget
from freezetui.freeze.rules import Rule, overlay, resolve
from freezetui.freeze.tree import ParamTree

#: Takes `re` and `regex` for ever on the first of NAMES.
ENDLESS = r"re:(a|a)*b"
NAMES = ["a" * 60 + "bc", "b", "aab"]

REAL = [
    r".*\.bias",
    r"features\.2[0-9]\..*",
    r"layers\.(\d+)\.(self_attn|mlp)\..*",
    r"^model\.layers\.(?:[0-9]|1[0-5])\..*$",
    r"(?!lm_head|embed).*",
    r".*(?<!norm)\.weight",
    r"(?:.*\.)?(?:q|k|v|o)_proj\.weight",
    r"(?i)LAYERS\.\d+\..*",
    r"(?x) layers \. \d+  # [ a comment {e}",
    "(?x: a \\. # [{\n b ) \\.c",
    r"(?s:.)*",
    r".*\bnorm\b.*",
    r".*\Bnorm\B.*",
    r"(\w+)\.\1",
    r"(?P<a>\w+)\.(?P=a)",
    r"(a)?(?(1)b|c)",
    r"[\w.]*",
    r"[^\W\d]+",
    r"[^\W_a-z]+",
    r"[\W\Sx]+",
    r"[^\Wa\S]",
    r"(?i)[^\Wa]+",
    r"[^\s]*",
    r"(?x)(a) \1 1 | a {2} \ [ ]",
    "(?xi) A # ) \n",
    r"(a)(b)?\1\101\0",
    "((((((((((a))))))))))\\10",
    r"(?x: (?-x: a)b c)",
    r"\S+",
    r"\W+",
    r"a{e<=1}",
    r"(?:ab){e}",
    r"a{,2}",
    r"a{}",
    r"a{1",
    r"{",
    r"}",
    r"[[:alpha:]]",
    r"[[a]b]",
    r"[]a]",
    r"[^]a]",
    r"[a||b&&c~~d]",
    r"\x61\u0062\N{LATIN SMALL LETTER C}",
    r"(?#c[)a",
    r"a??b",
    r"\Aa\Z",
    r"a|ab|",
    r"(?=a)a.*",
    r"(?<=a)b",
    r"(?-i:a)",
    r"(?i:A)",
    r"(?a)\w+",
    r"(?a)\b\w+\b",
    r"(?m)^a$\n^b$",
]
PROBES = [
    *(
        "",
        "a",
        "A",
        "b",
        "ab",
        "aa",
        "aaa",
        "aab",
        "ba",
        "c",
        "abc",
        "a.b",
        "a.b.c",
        "a.a",
        "a{e<=1}",
        "ab{e}",
    ),
    *(
        "a{}",
        "a{1",
        "{",
        "}",
        ":]",
        "a]",
        "[]",
        "[b]",
        "]",
        "|",
        "&",
        "~",
        "^",
        "\n",
        "a\nb",
        " ",
        "\x1c",
        "_",
    ),
    *(
        "layers.0.mlp.w",
        "LAYERS.3.x",
        "layers.12",
        "features.24.weight",
        "features.2.bias",
        "model.layers.15.w",
    ),
    *(
        "lm_head.weight",
        "embed.w",
        "x.norm.weight",
        "norm.weight",
        "xnormy",
        "m.q_proj.weight",
        "a\u0301",
        "½",
    ),
    *("é", "É", "1", "²", "x.norm", "É.é", "\u0301", "日本", "ß", "SS", "K", "k", "ſ", "s"),
]


def differences(source: str, names: list[str]) -> list[str]:
    pattern, expected = Pattern("re:" + source), re.compile(source)
    return [name for name in names if pattern.matches(name) != (expected.fullmatch(name) is not None)]


@pytest.mark.parametrize("source", REAL)
def test_real_expressions_mean_the_same(source):
    assert not differences(source, PROBES)


atoms = st.sampled_from(
    [
        *(
            "a",
            "b",
            "ab",
            ".",
            r"\.",
            "[ab]",
            "[^a]",
            r"\d",
            r"\w",
            r"\W",
            r"\s",
            r"[\w.]",
            r"[\s-]",
            "[[b]",
            "{e}",
        ),
        *(
            "^",
            "$",
            r"\b",
            r"\B",
            "{",
            "}",
            "a{1",
            "é",
            "0",
            r"[\d{}]",
            r"\{",
            "(?#x)",
            "]",
            "(?:)",
            r"[^\w]",
        ),
    ]
)
repeated = st.sampled_from(
    ["", "", "", "*", "+", "?", "*?", "+?", "??", "{2}", "{,2}", "{1,}", "{0,2}?", "{1,2}"]
)
opened = st.sampled_from(["(", "(", "(?:", "(?=", "(?!", "(?<=", "(?<!", "(?i:", "(?s:", "(?x: "])


_REPEATED_GROUP = re.compile(r"\)[*+?{]")


def _row(parts: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.lists(st.builds("{}{}".format, parts, repeated), min_size=1, max_size=4).map("".join)


expressions = st.recursive(
    _row(atoms),
    lambda inner: _row(
        st.one_of(
            atoms,
            st.builds("{}{})".format, opened, inner),
            st.builds("(?:{}|{})".format, inner, inner),
            st.builds("({})\\1".format, inner),
        )
    ),
    max_leaves=6,
)
texts = st.text(st.sampled_from("aabb.01_-é{}e]\n "), max_size=7)


@pytest.mark.filterwarnings("ignore:Possible nested set:FutureWarning")
@settings(max_examples=800, deadline=None)
@example(r"(a|ab)(c|bcd)(d*)", ["abcd"])
@given(expressions, st.lists(texts, min_size=1, max_size=12))
def test_generated_expressions_mean_the_same(source, names):
    try:
        re.compile(source)
    except re.error:
        with pytest.raises(PatternError):
            Pattern("re:" + source).spans(ParamTree([]))
        return
    assume(not source.startswith("{0,"))
    # A group that matched only the empty text in a repetition counts as unmatched in `regex`, not in `re`.
    assume(r"\1" not in source or not _REPEATED_GROUP.search(source))
    # Before Python 3.14 `\\B` does not match the empty text in `re`.
    assert not differences(source, [name for name in names if name])


@given(st.text(max_size=6))
def test_escaped_names_match_themselves_alone(name):
    pattern = Pattern("re:" + re.escape(name))
    assert pattern.matches(name)
    assert not pattern.matches(name + "x")
    tree = ParamTree(
        [TensorInfo(n, (1,), "float32") for n in dict.fromkeys([name, "x." + name, name + ".x"])]
    )
    assert [tree.tensors[i].name for start, stop in pattern.spans(tree) for i in range(start, stop)] == [name]


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("a{99999999999999}", "not a valid regular expression"),
        ("a{" + "9" * 5000 + "}", "not a valid regular expression"),
        ("(a)" * 1500, "more than 1,000 groups"),
        ("(a)" * 5000, "longer than 10,000"),
        ("(?:" * 2000 + ")" * 2000, "nested too deeply"),
        ("(" * 5000, "longer|nested|not a valid"),
        ("((a{1000}){1000}){1000}", "repeats more than"),
        ("(?:(?:a{1000}){1000,}){1000}?", "repeats more than"),
        ("a{60000}", "repeats more than"),
        ("a|" * 100_000, "longer than 10,000"),
        ("(", "not a valid regular expression"),
        (r"\p{L}", "not a valid regular expression"),
        ("(?|a)", "not a valid regular expression"),
        ("(?P<" + "x" * 3000 + ">a)(?P<" + "x" * 3000 + ">a)", "not a valid regular expression"),
    ],
    ids=lambda value: value[:20],
)
def test_what_cannot_be_compiled_is_one_short_line(source, said):
    started = time.process_time()
    with pytest.raises(PatternError, match=said) as caught:
        Pattern("re:" + source)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 500
    assert time.process_time() - started < 5


def test_an_endless_match_is_an_error_after_the_budget():
    tree = ParamTree([TensorInfo(name, (1,), "float32", "parameter") for name in NAMES])
    started = time.process_time()
    with pytest.raises(PatternError, match=r"timed out: .* may take 2 s\.") as caught:
        Pattern(ENDLESS).spans(tree)
    assert 1.9 < time.process_time() - started < 6
    assert "Simplify" in caught.value.hint


def test_all_patterns_of_a_config_share_one_budget():
    tree = ParamTree([TensorInfo(name, (1,), "float32", "parameter") for name in NAMES])
    budget = Budget(0.2)
    mask = bytearray(b"\1" * len(NAMES))
    for _ in range(50):
        started = time.process_time()
        with pytest.raises(PatternError, match=r"timed out: .* may take 0\.2 s\."):
            overlay([Rule("freeze", ENDLESS)], tree, mask, budget)
    assert time.process_time() - started < 0.5
    assert mask == b"\1" * len(NAMES)  # never a partial match
    with pytest.raises(PatternError, match="timed out"):
        resolve([Rule("freeze", r"re:.*")], tree, budget=budget)
    assert not resolve([Rule("freeze", "**"), Rule("freeze", r"re:aab")], tree, "train", budget).count(1)


def test_all_patterns_of_a_config_share_a_time_whatever_they_are():
    tree = ParamTree([TensorInfo(f"layers.{i}.weight", (1,), "float32", "parameter") for i in range(10_000)])
    budget = Budget(total=0.1)
    mask = bytearray(b"\1" * len(tree.tensors))
    started = time.process_time()
    with pytest.raises(PatternError, match=r"all patterns together may take 0\.1 s"):
        overlay([Rule("freeze", "**.w*")] * 20_000, tree, mask, budget)
    assert time.process_time() - started < 1
    with pytest.raises(PatternError, match="all patterns together"):
        resolve([Rule("freeze", "layers")], tree, budget=budget)


def test_many_names_that_each_take_a_moment_overrun_too():
    """Short names are matched without a timeout of their own where the expression is simple."""
    tree = ParamTree([TensorInfo(f"{'a' * 150}{i}", (1,), "float32") for i in range(50_000)])
    Pattern(r"re:.*a.*[0-4]").matches("a")  # imported and compiled
    with pytest.raises(PatternError, match=r"timed out: .* may take 0\.005 s\."):
        Pattern(r"re:.*a.*[0-4]", Budget(0.005)).spans(tree)


def test_other_threads_run_while_an_expression_is_matched():
    gaps: list[float] = []
    ended = threading.Event()

    def tick() -> None:
        before = time.thread_time()
        while not ended.is_set():
            time.sleep(0.005)
            gaps.append(time.thread_time() - before)

    other = threading.Thread(target=tick)
    other.start()
    try:
        with pytest.raises(PatternError, match="timed out"):
            Pattern(ENDLESS, Budget(0.5)).matches(NAMES[0])
    finally:
        ended.set()
        other.join()
    assert len(gaps) > 10  # one or two where the lock is held all the time


def test_regex_is_not_loaded_for_other_patterns():
    code = (
        "import sys; from freezetui.freeze.patterns import Pattern; "
        "Pattern('**.{a,b}*'); Pattern('re:a\\\\.b'); print('regex' in sys.modules); "
        "Pattern('re:.*'); print('regex' in sys.modules)"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.split() == ["False", "True"]


def test_what_re_warns_about_is_silent_even_where_warnings_are_errors() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert Pattern("re:[[a]+").matches("a[a")
        assert Pattern("re:[a&&b]+").matches("a&b")
        assert Pattern("re:[a||b]").matches("|")
