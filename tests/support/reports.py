"""Reports of checks that no engine has run, and what stands for an engine that sends them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from freezetui.sanity import client
from freezetui.sanity.protocol import CheckRequest, Finished
from freezetui.sanity.report import BufferPart, Cost, Finding, FrozenPart, SanityReport, TrainablePart


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


#: Of the sample vgg_digits.pth with its features frozen.
HELD = sanity_report(
    losses=(1.0, 0.9, 0.8),
    frozen=FrozenPart(26, 26),
    trainable=TrainablePart(6, 6),
    cost=Cost(1.0, 1.0, 100, 100),
)


def by_code(report: SanityReport) -> dict[str, Finding]:
    """Return what a report has found, by its code."""
    return {finding.code: finding for finding in report.findings}


def answer_with(
    reports: list[SanityReport], monkeypatch: pytest.MonkeyPatch, requests: list[CheckRequest] | None = None
) -> None:
    """Let every check end at once with the next of these reports, for the stage that was asked about.

    Args:
        requests: receives what was asked.
    """

    class Answer:
        cancelled = False

        def __init__(self, request: CheckRequest, timeout: object, python: object) -> None:
            self.request = request
            if requests is not None:
                requests.append(request)

        def __enter__(self) -> Answer:
            return self

        def __exit__(self, *_: object) -> None:
            pass

        def events(self) -> Iterator[Finished]:
            yield Finished(msgspec.structs.replace(reports.pop(0), stage=self.request.stage))

    monkeypatch.setattr(client, "Engine", Answer)
