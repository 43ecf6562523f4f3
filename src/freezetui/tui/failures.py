"""Describes an unexpected error in the TUI: what was being done, and why it failed."""

from __future__ import annotations

from collections.abc import Iterable

from textual.binding import Binding
from textual.worker import NoActiveWorker, WorkerFailed, get_current_worker

from freezetui.errors import FreezeTuiError, from_os_error


def original(error: BaseException) -> BaseException:
    """Return the error that a worker ended with, or else `error` itself."""
    return error.error if isinstance(error, WorkerFailed) else error


def current_work(otherwise: str) -> str:
    """Return the name of the worker that runs now, if any."""
    try:
        return get_current_worker().name or otherwise
    except NoActiveWorker:
        return otherwise


def described(what: str, bindings: Iterable[Binding]) -> str:
    """Return what an action does if `what` is the action or the name of its worker, for display."""
    action = what.removeprefix("app.").removeprefix("action_")
    for binding in bindings:
        if binding.action == action and binding.tooltip:
            return binding.tooltip[:1].lower() + binding.tooltip[1:]
    return what


def reason(error: BaseException) -> str:
    """Return why, in one line: an error that the user can act on says it itself."""
    if isinstance(error, OSError):
        return str(from_os_error(error))
    if isinstance(error, FreezeTuiError):
        return str(error)
    from freezetui.user_code import one_line  # looks through the site packages

    return f"{one_line(error)}."
