"""All user-facing errors: one clear line, and what to do about it."""

from __future__ import annotations


class FreezeTuiError(Exception):
    """An error that the user can act on.

    Args:
        message: what is wrong, in one line, naming the file or the name concerned.
        hint: what to do about it, in one line; may be empty.

    The command line prints both and exits with code 2; the TUI shows them as a notice.
    """

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message} {self.hint}".rstrip()


def from_os_error(error: OSError) -> FreezeTuiError:
    """Return an OSError as a one-line error."""
    return FreezeTuiError(f"{error.filename or 'Reading'}: {error.strerror or error}.")


#: What to do about a truncated file.
DOWNLOAD_AGAIN = "The download or copy is incomplete; download it again."


class CheckpointError(FreezeTuiError):
    """A file that cannot be read as a checkpoint."""


class TruncatedError(CheckpointError):
    """A file that ends before its data does."""


class MissingFileError(CheckpointError):
    """A file that does not exist."""


class NoCheckpointError(CheckpointError):
    """A directory without a checkpoint."""


class NetworkError(FreezeTuiError):
    """A file behind a URL whose bytes cannot be fetched; ends what is being read, not one tensor alone."""


class PatternError(FreezeTuiError):
    """A pattern that is malformed, or that matches no parameter."""


class ConfigError(FreezeTuiError):
    """A freeze config that cannot be read, or that does not fit the model."""


class ModelError(FreezeTuiError):
    """An architecture that cannot be found, built or filled with the checkpoint's weights."""


class EngineError(FreezeTuiError):
    """The engine process ended without a report."""
