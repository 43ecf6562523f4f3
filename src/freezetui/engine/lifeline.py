"""Ends the engine with the UI that started it, whatever the model's code is doing.

On Linux the kernel kills the engine as its parent ends. Elsewhere, and for what the model's code has started,
a process of its own waits for the UI: a thread could not, since the model's code may hold the GIL for good.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1


def die_with_parent(parent: int) -> None:
    """Let the kernel kill this process as soon as the thread that started it ends; exit if it has ended.

    Args:
        parent: the process id of the UI.
    """
    if sys.platform == "linux":
        with contextlib.suppress(OSError, AttributeError):  # a C library without prctl
            ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:  # it ended before the call above
        os._exit(1)


def end_group_with(lifeline: int) -> None:
    """Start a process that kills this process group as soon as the other end of a pipe is closed.

    Must be called while this process has a single thread. What is started is not a child of this process, so
    that the model's code does not meet it when it waits for its own children.

    Args:
        lifeline: the end of the pipe that can be read.
    """
    child = os.fork()
    if child:
        os.waitpid(child, 0)
        return
    try:
        if os.fork() == 0:
            _wait_and_kill(lifeline)
    finally:
        os._exit(0)


def _wait_and_kill(lifeline: int) -> None:
    os.dup2(lifeline, 0)
    os.closerange(1, 1024)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    while os.read(0, 4096):
        pass
    if os.getpgrp() == os.getsid(0):  # the engine leads a session of its own
        os.killpg(0, signal.SIGKILL)
