"""Describes what a file that is not a checkpoint looks like, and what to do about it."""

from __future__ import annotations

_SAVE_AGAIN = "Pass a file written by torch.save or safetensors."

#: First bytes, what they mean, what to do.
_KNOWN: tuple[tuple[bytes, str, str], ...] = (
    (
        b"version https://git-lfs",
        "is a git-lfs pointer, not the file itself",
        "Run `git lfs pull` in its repository.",
    ),
    (b"PK\x05\x06", "is an empty zip archive", _SAVE_AGAIN),
    (b"\x1f\x8b", "is compressed with gzip", "Unpack it first: gunzip."),
    (b"\x28\xb5\x2f\xfd", "is compressed with zstd", "Unpack it first: unzstd."),
    (b"BZh", "is compressed with bzip2", "Unpack it first: bunzip2."),
    (b"\xfd7zXZ", "is compressed with xz", "Unpack it first: unxz."),
    (b"7z\xbc\xaf", "is a 7-Zip archive", "Unpack it first."),
    (b"Rar!", "is a RAR archive", "Unpack it first."),
    (b"\x89HDF", "is an HDF5 file, probably from Keras", "Convert it to a PyTorch state_dict first."),
    (b"\x93NUMPY", "is a NumPy array", _SAVE_AGAIN),
    (b"%PDF", "is a PDF", _SAVE_AGAIN),
    (b"\x89PNG", "is an image", _SAVE_AGAIN),
    (b"\x7fELF", "is an executable", _SAVE_AGAIN),
    (b"Salted__", "is encrypted", "Decrypt it first."),
)


def describe_unsupported(head: bytes) -> tuple[str, str]:
    """Return what a file with these first bytes looks like ("is a web page"), and what to do."""
    for start, what, hint in _KNOWN:
        if head.startswith(start):
            return what, hint
    text = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if text.startswith((b"<!doctype", b"<html", b"<?xml")):
        return "is a web page", "The link leads to a page, not to the file; use the download link."
    if text.startswith((b"{", b"[")):
        return "is JSON text", _SAVE_AGAIN
    if head[257:262] == b"ustar":
        return (
            "is a tar archive",
            "Unpack it first; a checkpoint from torch 0.1.1 must be re-saved with a newer torch.",
        )
    if head[4:8] == b"TFL3":
        return "is a TensorFlow Lite model", "Convert it to a PyTorch state_dict first."
    if head[:1] == b"\x08" and (
        b"pytorch" in head or b"onnx" in head.lower() or head[2:3] in (b"\x12", b"\x3a")
    ):
        return "is an ONNX model", "Open the PyTorch checkpoint that it was exported from."
    if len(head) >= 8 and not any(head[8:64]):
        return "starts with nothing but zeros", "The download or copy failed; get the file again."
    if text and all(byte in b"\t\r\n" or 32 <= byte < 127 for byte in text[:256]):
        return "is a text file", _SAVE_AGAIN
    return (
        "is not a checkpoint in a supported format",
        "Pass a file written by torch.save or safetensors, or a GGUF file.",
    )
