"""Names that would steer a terminal reach none, whatever way they are shown."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import ModuleType

import pytest
import torch
from torch import nn

from freezetui.config.codec import read_config
from freezetui.formatting.report import finding_text
from freezetui.sanity.report import Finding
from support.command_line import run
from support.pseudo_terminal import Terminal

#: A title set, a color, direction overrides, line ends, a NUL, half a character, private use, DEL, a C1 CSI.
EVIL = "\x1b]0;owned\x07\x1b[31m\u202eevil\u2066\n\r\0\ud800\ue000\x7f\x9b31m"
MARKS = ["\x1b]0;owned", "\x1b[31mevil", "\u202e", "\u2066", "\ue000", "\x9b", "\0"]


@pytest.fixture(scope="module")
def nasty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint that says it in every name it has, its own included."""
    module = ModuleType("gone\x1b[32m")
    kind = type("Net\x1b[31m", (), {"__module__": module.__name__})
    setattr(module, kind.__name__, kind)
    sys.modules[module.__name__] = module
    names = {
        f"blocks.{i}.{EVIL}.{name}": t for i in range(2) for name, t in nn.Linear(2, 2).state_dict().items()
    }
    saved = {
        "model": names,
        f"ema{EVIL}": {f"x{EVIL}": torch.ones(2)},
        f"note{EVIL}": EVIL,
        "object": kind(),
    }
    path = tmp_path_factory.mktemp("nasty") / "f\x1b]0;owned\x07\u202e.pth"
    torch.save(saved, path)
    del sys.modules[module.__name__]
    return path


def written(text: str) -> list[str]:
    """Return the characters that are neither shown nor a line's end."""
    return sorted({c for c in text if not c.isprintable() and c != "\n"})


@pytest.mark.parametrize(
    "arguments",
    [
        ["show"],
        ["show", "--json"],
        ["show", "--key", "nope"],
        ["show", "--config", f"x{EVIL[:20]}.yaml"],
        ["plan", "--freeze", "blocks.{0..1}"],
        ["plan", "--freeze", "blocks.9"],
        ["plan", "--freeze", EVIL.replace("\0", "").replace("\ud800", "")],
        ["check", "--steps", "1"],
        ["check", "--steps", "1", "--json"],
        ["check", "--architecture", "no\x1b[31m.such:thing"],
        ["show", "--nope\x1b[31m"],
    ],
)
def test_commands(nasty: Path, arguments: list[str], in_process: None) -> None:
    command, *options = arguments
    done = run(command, nasty, *options, COLUMNS="80")
    assert written(done.stdout) == []
    assert written(done.stderr) == []
    assert "Traceback" not in done.stderr
    if "--json" in arguments and command == "show":
        names = [tensor["name"] for tensor in json.loads(done.stdout)["tensors"]]
        assert names[0] == f"blocks.0.{EVIL}.weight"  # the true name, escaped on its way


def test_findings() -> None:
    text = finding_text(Finding("note", "N6", (EVIL,), f"it is {EVIL}", f"not {EVIL}"))
    assert written(text) == []
    assert text.count("\n") == 1


def test_the_config(nasty: Path) -> None:
    path = nasty.with_name("config.freeze.yaml")
    assert run("plan", nasty, "--freeze", "**.weight", "-o", path).returncode == 0
    config = read_config(path)
    assert config.model.checkpoint == nasty.name
    assert written(path.read_text()) == []
    path.unlink()


def test_the_terminal(nasty: Path) -> None:
    for config in nasty.parent.glob("*.yaml"):
        config.unlink()
    terminal = Terminal(str(nasty), columns=160, lines=40)
    terminal.wait_for("blocks")
    terminal.child.send("EGf")
    terminal.wait_for("unsaved", 20)
    for key, wanted in (
        ("d", "Compared with"),
        ("S", "Save the freeze"),
        ("q", "Unsaved"),
        ("/owned", "match"),
    ):
        terminal.child.send(key)
        terminal.wait_for(wanted, 20)
        terminal.child.send("\x1b")
        terminal.wait_without(wanted, 20)
    terminal.child.send("s")
    terminal.wait_for("Saved", 20)
    terminal.child.close(force=True)
    text = terminal.written.decode(errors="ignore")  # closed in the middle of a character
    assert [mark for mark in MARKS if mark in text] == []
