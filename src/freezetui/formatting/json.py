"""Formats a document as JSON that is safe to show in a terminal."""

from __future__ import annotations

from typing import Any

import msgspec


def json_text(document: Any) -> str:
    """Return one line of JSON in ASCII: names are untrusted text, and may contain control characters.

    A lone surrogate, which a pickle can contain, is escaped too.
    """
    try:
        text = msgspec.json.encode(document)
    except UnicodeEncodeError:
        text = b"\xff"
    if not text.isascii():
        import json

        text = json.dumps(msgspec.to_builtins(document), separators=(",", ":")).encode()
    return text.decode().replace("\x7f", "\\u007f")
