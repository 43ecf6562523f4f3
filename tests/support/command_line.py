"""Runs a command of the program in this process, which spares the start of another Python."""

from __future__ import annotations

import contextlib
import gc
import io
import os
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

from freezetui.cli import main as cli


class Done(NamedTuple):
    """How a command ended, under the names that `subprocess.CompletedProcess` has."""

    returncode: int
    stdout: str
    stderr: str


def run(*arguments: object, cwd: Path | None = None, **environment: str) -> Done:
    """Run `freezetui` with these arguments, as if without a terminal."""
    written = io.BytesIO(), io.BytesIO()
    out, err = (io.TextIOWrapper(each, "utf-8", newline="", write_through=True) for each in written)
    with pytest.MonkeyPatch.context() as patch, Path(os.devnull).open() as nothing:
        patch.setattr(sys, "argv", ["freezetui", *map(str, arguments)])
        patch.setattr(sys, "stdin", nothing)
        for name, value in environment.items():
            patch.setenv(name, value)
        if cwd is not None:
            patch.chdir(cwd)
        streams = contextlib.redirect_stdout(out), contextlib.redirect_stderr(err)
        with streams[0], streams[1], pytest.raises(SystemExit) as ended:
            cli.run()
    gc.enable()
    gc.unfreeze()
    return Done(int(ended.value.code or 0), *(each.getvalue().decode() for each in written))
