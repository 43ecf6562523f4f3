"""Detects the format of a file by its first bytes, never by its extension."""

from __future__ import annotations

from typing import Literal

#: The number 0x1950a86a20f9469cfc6c, the first pickle of a file written by torch before 1.6.
_LEGACY_MAGIC = b"\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."

#: The file that describes a checkpoint of torch.distributed.checkpoint, which is a directory.
METADATA = ".metadata"


def container(head: bytes) -> Literal["zip", "legacy", "pickle", "safetensors", "gguf", ""]:
    """Return the format that starts with these bytes; "" if none does."""
    # The length of a safetensors header, which may look like the start of a pickle (640 bytes) or of a zip.
    if head[4:9] == b"\0\0\0\0{":
        return "safetensors"
    if head.startswith(b"PK\x03\x04"):
        return "zip"
    if head[:1] == b"\x80" and _LEGACY_MAGIC in head[:32]:
        return "legacy"
    if head[:1] == b"\x80" and head[1:2] in (b"\2", b"\3", b"\4", b"\5"):
        return "pickle"
    if head.startswith(b"GGUF"):
        return "gguf"
    # A length in 64 bits, then JSON. JSON text may have a brace there too, but no zeros.
    if head[8:9] == b"{" and not head[:8].decode("latin-1").isprintable():
        return "safetensors"
    return ""


def is_index(head: bytes, name: str) -> bool:
    """Whether a file with these first bytes and this name is the index of a sharded checkpoint."""
    is_json = head.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"{")
    return is_json and (b'"weight_map"' in head or name.endswith(".index.json"))
