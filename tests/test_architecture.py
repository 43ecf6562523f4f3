"""Architecture tests: which rooms import which, what never loads torch, what every file looks like."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

from freezetui import __version__

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "src" / "freezetui"
SOURCES = sorted(PACKAGE.rglob("*.py"))


def modules_of(statement: str) -> set[str]:
    """Return the modules that a statement loads in a fresh process."""
    result = subprocess.run(
        [sys.executable, "-c", f"import sys; {statement}; print(*sys.modules)"],
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
    )
    return set(result.stdout.split())


def loaded_by(statement: str) -> set[str]:
    """Return the top-level packages that a statement loads in a fresh process."""
    return {name.partition(".")[0] for name in modules_of(statement)}


def test_import_linter_contracts_hold():
    lint = Path(sys.executable).with_name("lint-imports")
    result = subprocess.run([lint], capture_output=True, text=True, cwd=ROOT)
    assert result.returncode == 0, result.stdout


def imported_rooms(source: Path) -> Iterator[str]:
    """Yield the rooms that a file imports, inside functions and under TYPE_CHECKING too."""
    for node in ast.walk(ast.parse(source.read_text("utf-8"))):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("freezetui"):
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names if alias.name.startswith("freezetui.")]
        else:
            continue
        yield from (name.split(".")[1] for name in names)


def test_rooms_import_each_other_in_no_circle():
    names = {path.stem for path in PACKAGE.iterdir()}
    rooms: dict[str, set[str]] = {}
    for source in SOURCES:
        room = source.relative_to(PACKAGE).parts[0].removesuffix(".py")
        if not room.startswith("__"):
            known = {name for name in imported_rooms(source) if name != room and name in names}
            rooms.setdefault(room, set()).update(known)
    assert {"cli", "engine", "checkpoint"} <= rooms.keys() and rooms["cli"]
    TopologicalSorter(rooms).prepare()  # raises CycleError, which names the circle


def test_files_import_each_other_in_no_circle():
    """Nor by a type, or by an import inside a function: data flows one way."""
    names = {
        ".".join(source.relative_to(PACKAGE.parent).with_suffix("").parts).removesuffix(".__init__"): source
        for source in SOURCES
    }
    files: dict[str, set[str]] = {}
    for name, source in names.items():
        found: set[str] = set()
        for node in ast.walk(ast.parse(source.read_text("utf-8"))):
            if isinstance(node, ast.ImportFrom) and node.module in names:
                inside = (f"{node.module}.{alias.name}" for alias in node.names)
                found.update(each if each in names else node.module for each in inside)
        files[name] = found - {name}
    assert "freezetui.freeze.plan" in files["freezetui.session.session"]
    TopologicalSorter(files).prepare()


@pytest.mark.parametrize(
    ("modules", "never"),
    [
        ("freezetui", {"torch", "textual", "rich", "click", "numpy", "msgspec"}),
        ("freezetui.cli.main", {"torch", "textual", "numpy", "msgspec"}),
        (
            "freezetui.checkpoint.open, freezetui.checkpoint.state_dict.assemble",
            {"torch", "textual", "rich", "numpy", "zipfile"},
        ),
        (
            "freezetui.config.sync, freezetui.freeze.presets",
            {"torch", "textual", "rich", "numpy", "ruamel"},
        ),
        (
            "freezetui.session.session, freezetui.formatting.tree, freezetui.formatting.report",
            {"torch", "textual", "rich", "numpy"},
        ),
        (
            "freezetui.sanity.client, freezetui.recognition.catalog",
            {"torch", "torchvision", "textual", "numpy"},
        ),
        (
            "freezetui.formatting.diff, freezetui.formatting.series, freezetui.formatting.values",
            {"torch", "textual", "rich", "numpy"},
        ),
        (
            "freezetui.diff.run, freezetui.diff.report",
            {"torch", "textual", "click", "ruamel", "concurrent", "numpy"},
        ),
        (
            "freezetui.diff.measuring, freezetui.diff.stats, freezetui.diff.validate",
            {"torch", "textual", "click", "ruamel", "concurrent"},
        ),
        ("freezetui.description.client, freezetui.description.tree", {"torch", "numpy", "textual", "xxhash"}),
        ("freezetui.tui.app", {"torch", "torchvision", "numpy", "ruamel", "safetensors"}),
        pytest.param(
            "freezetui.engine.main, freezetui.engine.check, freezetui.models.build, "
            "freezetui.training.config",
            {"textual", "torchvision"},
            marks=pytest.mark.torch,
        ),
        pytest.param(
            "freezetui.describer.describe",
            {"textual", "torchvision", "transformers", "timm", "safetensors", "xxhash", "regex", "ruamel"},
            marks=pytest.mark.torch,
        ),
    ],
)
def test_nothing_is_loaded_before_it_is_needed(modules, never):
    assert not loaded_by(f"import {modules}") & never


def test_the_first_screen_loads_one_format_and_nothing_of_other_commands():
    sample = ROOT / "sample_ckpts" / "vgg_digits.pth"
    loaded = modules_of(
        "import freezetui.cli.main, freezetui.tui.app; "
        "from freezetui.session.session import Options, Session; "
        f"Session(Options(source={str(sample)!r}))"
    )
    ours = {name.removeprefix("freezetui.") for name in loaded if name.startswith("freezetui.")}
    assert "checkpoint.formats.torch_zip" in ours and "tui.main_screen" in ours
    assert not {name for name in ours if name.startswith(("diff.", "engine.", "description.client"))}
    assert {name for name in ours if name.startswith("cli.")} <= {
        f"cli.{name}" for name in ("main", "options", "output", "progress", "sessions", "streams")
    }
    assert ours.isdisjoint(f"checkpoint.formats.{name}" for name in ("safetensors", "gguf", "dcp"))
    assert ours.isdisjoint(
        (
            "freeze.patterns",
            "freeze.regexes",
            "freeze.globs",
            "config.codec",
            "checkpoint.storage",
            "checkpoint.weights",
        )
    )


def test_a_diff_loads_the_formats_of_its_files_alone():
    sample = ROOT / "sample_ckpts" / "vgg_digits.pth"
    loaded = modules_of(
        "import freezetui.cli.diff; from freezetui.diff.run import diff_stages; "
        "from freezetui.checkpoint.open import open_checkpoint; "
        f"one = open_checkpoint({str(sample)!r}); diff_stages(one, one, None, None, lambda text: None, None)"
    )
    formats = {name.rpartition(".")[2] for name in loaded if name.startswith("freezetui.checkpoint.formats.")}
    assert "torch_zip" in formats
    assert formats.isdisjoint(("safetensors", "gguf", "dcp", "dcp_pieces", "torch_legacy"))


def test_opening_and_showing_a_checkpoint_never_loads_torch():
    sample = ROOT / "sample_ckpts" / "vgg_digits.pth"
    loaded = loaded_by(
        "from freezetui.session.session import Options, Session; "
        f"Session(Options(source={str(sample)!r})).written()"
    )
    assert not loaded & {"torch", "numpy", "textual"}


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.relative_to(ROOT / "src").as_posix())
def test_every_public_thing_says_what_it_is_and_no_file_is_long(source):
    text = source.read_text("utf-8")
    assert len(text.splitlines()) <= 300
    module = ast.parse(text)
    assert ast.get_docstring(module) is not None
    for parent in (module, *(node for node in module.body if isinstance(node, ast.ClassDef))):
        if isinstance(parent, ast.ClassDef) and parent.name.startswith("_"):
            continue
        for node in parent.body:
            if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                overload = {"overload", "override"} & {ast.unparse(d) for d in node.decorator_list}
                if not node.name.startswith("_") and not overload:
                    assert ast.get_docstring(node), f"{node.name}, line {node.lineno}"


def test_the_version_is_one():
    version = re.search(r'^version = "(.+)"$', (ROOT / "pyproject.toml").read_text(), re.MULTILINE)
    assert version is not None and version[1] == __version__
    assert f"## {__version__}" in (ROOT / "CHANGELOG.md").read_text()
