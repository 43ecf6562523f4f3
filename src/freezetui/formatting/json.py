"""A document as JSON that is safe to show in a terminal."""

from __future__ import annotations

from typing import Any

import msgspec


def json_text(document: Any) -> str:
    """One line of JSON, all beyond ASCII escaped: names are foreign text, and may steer a terminal.

    A lone surrogate, which a pickle can hold, is escaped too.
    """
    try:
        text = msgspec.json.encode(document)
    except UnicodeEncodeError:
        text = b"\xff"
    if not text.isascii():
        import json

        text = json.dumps(msgspec.to_builtins(document), separators=(",", ":")).encode()
    return text.decode().replace("\x7f", "\\u007f")
