"""Chooses the device that a check runs on."""

from __future__ import annotations

import torch

from freezetui.errors import EngineError

_OUT_OF_MEMORY = ("out of memory", "can't allocate memory", "not enough memory")


def choose_device(text: str) -> torch.device:
    """Return the device that the user chose; "auto" is the first of cuda, mps and cpu that is available.

    Raises:
        EngineError: it is not available.
    """
    cuda, mps = torch.cuda.is_available(), torch.backends.mps.is_available()
    if text == "auto":
        return torch.device("cuda" if cuda else "mps" if mps else "cpu")
    try:
        device = torch.device(text)
    except RuntimeError:
        raise EngineError(f"{text!r} is not a device.", "Valid: auto, cpu, cuda, cuda:N, mps.") from None
    count = {"cpu": 1, "cuda": torch.cuda.device_count() if cuda else 0, "mps": int(mps)}.get(device.type, 0)
    if (device.index or 0) >= count:
        available = ["cpu", *(f"cuda:{i}" for i in range(torch.cuda.device_count() if cuda else 0))]
        available += ["mps"] if mps else []
        raise EngineError(f"Device {text} is not available.", f"Available: auto, {', '.join(available)}.")
    return device


def synchronize(device: torch.device) -> None:
    """Wait until the device has finished its work, so that timings are correct."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()


def is_out_of_memory(error: BaseException) -> bool:
    """Whether the error means out of memory, on any device."""
    if isinstance(error, RuntimeError):
        return any(words in str(error) for words in _OUT_OF_MEMORY)
    return isinstance(error, MemoryError)
