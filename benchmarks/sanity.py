"""Compares the check of a VGG16 with a bare loop; `sanity.py [DEVICE]` prints its lines of the table."""

from __future__ import annotations

import statistics
import sys
import time

import msgspec
import torch
import torchvision
from harness import Row
from make_inputs import VGG_PTH

from freezetui.config.schema import ConfigData
from freezetui.freeze.rules import Rule
from freezetui.model_spec import ModelSpec
from freezetui.sanity.client import run_check
from freezetui.session.session import Options, Session

STEPS, BATCH, SIZE = 3, 2, 224


def bare_step(device: str) -> float:
    """Return the median seconds of one forward, backward and optimizer step, with the features frozen."""
    model = torchvision.models.vgg16().to(device)
    model.load_state_dict(torch.load(VGG_PTH, weights_only=True))
    model.features.requires_grad_(False)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9, weight_decay=0.01)
    images = torch.randn(BATCH, 3, SIZE, SIZE, device=device)
    taken = []
    for _ in range(STEPS + 1):
        started = time.perf_counter()
        optimizer.zero_grad()
        model(images).square().mean().backward()
        optimizer.step()
        if device.startswith("cuda"):
            torch.cuda.synchronize(device)
        taken.append(time.perf_counter() - started)
    return statistics.median(taken[1:])


def main() -> None:
    """Print the lines."""
    device = sys.argv[1] if len(sys.argv) > 1 else "cpu"
    options = Options(str(VGG_PTH), model=ModelSpec(input=(3, SIZE, SIZE)), device=device, steps=STEPS)
    request = Session(options).request(ConfigData(rules=(Rule("freeze", "features"),)))
    cost = run_check(msgspec.structs.replace(request, batch=BATCH)).cost
    assert cost is not None
    bare = bare_step(device)
    what = f"check, VGG16, batch of {BATCH}, {device}"
    rows = [
        Row(
            f"{what}: snapshot and comparison, as a share of {STEPS} bare steps",
            f"{cost.overhead_seconds / (STEPS * bare):.1%}",
            "10%",
        ),
        Row(f"{what}: one of its steps, relative to a bare step", f"{cost.step_seconds / bare:.2f} ×"),
        Row(
            f"{what}: a step with features frozen, relative to training everything",
            f"{cost.step_seconds / cost.control_step_seconds:.2f} ×",
        ),
    ]
    for row in rows:
        print(f"| {row.what} | {row.measured} | {row.budget} |")


if __name__ == "__main__":
    main()
