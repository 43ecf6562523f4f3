"""A backend of fsspec other than HTTP that returns too much, forever, or nonsense: one line, limits."""

from __future__ import annotations

import subprocess
import sys
import time

import pytest

CODE = """
import importlib, re, sys, time
import fsspec
from fsspec.implementations.memory import MemoryFileSystem
from freezetui.checkpoint.open import open_checkpoint
from freezetui.checkpoint.sources import bounded
from freezetui.errors import CheckpointError
remote = importlib.import_module("freezetui.checkpoint.sources.remote")
remote.PAUSE_SECONDS, remote.TOTAL_SECONDS = 0.01, 2
bounded._BASE_BYTES = 100 << 20
HEADER = b'{"w": {"dtype": "U8", "shape": [2], "data_offsets": [0, 2]}}'
GOOD = len(HEADER).to_bytes(8, "little") + HEADER + bytes(2)

class File:
    def __init__(self, read): self.at, self.take = 0, read
    def __enter__(self): return self
    def __exit__(self, *_): pass
    def seek(self, offset): self.at = offset
    def read(self, size): return self.take(self.at, size)

def hoard(at, size):
    kept = []
    for _ in range(4000):
        kept.append(bytearray(b"x") * (1 << 20))
        time.sleep(0.002)
    return b"".join(kept)

def late(*_): time.sleep(60)
def endless():
    while True: yield {"name": "/d/x\\x1b[31m", "type": "file", "size": 1}

class Hostile(MemoryFileSystem):
    protocol = "hostile"
    store, pseudo_dirs = {}, [""]
    info_of = {"type": "file", "size": 1 << 20}
    take, listing = staticmethod(lambda at, size: GOOD[at : at + size]), ()
    def info(self, path, **_): return self.info_of() if callable(self.info_of) else self.info_of
    def ls(self, path, detail=True, **_): return self.listing
    def _open(self, path, *_, **__): return File(self.take)

kind = sys.argv[1]
directory = {"type": "directory", "size": 0}
for name, value in {
    "good": {"info_of": {"type": "file", "size": len(GOOD)}},
    "more than was asked for": {"take": staticmethod(lambda at, size: bytes(size + 1))},
    "less than was asked for": {"take": staticmethod(lambda at, size: b"P")},
    "memory without end": {"take": staticmethod(hoard)},
    "a read without end": {"take": staticmethod(late)},
    "a status without end": {"info_of": staticmethod(late)},
    "text for a size": {"info_of": {"type": "file", "size": "9" * 5000}},
    "a negative size": {"info_of": {"type": "file", "size": -5}},
    "an infinite size": {"info_of": {"type": "file", "size": float("inf")}},
    "a status that is none": {"info_of": "nothing\\x1b[31m"},
    "a listing without end": {"info_of": directory, "listing": endless()},
    "no listing": {"info_of": directory, "listing": None},
    "a listing of nonsense": {"info_of": directory, "listing": [1, {}, {"name": 2, "type": "file"}]},
    "an error with escapes": {"take": staticmethod(lambda *_: 1 / 0)},
}[kind].items():
    setattr(Hostile, name, value)
fsspec.register_implementation("hostile", Hostile)
peak = lambda: int(re.search(r'VmHWM:\\s+(\\d+)', open('/proc/self/status').read())[1])
before = peak()
try: print(len(open_checkpoint("hostile://host/d/model.safetensors").tensors), "opened")
except CheckpointError as error: print(error)
print(peak() - before)
"""

SAID = {
    "good": "1 opened",
    "more than was asked for": "the server sent more than was requested",
    "less than was asked for": "the file is shorter than the server said",
    "memory without end": "the server sent more than was requested",
    "a read without end": "timed out after 2 s",
    "a status without end": "timed out after 2 s",
    "text for a size": "without range-request support",
    "a negative size": "without range-request support",
    "an infinite size": "without range-request support",
    "a status that is none": "without range-request support",
    "a listing without end": "contains no checkpoint",
    "no listing": "cannot be read",
    "a listing of nonsense": "contains no checkpoint",
    "an error with escapes": "cannot be read: division by zero",
}


@pytest.mark.parametrize("kind", SAID)
def test_a_backend_that_means_ill(kind: str) -> None:
    started = time.monotonic()
    done = subprocess.run([sys.executable, "-c", CODE, kind], capture_output=True, text=True, check=True)
    message, kilobytes = done.stdout.splitlines()
    assert SAID[kind] in message
    assert kind == "good" or "hostile://host/d/model.safetensors" in message
    assert message.isprintable()
    assert done.stderr == ""
    assert int(kilobytes) < 300_000
    assert time.monotonic() - started < 40
