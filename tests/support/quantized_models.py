"""torchvision's quantizable models, prepared for quantization-aware training as its users do."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import nn
from torchvision.models import quantization


def _prepared(name: str) -> nn.Module:
    known: Any = getattr(quantization, name)
    model: Any = known(weights=None, quantize=False)
    model.train()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model.fuse_model(is_qat=True)
        model.qconfig = torch.ao.quantization.get_default_qat_qconfig("fbgemm")
        torch.ao.quantization.prepare_qat(model, inplace=True)
    return model


def _of(name: str) -> Callable[[], nn.Module]:
    return partial(_prepared, name)


quantized_resnet18 = _of("resnet18")
quantized_mobilenet_v2 = _of("mobilenet_v2")
quantized_mobilenet_v3_large = _of("mobilenet_v3_large")
quantized_googlenet = _of("googlenet")
quantized_inception_v3 = _of("inception_v3")
quantized_shufflenet_v2_x0_5 = _of("shufflenet_v2_x0_5")
