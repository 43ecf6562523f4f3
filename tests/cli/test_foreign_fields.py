"""Escapes in every field of every input: none reaches the terminal, stdout or stderr as it came."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from support import command_line
from support.pseudo_terminal import Terminal

#: A title, a color, clearing, C1 CSI and OSC, direction overrides, line ends of all kinds, DEL, a hyperlink.
EVIL = (
    "x\x1b]0;owned\x07\x1b[31m\x1b[2J\x9b31m\x9d0;owned\x9c\u202e\u2066\u2028\u2029\x85\r\x0b\x0c\x7f"
    "\x1b]8;;http://evil\x1b\\\nINJECTED"
)
#: As it would be written by a terminal's driver; Textual itself writes \x1b[31m and the like.
MARKS = [
    "\x1b]0;",
    "\x1b]8;",
    "\x9b",
    "\x9d",
    "\x9c",
    "\u202e",
    "\u2066",
    "\u2028",
    "\x85",
    "\x7f",
    "owned\x07",
]


def write_safetensors(path: Path, names: list[str], metadata: dict[str, str] | None = None) -> Path:
    entries: dict[str, object] = {
        name: {"dtype": "F32", "shape": [2], "data_offsets": [8 * i, 8 * i + 8]}
        for i, name in enumerate(names)
    }
    header = json.dumps({**({"__metadata__": metadata} if metadata else {}), **entries}).encode()
    path.write_bytes(len(header).to_bytes(8, "little") + header + bytes(8 * len(names)))
    return path


def config(**fields: object) -> dict[str, object]:
    return {"freezetui": 1, "rules": [{"freeze": "a"}], **fields}


#: Each puts EVIL into one field.
CONFIGS = {
    "rule": config(rules=[{"freeze": EVIL}]),
    "regex": config(rules=[{"freeze": f"re:{EVIL}("}]),
    "glob": config(rules=[{"freeze": f"{{{EVIL}"}]),
    "action": config(rules=[{EVIL: "a"}]),
    "rule's type": config(rules=[EVIL]),
    "default": config(default=EVIL),
    "norms": config(norm_statistics=EVIL),
    "key": config(**{EVIL: 1}),
    "version": config(freezetui=EVIL),
    "architecture": config(model={"architecture": f"{EVIL}:build"}),
    "file": config(model={"architecture": f"{EVIL}.py:build"}),
    "arguments": config(model={"architecture": "no.such:thing", "arguments": {EVIL: EVIL}}),
    "checkpoint": config(model={"checkpoint": EVIL}),
    "fingerprint": config(model={"fingerprint": EVIL}),
    "stage": config(stages=[{"name": EVIL, "epochs": 1, "rules": [{"freeze": EVIL}]}]),
    "stage's key": config(stages=[{"name": "a", EVIL: 1}]),
    "doubled key": f'{{"freezetui": 1, {json.dumps(EVIL)}: 1, {json.dumps(EVIL)}: 2}}',
}


def assert_clean(text: str, where: object) -> None:
    odd = sorted({c for c in text if not c.isprintable() and c != "\n"})
    assert odd == [], where
    assert not any(line.startswith("INJECTED") for line in text.split("\n")), where
    assert "Traceback" not in text, where


def run(*arguments: object) -> None:
    done = command_line.run(*arguments)
    assert_clean(done.stdout, arguments)
    assert_clean(done.stderr, arguments)


@pytest.mark.parametrize("field", CONFIGS)
def test_a_config(tmp_path: Path, field: str, in_process: None) -> None:
    checkpoint = write_safetensors(tmp_path / "model.safetensors", ["a", "b"])
    content = CONFIGS[field]
    path = tmp_path / "c.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    run("show", checkpoint, "--config", path)
    run("check", checkpoint, "--config", path, "--steps", 1)
    run("diff", checkpoint, checkpoint, "--config", path)
    run("plan", checkpoint, "--freeze", "a", "-o", path)


@pytest.mark.parametrize("field", ["rule", "architecture", "stage", "fingerprint", "norms"])
def test_a_config_in_the_tui(tmp_path: Path, field: str) -> None:
    checkpoint = write_safetensors(tmp_path / "model.safetensors", ["a", "b"])
    path = tmp_path / "c.yaml"
    path.write_text(json.dumps({**CONFIGS[field], "norm_statistics": "freeze"}))
    terminal = Terminal(str(checkpoint), "--config", str(path), columns=160, lines=40)
    terminal.wait_for("trainable")
    terminal.child.send("d")
    terminal.wait_for("Changes")
    terminal.child.close(force=True)
    text = terminal.written.decode(errors="ignore")  # closed in the middle of a character
    assert [mark for mark in MARKS if mark in text] == []
    assert "INJECTED" not in text or "\\nINJECTED" in text


def test_names_and_files(tmp_path: Path, in_process: None) -> None:
    bad = EVIL.replace("/", "")
    checkpoint = write_safetensors(tmp_path / f"{bad}.safetensors", [f"a.{EVIL}", "b"], {EVIL: EVIL})
    other = write_safetensors(tmp_path / "other.safetensors", [f"a.{EVIL}", f"c{EVIL}"])
    for command in (
        ["show", checkpoint],
        ["show", checkpoint, "--json"],
        ["show", checkpoint, "--key", EVIL],
        [checkpoint],
        ["stats", checkpoint],
        ["stats", checkpoint, "--json"],
        ["stats", checkpoint, EVIL],
        ["validate", checkpoint],
        ["diff", checkpoint, other],
        ["diff", checkpoint, other, "--stat"],
        ["diff", checkpoint, other, checkpoint],
        ["diff", checkpoint, other, "--json"],
        ["plan", checkpoint, "--freeze", "b", "-o", "-"],
        ["plan", checkpoint, "--freeze", EVIL],
        ["plan", checkpoint, "--preset", EVIL],
        ["plan", checkpoint, "--freeze", "b", "-o", tmp_path / EVIL / "x.yaml"],
        ["check", checkpoint, "--steps", 1],
        ["check", checkpoint, "--architecture", f"{EVIL}:x"],
        ["check", checkpoint, "--device", EVIL],
        ["check", checkpoint, "--arg", EVIL],
        ["show", tmp_path / EVIL],
        [EVIL],
        ["show", checkpoint, f"--{EVIL}"],
    ):
        run(*command)


def test_an_index_and_what_lies_beside_it(tmp_path: Path, in_process: None) -> None:
    write_safetensors(tmp_path / "model-1.safetensors", [f"a{EVIL}"])
    index = tmp_path / "model.safetensors.index.json"
    for weight_map in (
        {f"a{EVIL}": "model-1.safetensors", EVIL: f"{EVIL}.safetensors"},
        {EVIL: EVIL},
        {EVIL: {EVIL: 1}},
        EVIL,
    ):
        index.write_text(json.dumps({"metadata": {EVIL: EVIL}, "weight_map": weight_map}))
        run("show", index)
        run("validate", index)
    index.unlink()
    (tmp_path / "model-1.safetensors").rename(tmp_path / "model.safetensors")
    for fields in (
        {"architectures": [EVIL], "model_type": EVIL},
        {"model_type": EVIL, "torch_dtype": EVIL, "quantization_config": {"quant_method": EVIL}},
        {EVIL: EVIL},
    ):
        (tmp_path / "config.json").write_text(json.dumps(fields))
        run("show", tmp_path)
        run("check", tmp_path, "--steps", 1)
    (tmp_path / "config.json").write_text(f'{{"{EVIL}')
    run("show", tmp_path)


MODEL = f"""
import sys, warnings
import torch
from torch import nn
EVIL = {EVIL!r}

