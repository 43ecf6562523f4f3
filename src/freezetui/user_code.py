"""Runs user code and formats its errors as one line with a location. Does not import torch."""

from __future__ import annotations

import site
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType

from freezetui.errors import FreezeTuiError, ModelError
from freezetui.text import plain_lines

_OURS = str(Path(__file__).resolve().parent)
_INSTALLED = (
    *site.getsitepackages(),
    site.getusersitepackages(),
    str(Path(site.__file__).parent),
    _OURS,
    "<",
)


def one_line(error: BaseException, most: int = 300) -> str:
    """Return the type and the text of an exception, without a full stop."""
    text = " ".join(" ".join(plain_lines(str(error))).split()).rstrip(".")
    return f"{type(error).__name__}: {text[:most]}" if text else type(error).__name__


def where_raised(error: BaseException) -> str:
    """Return the user's own line if the traceback has one, else the innermost; "" for a line of freezetui."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if not frame.filename.startswith(_INSTALLED)]
    if not own and (not frames or frames[-1].filename.startswith(_OURS)):
        return ""
    frame = (own or frames)[-1]
    return f"Raised at {frame.filename}, line {frame.lineno}, in {frame.name}."


def log_traceback(error: BaseException) -> None:
    """Print the traceback to stderr, from the first line that is not part of freezetui."""
    trace: TracebackType | None = error.__traceback__
    while trace is not None and trace.tb_frame.f_code.co_filename.startswith(_OURS):
        trace = trace.tb_next
    traceback.print_exception(type(error), error, trace)


@contextmanager
def user_code(what: str, lets_pass: Callable[[BaseException], bool] = lambda error: False) -> Iterator[None]:
    """Run the user's or a library's code; turn its exceptions into one line, print the traceback to stderr.

    Args:
        what: what runs, for display, e.g. "The model's own forward".
        lets_pass: whether the caller handles an error itself.

    Raises:
        ModelError: it raised.
    """
    try:
        yield
    except FreezeTuiError:
        raise
    except (Exception, SystemExit) as error:
        if lets_pass(error):
            raise
        log_traceback(error)
        raise ModelError(f"{what} raised {one_line(error)}.", where_raised(error)) from error
