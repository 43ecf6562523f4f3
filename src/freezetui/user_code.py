"""Code that is not ours: what it printed or raised, made fit for one line that says where. Knows no torch."""

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
    """The type and the text of an exception, without a full stop."""
    text = " ".join(" ".join(plain_lines(str(error))).split()).rstrip(".")
    return f"{type(error).__name__}: {text[:most]}" if text else type(error).__name__


def where_raised(error: BaseException) -> str:
    """The person's own line where they have one in the traceback, else the innermost; "" for one of ours."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if not frame.filename.startswith(_INSTALLED)]
    if not own and (not frames or frames[-1].filename.startswith(_OURS)):
        return ""
    frame = (own or frames)[-1]
    return f"Raised at {frame.filename}, line {frame.lineno}, in {frame.name}."


def log_traceback(error: BaseException) -> None:
    """Print to stderr how the error came about, from the first line on that is not ours."""
    trace: TracebackType | None = error.__traceback__
    while trace is not None and trace.tb_frame.f_code.co_filename.startswith(_OURS):
        trace = trace.tb_next
    traceback.print_exception(type(error), error, trace)


@contextmanager
def user_code(what: str, lets_pass: Callable[[BaseException], bool] = lambda error: False) -> Iterator[None]:
    """Run a person's or a library's code; what it raises becomes one line, its traceback goes to stderr.

    Args:
        what: runs, for people, e.g. "The model's own forward".
        lets_pass: errors that somebody else handles.

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
