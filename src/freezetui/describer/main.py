"""The describer's process: answers requests from stdin with JSON lines until it is idle or its UI is gone."""

from __future__ import annotations

import ctypes
import os
import queue
import signal
import sys
import threading
from collections.abc import Callable

from freezetui.describer.limits import be_modest
from freezetui.description.protocol import Answer, Described, Failed, Working, decode_request
from freezetui.errors import FreezeTuiError
from freezetui.json_lines import encode
from freezetui.user_code import one_line

_PR_SET_PDEATHSIG = 1


def main() -> None:
    """Answer requests, one line each; the argument says after how many idle seconds to end."""
    _end_with_parent()
    be_modest()
    answers = os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)  # what a library prints
    requests: queue.SimpleQueue[bytes] = queue.SimpleQueue()
    lifeline, empty = os.dup(0), os.open(os.devnull, os.O_RDONLY)
    os.dup2(empty, 0)
    threading.Thread(target=_receive, args=(lifeline, requests), daemon=True).start()
    idle = float(sys.argv[1])
    while True:
        try:
            line = requests.get(timeout=idle)
        except queue.Empty:
            os._exit(0)
        answers.write(encode(_answer(line, lambda phase: answers.write(encode(Working(phase))))))


def _answer(line: bytes, progress: Callable[[str], object]) -> Answer:
    try:
        progress("import")
        from freezetui.describer.describe import describe  # imports torch

        return Described(describe(decode_request(line), progress))
    except FreezeTuiError as error:
        return Failed(error.message, error.hint)
    except MemoryError:
        return Failed("The model takes more than 2 GiB to build without weights.")
    except Exception as error:  # a library may raise anything
        if "allocate memory" in str(error):
            return Failed("The model takes more than 2 GiB to build without weights.")
        return Failed(f"The model could not be described: {one_line(error)}.")


def _receive(lifeline: int, requests: queue.SimpleQueue[bytes]) -> None:
    """Pass on requests until the UI has closed its end of stdin, for any reason; then end everything."""
    rest = b""
    while data := os.read(lifeline, 1 << 20):
        *lines, rest = (rest + data).split(b"\n")
        for line in lines:
            requests.put(line)
    if os.getpgrp() == os.getpid():
        os.killpg(os.getpid(), signal.SIGKILL)
    os._exit(1)


def _end_with_parent() -> None:
    """Have the kernel end this process with its parent, even while a library's C code runs."""
    if sys.platform != "linux":
        return
    parent = os.getppid()
    try:
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    except (OSError, AttributeError):
        return
    if os.getppid() != parent:  # it ended before the call
        os._exit(1)
