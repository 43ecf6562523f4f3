"""A person's own file: factories that work, and some that do not."""

from __future__ import annotations

from torch import nn


def mlp(width: int = 8, classes: int = 3) -> nn.Module:
    return nn.Sequential(nn.Linear(5, width), nn.ReLU(), nn.Linear(width, classes))


class Nested:
    @staticmethod
    def mlp() -> nn.Module:
        return mlp()


ready = mlp()
number = 7


def wrong() -> str:
    return "no model"


def broken() -> nn.Module:
    raise ValueError("no\nsuch width")


def leaving() -> nn.Module:
    raise SystemExit("not a module")
