"""Fine-tune vgg_digits.pth on mirrored digits, which it has never seen.

    python examples/train_digits.py examples/vgg_digits.freeze.yaml

Trains the stages of the config in turn; without stages, first with the config's rules, then everything.
After each stage it verifies that the frozen bits did not change.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

import torch
from digits import accuracy, load_digits
from torch import Tensor, nn
from torch.nn import functional as F
from vgg_digits import vgg_digits

from freezetui import FreezeConfig, FreezeGuard, FreezeTuiError

EPOCHS = 5
LEARNING_RATE = 3e-3


def stages_of(config: FreezeConfig) -> Iterator[tuple[str, int, FreezeConfig, str | None]]:
    """Yield the name, epochs, config and stage to apply for each stage."""
    for stage in config.stages:
        yield stage.name, stage.epochs or EPOCHS, config, stage.name
    if not config.stages:
        yield "as the config says", EPOCHS, config, None
        yield "everything", EPOCHS, FreezeConfig(), None


def train(
    model: nn.Module, optimizer: torch.optim.Optimizer, images: Tensor, labels: Tensor, epochs: int
) -> None:
    """Train with a plain loop."""
    for _ in range(epochs):
        model.train()
        for batch in torch.randperm(len(labels)).split(64):
            optimizer.zero_grad()
            F.cross_entropy(model(images[batch]), labels[batch]).backward()
            optimizer.step()


def main() -> None:
    """Load, then train stage by stage."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("config", type=Path, help="a freeze config for vgg_digits.pth")
    parser.add_argument("--epochs", type=int, help="epochs of every stage, instead of those in the config")
    options = parser.parse_args()

    torch.manual_seed(0)
    torch.set_num_threads(1)  # for images this small a second thread only adds overhead
    config = FreezeConfig.load(options.config)
    model = vgg_digits()
    model.load_state_dict(torch.load(options.config.parent / config.model.checkpoint, weights_only=True))
    images, labels, test_images, test_labels = load_digits(32, mirror=True)
    print(f"before: {accuracy(model, test_images, test_labels):.1%} of the mirrored test digits")

    for name, epochs, rules, stage in stages_of(config):
        print(f"\nstage {name}: {rules.apply(model, stage=stage)}")
        groups = rules.parameter_groups(model, lr=LEARNING_RATE, stage=stage)
        optimizer = torch.optim.AdamW(groups, weight_decay=0.01)
        guard = FreezeGuard(model)
        train(model, optimizer, images, labels, options.epochs or epochs)
        guard.check()
        print(f"accuracy {accuracy(model, test_images, test_labels):.1%}")
        if len(guard):
            print(f"proof: all {len(guard)} frozen tensors held, bit for bit")


if __name__ == "__main__":
    try:
        main()
    except FreezeTuiError as error:
        sys.exit(f"train_digits: {error}")
