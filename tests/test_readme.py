"""The README says what the program does: its key table, its config; docs/findings.md has all findings."""

from __future__ import annotations

import re
import runpy
from pathlib import Path

from freezetui.cli.main import _EXAMPLES
from freezetui.config.codec import read_config
from freezetui.sanity.codes import CODES
from freezetui.tui.app import all_bindings
from freezetui.tui.screens.help import key_rows

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text("utf-8")
FINDINGS = (ROOT / "docs" / "findings.md").read_text("utf-8")


def block(language: str) -> str:
    return README.partition(f"```{language}\n")[2].partition("```")[0]


def test_the_key_table_is_made_from_the_bindings():
    for _, keys, what in key_rows(all_bindings()):
        assert f"| {' '.join(f'`{key}`' for key in keys.split())} | {what} |" in README


def test_the_config_shown_is_a_config(tmp_path):
    path = tmp_path / "vgg16.freeze.yaml"
    path.write_text(block("yaml"))
    config = read_config(path)
    assert [rule.pattern for rule in config.rules] == ["features", "features.{24..28}"]
    assert config.rules_for("everything")[-1].action == "train"


def test_the_tables_of_causes_are_made_from_the_registry():
    script = runpy.run_path(str(ROOT / "scripts" / "make_findings_tables.py"))
    assert script["with_tables"](FINDINGS) == FINDINGS, "run scripts/make_findings_tables.py"
    assert len(re.findall(r"^\| [MFSN]\d+ \|", FINDINGS, re.MULTILINE)) == len(CODES)
    in_scripts = {entry.code for entry in CODES.values() if entry.severity is None}
    assert in_scripts == set(
        re.findall(r"[MF]\d+", FINDINGS.partition("codes, except ")[2].partition(", which")[0])
    )


def test_the_exit_codes_are_those_of_the_help():
    said = _EXAMPLES[_EXAMPLES.index("Exit codes: ") :].partition("Completion")[0]
    assert f"\n{' '.join(said.split())}\n" in README


def test_the_first_screen_names_a_command_for_each_part():
    first = " ".join(README.partition("![")[0].split())
    parts = (
        "Choose",
        "`freezetui model.pth`",
        "prove",
        "`freezetui check`",
        "train with",
        "FreezeConfig.load",
    )
    places = [first.index(part) for part in (*parts, "look back", "`freezetui diff`")]
    assert places == sorted(places)


def test_both_commands_are_in_the_makefile():
    makefile = (ROOT / "Makefile").read_text()
    for line in ("make demo", "make test"):
        assert line in README
        assert f"\n{line.removeprefix('make ')}: " in makefile
