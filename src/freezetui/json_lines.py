"""How processes of freezetui talk to each other: structs as lines of JSON."""

from __future__ import annotations

import msgspec

_ENCODER = msgspec.json.Encoder()


def encode(message: msgspec.Struct) -> bytes:
    """Encode a message as one line.

    Raises:
        UnicodeEncodeError: a name is not valid UTF-8.
    """
    return _ENCODER.encode(message) + b"\n"
