"""Train and write the sample checkpoints: `python sample_ckpts/make_samples.py`, a few minutes on a CPU."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import torch
import torchvision
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional as F

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "examples"))

from conv_digits import conv_digits  # noqa: E402
from digits import accuracy, load_digits  # noqa: E402
from tiny_transformer import tiny_transformer  # noqa: E402
from vgg_digits import vgg_digits  # noqa: E402


def train(model: nn.Module, size: int, epochs: int, lr: float) -> torch.optim.Optimizer:
    """Train a classifier on the digits with AdamW and one cycle, and print its accuracy."""
    images, labels, test_images, test_labels = load_digits(size)
    optimizer = torch.optim.AdamW(model.parameters(), lr=lr, weight_decay=0.01)
    batches = -(-len(labels) // 64)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, lr, total_steps=epochs * batches)
    for _ in range(epochs):
        model.train()
        for batch in torch.randperm(len(labels)).split(64):
            optimizer.zero_grad()
            F.cross_entropy(model(images[batch]), labels[batch]).backward()
            optimizer.step()
            schedule.step()
    print(f"  {accuracy(model, test_images, test_labels):.1%} of the test digits", flush=True)
    return optimizer


def vgg() -> None:
    """A plain state_dict."""
    model = vgg_digits()
    for module in model.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            nn.init.kaiming_normal_(module.weight)
            nn.init.zeros_(module.bias)
    train(model, 32, epochs=30, lr=2e-3)
    torch.save(model.state_dict(), HERE / "vgg_digits.pth")


def shufflenet() -> None:
    """A torchvision model with BatchNorm, as safetensors."""
    model = torchvision.models.shufflenet_v2_x0_5(num_classes=10)
    train(model, 64, epochs=12, lr=5e-3)
    target = HERE / "shufflenet_digits.safetensors"
    save_file(model.state_dict(), target)
    target.chmod(0o644)


def training_checkpoint() -> None:
    """What a training script saves to go on from: a wrapped model, optimizer, epoch, arguments."""
    model = conv_digits()
    optimizer = train(model, 32, epochs=10, lr=5e-3)
    checkpoint = {
        "model": nn.DataParallel(model).state_dict(),
        "optimizer": optimizer.state_dict(),
        "epoch": 10,
        "args": argparse.Namespace(lr=5e-3, width=16),
    }
    torch.save(checkpoint, HERE / "conv_digits_training.pt")


def transformer() -> None:
    """A language model whose embedding and head are one tensor."""
    text = (HERE.parent / "LICENSE").read_text().encode("ascii") * 2
    letters = torch.tensor(list(text))
    model = tiny_transformer()
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    loss = Tensor()
    for _ in range(250):
        starts = torch.randint(len(letters) - 65, (16,)).tolist()
        batch = torch.stack([letters[start : start + 65] for start in starts])
        optimizer.zero_grad()
        loss = F.cross_entropy(model(batch[:, :-1]).flatten(0, 1), batch[:, 1:].flatten())
        loss.backward()
        optimizer.step()
    print(f"  cross entropy {loss.item():.2f} per letter", flush=True)
    torch.save(model.state_dict(), HERE / "tiny_transformer.pth")


def main() -> None:
    """Make all of them, each from the same seed; on one thread, so that the sums have one order."""
    torch.set_num_threads(1)
    for make in (vgg, shufflenet, training_checkpoint, transformer):
        print(make.__name__, flush=True)
        torch.manual_seed(0)
        make()


if __name__ == "__main__":
    main()
