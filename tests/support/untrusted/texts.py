"""Configs in YAML and JSON, and patterns, each beside a model that is fine."""

from __future__ import annotations

import json
from collections.abc import Iterator

from support.untrusted.inputs import FIFO, Input, Opens, Refused
from support.untrusted.writers import model_safetensors

SHAPES = {
    "layers.0.q_proj.weight": (2, 2),
    "layers.0.q_proj.bias": (2,),
    "layers.1.q_proj.weight": (2, 2),
    "layers.1.q_proj.bias": (2,),
    f"{'a' * 40}.weight": (1,),
    "head.weight": (3,),
}
_MODEL = {"m.safetensors": model_safetensors(SHAPES)}
_DIGITS, _LONG = "9" * 5_000, "x" * 150_000


def _frozen(*parts: str) -> frozenset[str]:
    return frozenset(name for name in SHAPES if any(part in name for part in parts))


def configs() -> Iterator[Input]:
    """Configs that are right, that are none, that cannot be, and that mean ill."""
    head = "freezetui: 1\n"
    for suffix, good in {
        "yaml": f"{head}rules:\n  - freeze: layers\n  - train: '**.bias'\n",
        "json": '{"freezetui": 1, "rules": [{"freeze": "layers"}, {"train": "**.bias"}]}',
    }.items():
        outcome = Opens(SHAPES, frozen=_frozen("q_proj.weight"))
        for what, text in {
            "": good,
            " with a BOM": "\ufeff" + good,
            " with CRLF": good.replace("\n", "\r\n"),
        }.items():
            yield _config(f"a config{what}", suffix, text.encode(), outcome)
        for part in (2, 5, 8):
            cut = good[: len(good) * part // 10]
            if suffix == "json":
                yield _config(f"a config cut at {part}0 percent", suffix, cut.encode(), Refused("valid JSON"))
    yield _config("an empty config", "yaml", b"", Refused("is not a freeze config"))
    for what, text, said in (
        ("empty lines", head + "\n" * 2_000_000, "20,000 lines"),
        ("one pattern of 3 MB", f"{head}rules:\n  - freeze: {'x' * 3_000_000}\n", "2 MiB"),
        ("60,000 keys", head + "".join(f"k{i}: 1\n" for i in range(60_000)), "20,000 lines"),
        ("200,000 items", f"{head}x: [{'1,' * 200_000}]\n", "10,000 keys and items"),
        ("9,000 brackets", f"{head}x: {'[' * 9_000}\n", "nested too deeply"),
        ("5,000 digits", f"{head}model:\n  input: [{_DIGITS}]\n", "digits"),
        ("inf", f"{head}model:\n  input: [.inf]\n", "finite"),
        ("NaN", f"{head}stages:\n  - {{name: a, lr_scale: .nan}}\n", "finite"),
        ("a long value", f"{head}default: {_LONG}\n", "train"),
        ("aliases", f"{head}rules: &a\n  - freeze: head\nstages: *a\n", "aliases"),
        ("laughs", head + "a: &a [x]\n" + "".join(f"b{i}: &b{i} [*a, *a]\n" for i in range(40)), "aliases"),
        ("a tag", f"{head}model: !!python/object/apply:os.system ['touch canary']\n", "tags"),
        ("another tag", f"{head}model: !canary {{}}\n", "tags"),
        ("a doubled key", f"{head}default: train\ndefault: train\n", "line 3"),
        ("an unknown key", f"{head}rulse: []\n", "Valid keys"),
        ("an unknown version", "freezetui: 2\n", "version"),
        ("version true", "freezetui: true\n", "version"),
        ("a list", "- freezetui\n", "is not a freeze config"),
        ("a text", "freezetui\n", "is not a freeze config"),
        ("a rule of a list", f"{head}rules:\n  - freeze: [a]\n", "must be a string"),
        ("a rule of two keys", f"{head}rules:\n  - {{freeze: a, train: b}}\n", "a rule is"),
        ("a key that is a list", f"{head}? [a]\n: b\n", "."),
        ("a number for a key", f"{head}1: b\n", "must be a string"),
        ("a date", f"{head}model:\n  arguments: {{a: 2020-01-01}}\n", "must be a string, number"),
        ("escapes", f'{head}default: "\\e]0;owned\\a"\n', "train"),
        ("a raw escape", f"{head}default: \x1b[31m\n", "."),
        ("half a character", f'{head}default: "\\ud800"\n', "surrogate"),
        ("half a character for a key", f'{head}"\\ud800": 1\n', "surrogate"),
        ("tabs", f"{head}rules:\n\t- freeze: a\n", "line 3"),
    ):
        yield _config(f"a config of {what}", "yaml", text.encode(), Refused(f"c\\.yaml.*{said}"))
    doubled = ",".join(f'"k{i % 59_999}": 1' for i in range(60_000))
    for what, text, said in (
        ("5,000 digits", '{"freezetui": 1, "model": {"input": [' + _DIGITS + "]}}", "digits"),
        ("1e400", '{"freezetui": 1, "model": {"input": [1e400]}}', "finite"),
        ("NaN", '{"freezetui": 1, "stages": [{"name": "a", "lr_scale": NaN}]}', "finite"),
        ("10**30", '{"freezetui": 1, "model": {"arguments": {"a": 1' + "0" * 30 + "}}}", "64 bits"),
        ("100,000 brackets", "[" * 100_000, "nested too deeply"),
        ("a doubled key", '{"freezetui": 1, "default": "train", "default": "train"}', "duplicate key"),
        ("60,000 doubled keys", '{"freezetui": 1, ' + doubled + "}", "duplicate key"),
        ("a long key", '{"freezetui": 1, "' + _LONG + '": 1}', "unknown key"),
        ("a long version", '{"freezetui": "' + _LONG + '"}', "version"),
        ("an escape for a key", '{"freezetui": 1, "\\u001b[31m": 1}', "unknown key"),
        ("a lone surrogate", '{"freezetui": 1, "default": "\\ud800"}', "surrogate"),
        ("half a character for a key", '{"freezetui": 1, "\\ud800": 1}', "surrogate"),
        ("half a character for a rule", '{"freezetui": 1, "rules": [{"\\ud800": "a"}]}', "a rule is"),
        ("no JSON", "{freezetui: 1}", "line 1"),
        ("nothing", "", "."),
    ):  # fmt: skip
        yield _config(f"a config of {what}", "json", text.encode(), Refused(f"c\\.json.*{said}"))
    merged = f"{head}<<: {{default: freeze}}\n"
    yield _config(
        "a config with a merge key", "yaml", merged.encode(), Opens(SHAPES, frozen=frozenset(SHAPES))
    )
    for suffix in ("yaml", "json"):
        yield _config("a config of no text", suffix, b"\xff\xfe\0\1", Refused("is not a text file"))
        for what, special in (("a device", "/dev/zero"), ("a FIFO", FIFO), ("/dev/null", "/dev/null")):
            yield _config(f"a config that is {what}", suffix, special, Refused("is not a file"))
    # No config can be at the default path of these.
    long = f"{'a' * 250}.pth"
    yield Input("a name too long for a config's", {long: _MODEL["m.safetensors"]}, Opens(SHAPES), long)
    files = {**_MODEL, "m.freeze.yaml/file": b""}
    yield Input("a directory called as the config", files, Opens(SHAPES), "m.safetensors")
    for number, pattern in enumerate(("layers.7", "\x1b]0;owned\x07", "re:(a|a)*b", "\u202ehead", "re:(")):
        text = json.dumps({"freezetui": 1, "rules": [{"freeze": "head"}, {"freeze": pattern}]})
        yield _config(
            f"a config with a rule that fits nothing {number}",
            "json",
            text.encode(),
            Opens(SHAPES, frozen=_frozen("head")),
        )


def _config(name: str, suffix: str, content: bytes | str, outcome: Opens | Refused) -> Input:
    files = {**_MODEL, f"c.{suffix}": content}
    return Input(f"{name} ({suffix})", files, outcome, "m.safetensors", ("--config", f"c.{suffix}"))


def patterns() -> Iterator[Input]:
    """Patterns, as `plan --freeze` takes them."""
    for pattern, parts in _MATCHING.items():
        yield _pattern(pattern, Opens(SHAPES, frozen=_frozen(*parts)))
    for pattern, said in (_MATCHING_NOTHING | _MALFORMED).items():
        yield _pattern(pattern, Refused(said))


def _pattern(pattern: str, outcome: Opens | Refused) -> Input:
    name = ascii(pattern[:40]) + (f" of {len(pattern):,}" if len(pattern) > 40 else "")
    return Input(f"pattern {name}", _MODEL, outcome, "m.safetensors", ("plan", "--freeze", pattern))


#: Parts of the names that each matches.
_MATCHING = {
    "layers": ("layers",),
    "layers.{0..1}.q_proj": ("layers",),
    "layers.*.q_proj.weight": ("q_proj.weight",),
    "**.bias": ("bias",),
    "{head,layers.1}": ("head", "layers.1"),
    r"re:.*\.bias": ("bias",),
    "re:(?!layers).*weight": ("head", "aaa"),
    "h*d": ("head",),
    r"\head": ("head",),
    r"re:head\.weight": ("head",),
    "a*" * 25: ("aaa",),
    "**.**.**.**.weight": ("weight",),
    "*a*a*a*a*a*a*a*a*a*a*a*a*.weight": ("aaa",),
    "layers.{0,1}.{q_proj,q_proj}.{weight,bias}": ("layers",),
    r"re:(a|a)+\.weight": ("aaa",),
}
_MATCHING_NOTHING = {
    "layers.7": "matches no parameter",
    "heda": "Closest: head",
    "*" * 3 + "b" * 25: "matches no",
    "*b" * 25: "matches no",
    "**." * 20 + "x": "matches no",
    "{" + ",".join(f"a.b{i}" for i in range(990)) + "}.c": "matches no",
    "{0..999999999999999999}": "matches no",
    "x" * 200_000: "matches no",
    "re:" + "a" * 20_000: "matches no",
    "re:(a+)+b": "matches no|timed out",
    "re:(a|a)*b": "matches no|timed out",
    "\x1b]0;owned\x07": "matches no",
    "\u202ehead": "matches no",
    "head.weight[0:1]": "row ranges",
    "{head,nope}": "matches no parameter",
}
_MALFORMED = {
    "": "empty",
    "a{": "without",
    "a}": "without",
    "{a{b}}": "nested",
    "{1..0}": "reversed",
    "{a.b,c.d}" * 20: "expands to more than",
    "{a,b}." * 10_001 + "c": "more than 10,000 braces",
    "re:a{99999999999999}": "regular expression",
    "re:" + "(a)" * 5_000: "longer than",
    "re:" + "(a)" * 3_000: "more than 1,000 groups",
    "re:(": "valid regular",
    "re:((a{1000}){1000}){1000}": "repeats",
    "re:" + "(" * 4_000 + ")" * 4_000: "groups|nested",
    "re:a?" + "a" * 20_000: "longer than",
    "re:[" + "9" * 5_000: "valid regular",
    "re:a{" + _DIGITS + "}": "valid regular",
    "re:(?P<\x1b[31m>a)": "valid regular",
}
