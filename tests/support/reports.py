"""Reports of checks that no engine has run."""

from __future__ import annotations

from typing import Any

from freezetui.sanity.report import BufferPart, FrozenPart, SanityReport, TrainablePart


def sanity_report(**changes: Any) -> SanityReport:
    """Return the report of a small check that held, with these fields in place of its own."""
    usual: dict[str, Any] = {
        "verdict": "held",
        "architecture": "torchvision:vgg16",
        "device": "cpu",
        "steps": 3,
        "forward": True,
        "losses": (),
        "seconds": 1.0,
        "frozen": FrozenPart(2, 2),
        "trainable": TrainablePart(1, 1),
        "buffers": BufferPart(0, 0),
    }
    return SanityReport(**{**usual, **changes})
