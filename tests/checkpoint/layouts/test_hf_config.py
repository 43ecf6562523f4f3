"""What config.json says; and hf:// through huggingface_hub itself, against a server on loopback."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from freezetui.checkpoint.open import open_checkpoint
from freezetui.model_spec import ModelSpec

_COMMIT = "b" * 40


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[tuple[str, list[str]]]:
    """The address, and a line for each request; organization/model holds the files of tmp_path."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            asked.append(f"{self.path} {self.headers.get('Range', '')}".strip())
            path = self.path.partition("?")[0]
            if path.startswith("/api/models/organization/model/tree/"):
                entries = [self._entry(file) for file in sorted(tmp_path.iterdir())]
                self._answer(200, json.dumps(entries).encode())
            elif path.startswith("/api/models/organization/model"):
                model = {"id": "organization/model", "_id": "1", "sha": _COMMIT}
                self._answer(200, json.dumps(model).encode())
            elif "/resolve/" in path and (tmp_path / path.rpartition("/")[2]).is_file():
                data = (tmp_path / path.rpartition("/")[2]).read_bytes()
                low, high = self.headers["Range"].removeprefix("bytes=").split("-")
                self._answer(206, data[int(low) : int(high) + 1])
            else:
                self._answer(404, b"{}")

        def _entry(self, file: Path) -> dict[str, object]:
            return {"type": "file", "path": file.name, "size": file.stat().st_size, "oid": "a" * 40}

        def _answer(self, status: int, body: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}", asked
    server.shutdown()
    server.server_close()


def opened(endpoint: str, source: str) -> str:
    code = (
        "import sys; from freezetui.checkpoint.open import *; from freezetui.errors import *\n"
        "try: c = open_checkpoint(sys.argv[1])\n"
        "except CheckpointError as error: print(error)\n"
        "else: print(len(c.tensors), c.format, c.model.architecture, c.size)"
    )
    environment = {**os.environ, "HF_ENDPOINT": endpoint, "HF_HUB_DISABLE_TELEMETRY": "1"}
    done = subprocess.run(
        [sys.executable, "-c", code, source], capture_output=True, text=True, env=environment, timeout=60
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_a_model_on_the_hub_costs_its_headers(tmp_path: Path, hub: tuple[str, list[str]]) -> None:
    where = {}
    for shard in (1, 2):
        names = [f"model.layers.{2 * shard + i}.weight" for i in range(2)]
        save_file({name: torch.zeros(1000, 100) for name in names}, tmp_path / f"model-{shard}.safetensors")
        where |= dict.fromkeys(names, f"model-{shard}.safetensors")
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps({"weight_map": where}))
    (tmp_path / "config.json").write_text('{"architectures": ["LlamaForCausalLM"]}')
    endpoint, asked = hub
    size = sum(path.stat().st_size for path in tmp_path.glob("*.safetensors"))
    expected = f"4 safetensors in 2 shards transformers:LlamaForCausalLM {size}"
    assert opened(endpoint, "hf://organization/model") == expected
    ranges = [line.partition("bytes=")[2] for line in asked if "/resolve/" in line]
    assert ranges
    assert all(int(high) - int(low) < 4096 for low, high in (each.split("-") for each in ranges))
    assert opened(endpoint, "hf://organization/model@main/model-1.safetensors").startswith("2 safetensors ")
    assert "does not exist" in opened(endpoint, "hf://organization/other")


def told(folder: Path, config: dict[str, object]) -> ModelSpec:
    save_file({"a.weight": torch.zeros(1)}, folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps(config))
    return open_checkpoint(str(folder)).model


def test_timms_config_is_read_whole(tmp_path: Path) -> None:
    config = {
        "architecture": "vit_tiny_patch16_224.augreg",
        "num_classes": 5,
        "model_args": {"img_size": 96, "in_chans": 1, "depths": [1, 2], "global_pool": "avg"},
        "pretrained_cfg": {"input_size": [3, 224, 224], "num_classes": 1000},
    }
    arguments = {"model_name": "vit_tiny_patch16_224.augreg", "num_classes": 5, **config["model_args"]}
    assert told(tmp_path, config) == ModelSpec("timm:create_model", arguments, (1, 224, 224))
    older = {"architecture": "resnet18", "num_classes": 5, "input_size": [1, 28, 28]}
    arguments = {"model_name": "resnet18", "in_chans": 1, "num_classes": 5}
    assert told(tmp_path, older) == ModelSpec("timm:create_model", arguments, (1, 28, 28))


def test_timms_config_names_no_file_and_no_other_model(tmp_path: Path) -> None:
    config = {
        "architecture": "resnet18",
        "model_args": {
            "pretrained": True,
            "checkpoint_path": "/etc/passwd",
            "model_name": "hf-hub:evil/model",
            "pretrained_cfg": {"url": "http://evil"},
            "cache_dir": "/x",
            "a b": 1,
            "act_layer": ["x"],
            "drop_rate": 0.5,
        },
        "pretrained_cfg": {"input_size": [3, -1, 2**40]},
    }
    assert told(tmp_path, config) == ModelSpec(
        "timm:create_model", {"model_name": "resnet18", "drop_rate": 0.5}
    )
    for odd in ([], "x", 3, None):
        arguments = {"model_name": "resnet18"}
        wrong = {"architecture": "resnet18", "model_args": odd, "pretrained_cfg": odd}
        assert told(tmp_path, wrong) == ModelSpec("timm:create_model", arguments)
