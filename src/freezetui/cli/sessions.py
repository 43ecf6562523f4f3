"""Opens a session as the options of a command say."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from freezetui.cli.progress import progress_line

if TYPE_CHECKING:
    from freezetui.session.options import Options
    from freezetui.session.session import Session


def session_options(
    paths: tuple[str, ...],
    architecture: str = "",
    arguments: dict[str, Any] | None = None,
    input: tuple[int, ...] = (),
    **options: Any,
) -> Options:
    """Return the options of a session from those of a command."""
    from freezetui.model_spec import ModelSpec
    from freezetui.session.options import Options

    model = ModelSpec(architecture, arguments or {}, input)
    return Options(source=paths[0], more=paths[1:], model=model, **options)


def open_session(options: Options) -> Session:
    """Open a session and show the progress.

    Raises:
        FreezeTuiError: the checkpoint or its config cannot be read.
    """
    from freezetui.session.as_opened import read
    from freezetui.session.session import Session

    with progress_line() as progress:
        session = Session(options, read(options, progress))
    if session.saved.problem is not None:
        raise session.saved.problem
    return session
