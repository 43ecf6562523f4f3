"""Processes of the engine and the describer that start with torch imported: forks of the tests' own process.

Each loads freezetui anew by the command that the client runs, with the pipes, the session and the environment
that the client gives it; only the import of torch is spared, 4 s of processor time. It is for tests of
how a process ends; tests/sanity and tests/description also start new Python processes.
"""

from __future__ import annotations

import faulthandler
import gc
import io
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from types import SimpleNamespace
from typing import Any


def can_fork() -> bool:
    """Whether a fork can train: with a GPU, torch's threads would be missing in it."""
    import torch

    return sys.platform == "linux" and not torch.cuda.is_available()


def popen(
    command: Sequence[str], env: Mapping[str, str] = os.environ, **options: Any
) -> subprocess.Popen[Any]:
    """Stand in for `subprocess.Popen`: what is not this Python with `-c` is started as always."""
    if command[:2] == [sys.executable, "-c"]:
        options["preexec_fn"] = lambda: _run(command, env)  # which never returns, so that nothing is executed
    return subprocess.Popen(command, env=env, **options)


#: Takes the place of the module in a client.
SUBPROCESS = SimpleNamespace(**{**vars(subprocess), "Popen": popen if can_fork() else subprocess.Popen})


def _run(command: Sequence[str], environment: Mapping[str, str]) -> None:
    """Do what `python -c` does, in the child."""
    try:
        os.closerange(3, 4096)  # also the pipe whose end tells `subprocess` that the child is executed
        os.environ.clear()
        os.environ.update(environment)
        sys.stdin = os.fdopen(0, closefd=False)
        raw = (os.fdopen(fd, "wb", 0, closefd=False) for fd in (1, 2))
        sys.stdout, sys.stderr = (io.TextIOWrapper(file, write_through=True) for file in raw)
        faulthandler.enable(sys.stderr)
        gc.enable()
        for name in [name for name in sys.modules if name.partition(".")[0] == "freezetui"]:
            del sys.modules[name]
        sys.argv = ["-c", *command[3:]]
        exec(command[2], {"__name__": "__main__"})
        os._exit(0)
    finally:
        os._exit(1)
