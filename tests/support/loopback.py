"""A real HTTP server on loopback that counts what it sends, and misbehaves when told to."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit


class Served:
    """What a server does and did.

    Attributes:
        url: of the folder; ends without a slash.
        sent: bytes of all bodies. requests: "GET /path" and the like, in order.
        ranges: whether it honors Range. status: if not 0, what it answers to all.
        failures: so many requests get a 503 or, where `breaks` is set, a body that breaks off.
        delay: seconds before each answer. tag: the ETag of all files, if not empty.
    """

    def __init__(self, folder: Path) -> None:
        self.folder, self.url = folder, ""
        self.sent, self.requests = 0, list[str]()
        self.ranges, self.status, self.failures, self.breaks, self.delay = True, 0, 0, False, 0.0
        self.tag = ""
        self.lock = threading.Lock()


@contextmanager
def served(folder: Path) -> Iterator[Served]:
    """The files of a folder, on a free port."""
    state = Served(folder)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_HEAD(self) -> None:
            self._answer(body=False)

        def do_GET(self) -> None:
            self._answer(body=True)

        def log_message(self, *_: object) -> None:
            pass

        def _answer(self, body: bool) -> None:
            time.sleep(state.delay)
            path = folder / unquote(urlsplit(self.path).path).lstrip("/")
            with state.lock:
                state.requests.append(f"{self.command} {self.path}")
                failing = state.failures > 0 and body
                state.failures -= failing
            status = state.status or (503 if failing and not state.breaks else 0 if path.is_file() else 404)
            if status:
                self.send_response(status)
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            size = path.stat().st_size
            asked = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range", ""))
            start, stop = 0, size
            if asked and state.ranges:
                start, stop = int(asked[1]), min(int(asked[2]) + 1, size)
                self.send_response(206)
                self.send_header("Content-Range", f"bytes {start}-{stop - 1}/{size}")
            else:
                self.send_response(200)
            self.send_header("Content-Length", str(stop - start))
            if state.tag:
                self.send_header("ETag", state.tag)
            self.end_headers()
            if body:
                self._send(path, start, stop, failing)

        def _send(self, path: Path, start: int, stop: int, failing: bool) -> None:
            with path.open("rb") as file:
                file.seek(start)
                data = file.read((stop - start) // (2 if failing else 1))
            try:
                self.wfile.write(data)
            except ConnectionError:
                return
            with state.lock:
                state.sent += len(data)
            self.close_connection = failing

    class Server(ThreadingHTTPServer):
        def handle_error(self, *_: object) -> None:
            """Clients that hang up are part of the tests."""

    server = Server(("127.0.0.1", 0), Handler)
    state.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield state
    finally:
        server.shutdown()
        server.server_close()
