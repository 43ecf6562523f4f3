"""Servers that send too much, too little, compressed, forever: one line, in bounded memory and time."""

from __future__ import annotations

import gzip
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

SIZE = 1 << 20
BLOCK = bytes(1 << 16)


@contextmanager
def serving(answer: Callable[[BaseHTTPRequestHandler], None]) -> Iterator[str]:
    """The URL of a server of which every answer is made by hand."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_HEAD(self) -> None:
            answer(self)

        def do_GET(self) -> None:
            answer(self)

        def log_message(self, *_: object) -> None:
            pass

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, *_: object) -> None:
            """Clients hang up."""

    server = Server(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


def head(request: BaseHTTPRequestHandler, status: int = 200, **headers: str) -> bool:
    """Send a status and headers; whether a body is to follow."""
    request.close_connection = True
    request.send_response(status)
    for name, value in headers.items():
        request.send_header(name.replace("_", "-"), value)
    request.end_headers()
    return request.command == "GET"


def partial(request: BaseHTTPRequestHandler, **headers: str) -> bool:
    """Answer HEAD with the size, and GET with a 206 without a length."""
    if request.command == "HEAD":
        return head(request, Content_Length=str(SIZE), Accept_Ranges="bytes")
    return head(request, 206, **headers)


def endless(request: BaseHTTPRequestHandler) -> None:
    if partial(request):
        for _ in range(4 << 16):  # 16 GB
            request.wfile.write(BLOCK)


def endless_whole_file(request: BaseHTTPRequestHandler) -> None:
    if request.command == "HEAD":
        head(request, Content_Length=str(SIZE))
    elif head(request, 200):
        for _ in range(4 << 16):
            request.wfile.write(BLOCK)


def packed(request: BaseHTTPRequestHandler) -> None:
    """Two megabytes that unpack to two gigabytes."""
    if partial(request, Content_Encoding="gzip"):
        request.wfile.write(PACKED)


PACKED = gzip.compress(bytes(1 << 26), 9) * 32


def huge_index(request: BaseHTTPRequestHandler) -> None:
    """Send an index of 20 GB, of spaces."""
    size = 20 << 30
    if request.command == "HEAD":
        head(request, Content_Length=str(size), Accept_Ranges="bytes")
    elif head(request, 206, Content_Range=f"bytes 0-{size - 1}/{size}"):
        request.wfile.write(b'{"weight_map": {')
        for _ in range(4 << 16):
            request.wfile.write(b" " * (1 << 16))


def dripping(request: BaseHTTPRequestHandler) -> None:
    if partial(request):
        for _ in range(10_000):
            request.wfile.write(b"P")
            time.sleep(0.02)


def broken_off(request: BaseHTTPRequestHandler) -> None:
    if partial(request, Content_Length="4096"):
        request.wfile.write(b"P" * 100)


def no_http(request: BaseHTTPRequestHandler) -> None:
    request.close_connection = True
    request.wfile.write(b"\x1b[31mnot HTTP at all\r\n\r\n" * 10)


def odd_length(request: BaseHTTPRequestHandler) -> None:
    head(request, Content_Length="-5")


def elsewhere(request: BaseHTTPRequestHandler) -> None:
    """Ranges that begin somewhere else than they were asked to."""
    if partial(request, Content_Range=f"bytes 999-5094/{SIZE}", Content_Length="4096"):
        request.wfile.write(b"PK\3\4" + bytes(4092))


def redirects(request: BaseHTTPRequestHandler) -> None:
    head(request, 302, Location=request.path, Content_Length="0")


CODE = """
import importlib, re, sys, time
from freezetui.checkpoint.open import open_checkpoint
from freezetui.errors import CheckpointError
import aiohttp, fsspec.implementations.http
remote = importlib.import_module("freezetui.checkpoint.sources.remote")
remote.PAUSE_SECONDS, remote.READ_SECONDS, remote.TOTAL_SECONDS = 0.01, 2, 3
peak = lambda: int(re.search(r'VmHWM:\\s+(\\d+)', open('/proc/self/status').read())[1])
before = peak()
try: print(len(open_checkpoint(sys.argv[1]).tensors), "opened")
except CheckpointError as error: print(error)
print(peak() - before)
"""


@pytest.mark.parametrize(
    "answer",
    [
        *(endless, endless_whole_file, packed, huge_index, dripping, broken_off),
        *(no_http, odd_length, elsewhere, redirects),
    ],
    ids=lambda answer: answer.__name__,
)
def test_a_server_that_means_ill(answer: Callable[[BaseHTTPRequestHandler], None]) -> None:
    name = "model.safetensors.index.json" if answer is huge_index else "model.pth"
    started = time.monotonic()
    with serving(answer) as url:
        done = subprocess.run(
            [sys.executable, "-c", CODE, f"{url}/{name}?token=secret"],
            capture_output=True,
            text=True,
            check=True,
        )
    message, kilobytes = done.stdout.splitlines()
    assert f"{url}/{name}" in message
    assert message.isprintable()
    assert "secret" not in message
    assert len(message) < 1000
    assert done.stderr == ""
    assert int(kilobytes) < 100_000
    assert time.monotonic() - started < 30
