"""A config is as large as a user or `plan` writes it; all else is refused in a moment, in one line."""

from __future__ import annotations

import os
import random
import threading
import time
from pathlib import Path

import pytest

from freezetui import FreezeConfig
from freezetui.checkpoint.types import TensorInfo
from freezetui.config.codec import write_config
from freezetui.config.schema import ModelSection
from freezetui.config.sync import config_from_plan, plan_from_config
from freezetui.errors import ConfigError
from freezetui.freeze.plan import FreezePlan
from freezetui.freeze.rules import Rule
from freezetui.freeze.tree import ParamTree

HEAD = "freezetui: 1\n"
LONG = "x" * 500_000


def keys(number: int, distinct: int) -> str:
    return ",\n".join(f'"k{i % distinct}": 1' for i in range(number))


TOO_MUCH = {
    "empty-lines.yaml": (HEAD + "\n" * 2_000_000, "more than 20,000 lines"),
    "carriage-returns.yaml": (HEAD + "\r" * 2_000_000, "more than 20,000 lines"),
    "one-pattern.yaml": (f"{HEAD}rules:\n  - freeze: {'x' * 3_000_000}\n", "more than 2 MiB"),
    "one-line.yaml": (f"{HEAD}rules:\n  - freeze: {'x' * 1_000_000}\n", "a line of more than 524,288"),
    "keys.yaml": (HEAD + "".join(f"k{i}: 1\n" for i in range(60_000)), "more than 20,000 lines"),
    "flow-keys.yaml": (
        HEAD + "x: {" + ", ".join(f"k{i}: 1" for i in range(30_000)) + "}\n",
        "10,000 keys and items",
    ),
    "flow-items.yaml": (f"{HEAD}x: [{'1,' * 200_000}]\n", "10,000 keys and items"),
    "rule-of-items.yaml": (f"{HEAD}rules:\n  - freeze: [{'1,' * 200_000}]\n", "10,000 keys and items"),
    "deep.yaml": (f"{HEAD}x: {'[' * 9_000}\n", "nested too deeply"),
    "deep.json": ("[" * 100_000, "nested too deeply"),
    "keys.json": ('{"freezetui": 1,\n' + keys(60_000, 60_000) + "}", "unknown key"),
    "doubled.json": ('{"freezetui": 1, ' + keys(60_000, 59_999) + "}", "duplicate key 'k0'"),
    "digits.json": ('{"freezetui": 1, "model": {"input": [' + "9" * 5_000 + "]}}", "limit .* digits"),
    "digits.yaml": (f"{HEAD}model:\n  input: [{'9' * 5_000}]\n", "limit .* digits"),
    "value.json": ('{"freezetui": 1, "default": "' + LONG + '"}', "Invalid enum value"),
    "version.json": ('{"freezetui": "' + LONG + '"}', "format version"),
    "key.json": ('{"freezetui": 1, "' + LONG + '": 1}', "unknown key"),
    "double-key.json": (f'{{"freezetui": 1, "{LONG}": 1,\n "{LONG}": 2}}', "duplicate key"),
    "pattern.json": ('{"freezetui": 1, "rules": [{"freeze": ["' + LONG + '"]}]}', "pattern"),
    "value.yaml": (f"{HEAD}default: {LONG}\n", "Invalid enum value"),
    "version.yaml": (f"freezetui: {LONG}\n", "format version"),
}


@pytest.mark.parametrize("name", TOO_MUCH)
def test_what_nobody_writes_is_refused_in_a_moment(tmp_path: Path, name: str) -> None:
    text, said = TOO_MUCH[name]
    path = tmp_path / name
    path.write_text(text, newline="")
    FreezeConfig().save(tmp_path / "warm.yaml")
    started = time.process_time()
    with pytest.raises(ConfigError, match=said) as caught:
        FreezeConfig.load(path)
    assert time.process_time() - started < 5
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 300 + len(str(path))


def test_special_files_are_refused_before_they_are_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo.yaml")
    (tmp_path / "link.yaml").symlink_to("/dev/zero")
    (tmp_path / "null.yaml").symlink_to(os.devnull)
    (tmp_path / "folder.yaml").mkdir()
    (tmp_path / "to-fifo.yaml").symlink_to("fifo.yaml")
    for name in ("fifo.yaml", "link.yaml", "null.yaml", "folder.yaml", "to-fifo.yaml"):
        ended = threading.Event()

        def read(path: Path = tmp_path / name, ended: threading.Event = ended) -> None:
            for work in (lambda: FreezeConfig.load(path),):
                with pytest.raises(ConfigError, match="is not a file"):
                    work()
            ended.set()

        threading.Thread(target=read, daemon=True).start()
        assert ended.wait(20), name


def test_a_file_that_grows_while_it_is_read_is_bounded(tmp_path: Path) -> None:
    """Files under /proc say that they have no bytes; the size that is told is not relied on."""
    path = tmp_path / "a.yaml"
    path.write_text(HEAD + "#" * 3_000_000)
    with pytest.raises(ConfigError, match="more than 2 MiB"):
        FreezeConfig.load(path)


def test_what_would_not_be_read_is_not_written(tmp_path: Path) -> None:
    rules = tuple(Rule("freeze", f"module{i}") for i in range(60_000))
    with pytest.raises(ConfigError, match="too large for a freeze config"):
        FreezeConfig(rules=rules).save(tmp_path / "a.json")
    assert not (tmp_path / "a.json").exists()


@pytest.mark.parametrize("suffix", ["yaml", "json"])
def test_what_plan_writes_for_irregular_choices_is_read_again(tmp_path: Path, suffix: str) -> None:
    """One module with 100,000 tensors: one rule of 400 KB, the longest that there is."""
    drawn = random.Random(0)
    tree = ParamTree([TensorInfo(f"p{i}", (1,), "float32", "parameter") for i in range(100_000)])
    mask = bytes(drawn.random() < 0.5 for _ in tree.tensors)
    path = tmp_path / f"a.{suffix}"
    write_config(path, config_from_plan(FreezePlan(tree, mask), ModelSection()))
    assert path.stat().st_size > 300_000
    assert plan_from_config(FreezeConfig.load(path), tree).mask == mask


def test_many_rules_that_match_nothing_are_told_in_a_moment() -> None:
    tree = ParamTree([TensorInfo(f"a.layer{i}", (1,), "float32", "parameter") for i in range(3_000)])
    config = FreezeConfig(rules=tuple(Rule("freeze", f"a.lay{i}") for i in range(10_000)))
    started = time.process_time()
    read = plan_from_config(config, tree)
    assert time.process_time() - started < 9
    assert len(read.differences) == 10_000
    assert not read.complete
