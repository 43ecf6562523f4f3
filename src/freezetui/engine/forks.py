"""Forks of the engine's process, each of which runs user code as a process of its own does."""

from __future__ import annotations

import faulthandler
import importlib
import importlib.machinery
import os
import pickle
import signal
import sys
import threading
import traceback
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

from freezetui.engine.lifeline import die_with_parent

T = TypeVar("T")

#: Import nothing of the user's.
_LIBRARIES = frozenset({"torchvision", "timm", "transformers"})


def can_fork() -> bool:
    """Whether a fork of this process is as good as a new one: threads and an open GPU would be missing in it.

    On macOS system libraries do not support a fork without exec.
    """
    if sys.platform != "linux" or not hasattr(os, "memfd_create") or threading.active_count() > 1:
        return False
    torch = sys.modules.get("torch")
    return torch is None or not torch.cuda.is_initialized()


def library_of(architecture: str) -> str:
    """Return the library that builds the model; "" if it is the user's, even one of the same name."""
    top = architecture.strip().partition(":")[0].partition(".")[0]
    if top not in _LIBRARIES or importlib.machinery.PathFinder.find_spec(top, [str(Path.cwd())]):
        return ""
    return top


def import_libraries(architecture: str) -> None:
    """Import what a check imports late: the library that builds the model, and what optimizers need."""
    source, _, name = architecture.strip().partition(":")
    with suppress(Exception):  # what is wrong with one is reported where it is used
        importlib.import_module("torch._dynamo")
        if library_of(architecture):
            module = importlib.import_module("torchvision.models" if source == "torchvision" else source)
            getattr(module, name, None)  # transformers imports a model's module on first use


def in_fork(task: Callable[[], T]) -> T:
    """Run a task in a fork, and return what it returns; where the fork ends early, end as it does.

    Args:
        task: returns plain data, which comes back through a file in memory.
    """
    parent = os.getpid()
    with os.fdopen(os.memfd_create("result"), "w+b") as file:
        child = os.fork()
        if child == 0:
            try:
                die_with_parent(parent)
                pickle.dump(task(), file)
                file.flush()
                os._exit(0)
            except BaseException:
                traceback.print_exc()
            finally:
                os._exit(1)
        _, status = os.waitpid(child, 0)
        if status == 0 and os.fstat(file.fileno()).st_size:  # the model's code may end the process with 0
            file.seek(0)
            result: T = pickle.load(file)
            return result
    _end_as(status)
    raise AssertionError("unreachable")


def _end_as(status: int) -> None:
    """End this process like one that has ended with this status; what that printed is in the log."""
    if os.WIFSIGNALED(status):
        faulthandler.disable()
        with suppress(OSError):  # SIGKILL has no handler
            signal.signal(os.WTERMSIG(status), signal.SIG_DFL)
        os.kill(os.getpid(), os.WTERMSIG(status))
    os._exit(os.WEXITSTATUS(status))