class Odd(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Parameter(torch.zeros(2)), nn.Parameter(torch.zeros(2))
    def forward(self, x):
        print(EVIL); sys.stderr.write(EVIL); warnings.warn(EVIL)
        return x + self.a + self.b

def fine():
    model = Odd()
    model.register_buffer(EVIL.replace(".", ""), torch.zeros(2), persistent=False)
    setattr(model, "requires_grads" + EVIL, False)
    return model

def raises():
    raise ValueError(EVIL)

def named():
    raise type(EVIL, (Exception,), {{}})(EVIL)

class Raises(Odd):
    def forward(self, x):
        raise RuntimeError(EVIL)

def quits():
    sys.exit(EVIL)

def dies():
    import os
    print(EVIL, flush=True)
    os._exit(3)
"""


@pytest.mark.torch
@pytest.mark.parametrize("factory", ["fine", "raises", "named", "Raises", "quits", "dies"])
def test_model_code(tmp_path: Path, factory: str, request: pytest.FixtureRequest) -> None:
    own = factory in ("fine", "dies")  # what is printed in a process of its own, and the end of one
    request.getfixturevalue("forked" if own else "in_process")
    checkpoint = write_safetensors(tmp_path / "model.safetensors", ["a", "b"])
    (tmp_path / "code.py").write_text(MODEL)
    spec = f"{tmp_path / 'code.py'}:{factory}"
    run("plan", checkpoint, "--freeze", "a")
    run("check", checkpoint, "--architecture", spec, "--input", "2", "--device", "cpu", "--steps", 1)


@pytest.mark.torch
@pytest.mark.parametrize(("factory", "told"), [("named", "check:"), ("dies", "exit code 3")])
def test_model_code_in_the_tui(tmp_path: Path, factory: str, told: str) -> None:
    checkpoint = write_safetensors(tmp_path / "model.safetensors", ["a", "b"])
    (tmp_path / "code.py").write_text(MODEL)
    spec = f"{tmp_path / 'code.py'}:{factory}"
    terminal = Terminal(
        str(checkpoint), "--architecture", spec, "--input", "2", "--device", "cpu", columns=160, lines=40
    )
    terminal.wait_for("trainable")
    terminal.child.send("r")
    terminal.wait_for("raised" if factory == "named" else told, 60)
    terminal.child.close(force=True)
    text = terminal.written.decode(errors="ignore")  # closed in the middle of a character
    assert [mark for mark in MARKS if mark in text] == []
