"""Recognizes URLs, and shows them without secrets."""

from __future__ import annotations

import re
from pathlib import Path

from freezetui.text import printable

_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")


def is_url(source: str) -> bool:
    """Whether a source is a URL, not a path."""
    return _URL.match(source) is not None


def shown_url(url: str) -> str:
    """Return a URL for display: printable, without user, password and query, which may contain secrets."""
    from urllib.parse import urlsplit, urlunsplit

    try:
        parts = urlsplit(url)
    except ValueError:
        return printable(url)
    # In hf://organization/model@revision, the part before @ is not a user.
    host = parts.netloc if parts.scheme == "hf" else parts.netloc.rpartition("@")[2]
    return printable(urlunsplit((parts.scheme, host, parts.path, "", "")))


def shown_source(source: str) -> str:
    """Return a path or a URL for display."""
    return shown_url(source) if is_url(source) else printable(source)


def name_of(source: str | Path) -> str:
    """Return the last segment of a path or URL: the name of the file or directory."""
    if is_url(str(source)):
        from urllib.parse import unquote, urlsplit

        parts = urlsplit(str(source))
        segment = (parts.path.rstrip("/") or parts.netloc).rpartition("/")[2]
        return unquote(segment).partition("@")[0] or parts.netloc
    path = Path(source)
    return path.name if path.name not in ("", "..") else path.resolve().name
