"""Checks a file's byte order against this machine's."""

from __future__ import annotations

import sys

from freezetui.errors import CheckpointError


def check_byte_order(little: bool, source: str) -> None:
    """Refuse a file that was written on a machine of the other byte order.

    Raises:
        CheckpointError: the byte orders differ.
    """
    if little != (sys.byteorder == "little"):
        order = "little" if little else "big"
        raise CheckpointError(
            f"{source} was written on a {order}-endian machine; this one is {sys.byteorder}-endian.",
            "Convert it to safetensors on that machine.",
        )
