"""A small convolutional net with BatchNorm for scikit-learn's digits."""

from __future__ import annotations

from torch import nn


def conv_digits(num_classes: int = 10, width: int = 16) -> nn.Sequential:
    """Return a network for images of shape (N, 3, 32, 32).

    Use it with `--architecture examples/conv_digits.py:conv_digits`.
    """
    return nn.Sequential(
        nn.Conv2d(3, width, 3, stride=2, padding=1),
        nn.BatchNorm2d(width),
        nn.ReLU(),
        nn.Conv2d(width, 2 * width, 3, stride=2, padding=1),
        nn.BatchNorm2d(2 * width),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(4),
        nn.Flatten(),
        nn.Linear(32 * width, num_classes),
    )
