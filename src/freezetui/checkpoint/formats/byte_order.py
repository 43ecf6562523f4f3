"""Byte order of a file against that of this machine."""

from __future__ import annotations

import sys

from freezetui.errors import CheckpointError


def check_byte_order(little: bool, source: str) -> None:
    """Refuse a file written on a machine of the other byte order.

    Raises:
        CheckpointError: it was.
    """
    if little != (sys.byteorder == "little"):
        order = "little" if little else "big"
        raise CheckpointError(
            f"{source} was written on a {order}-endian machine; this one is {sys.byteorder}-endian.",
            "Load it there and save it as safetensors.",
        )
