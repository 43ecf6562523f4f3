"""Checkpoint sources: local paths and URLs."""

from __future__ import annotations

from pathlib import Path

from freezetui.checkpoint.sources.base import Source
from freezetui.checkpoint.sources.local import LocalSource
from freezetui.checkpoint.sources.urls import is_url
from freezetui.errors import CheckpointError


def source_of(source: str | Path) -> Source:
    """Return the source at a path or a URL.

    Raises:
        CheckpointError: an empty path, a URL with an unknown scheme, or one whose backend is not installed.
    """
    text = str(source)
    if not text.strip():
        raise CheckpointError("The path is empty.", "Pass a checkpoint file, directory or URL.")
    if not is_url(text):
        return LocalSource(text)
    if text.lower().startswith("file://"):
        from urllib.parse import unquote, urlparse

        return LocalSource(unquote(urlparse(text).path))
    from freezetui.checkpoint.sources.remote import remote_source

    return remote_source(text)
