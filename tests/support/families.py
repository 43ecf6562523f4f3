"""Saved models of the families that the presets are tested on, each by its own library, tiny and random."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import nn

from freezetui.checkpoint.open import open_checkpoint
from freezetui.describer.describe import describe
from freezetui.description.tree import described_tree
from freezetui.description.types import Description
from freezetui.freeze.presets import chosen, find_preset
from freezetui.freeze.tree import ParamTree
from freezetui.recognition.catalog import in_module_order, recognize
from support import tiny_transformers as tiny
from support.describing import request


def _transformers(name: str) -> Callable[[Path], Path]:
    def save(folder: Path) -> Path:
        with contextlib.redirect_stderr(io.StringIO()):
            tiny.saved(tiny.build(name), folder)
        return folder

    return save


def _made(name: str, config: str, **sizes: Any) -> Callable[[Path], Path]:
    def save(folder: Path) -> Path:
        import transformers

        torch.manual_seed(0)
        model: Any = getattr(transformers, name)(getattr(transformers, config)(**sizes))
        with contextlib.redirect_stderr(io.StringIO()):
            model.save_pretrained(folder)
        return folder

    return save


def _torchvision(name: str) -> Callable[[Path], Path]:
    def save(folder: Path) -> Path:
        import torchvision

        model: nn.Module = torchvision.models.get_model(name, weights=None)
        torch.save(model.state_dict(), folder / f"{name}.pth")
        return folder / f"{name}.pth"

    return save


def _timm(name: str) -> Callable[[Path], Path]:
    def save(folder: Path) -> Path:
        import timm
        from timm.models import _hub

        _hub.save_for_hf(timm.create_model(name, num_classes=7), folder, safe_serialization=True)
        return folder

    return save


#: Name -> how to save it into an empty folder; returns what to open.
FAMILIES: dict[str, Callable[[Path], Path]] = {
    "torchvision vgg16": _torchvision("vgg16"),
    "torchvision resnet18": _torchvision("resnet18"),
    "torchvision shufflenet_v2_x0_5": _torchvision("shufflenet_v2_x0_5"),
    "torchvision vit_b_16": _torchvision("vit_b_16"),
    "torchvision densenet121": _torchvision("densenet121"),
    "timm convnext_atto": _timm("convnext_atto"),
    "ViTForImageClassification": _transformers("ViTForImageClassification"),
    "BertForMaskedLM": _transformers("BertForMaskedLM"),
    "GPT2LMHeadModel": _transformers("GPT2LMHeadModel"),
    "LlamaForCausalLM": _transformers("LlamaForCausalLM"),
    "T5ForConditionalGeneration": _transformers("T5ForConditionalGeneration"),
    "BartForConditionalGeneration": _transformers("BartForConditionalGeneration"),
    "WhisperForConditionalGeneration": _transformers("WhisperForConditionalGeneration"),
    "Wav2Vec2ForCTC": _made(
        "Wav2Vec2ForCTC",
        "Wav2Vec2Config",
        hidden_size=32,
        num_hidden_layers=3,
        num_attention_heads=2,
        intermediate_size=37,
        vocab_size=20,
        conv_dim=(16, 16),
        conv_stride=(2, 2),
        conv_kernel=(3, 3),
        num_conv_pos_embeddings=4,
        num_conv_pos_embedding_groups=2,
    ),
    "CLIPModel": _transformers("CLIPModel"),
    "LlavaForConditionalGeneration": _transformers("LlavaForConditionalGeneration"),
    "Qwen2VLForConditionalGeneration": _transformers("Qwen2VLForConditionalGeneration"),
    "DetrForObjectDetection": _transformers("DetrForObjectDetection"),
}


class Known:
    """A saved family with its description, made in this process.

    Attributes:
        tree: its tensors in the order of the live model.
        by_names: the same in the order of the file, as far as that is known.
    """

    def __init__(self, name: str, folder: Path) -> None:
        path = FAMILIES[name](folder)
        asked = request(path)
        self.description: Description = describe(asked, lambda phase: None)
        checkpoint = open_checkpoint(str(path))
        self.by_names = ParamTree(in_module_order(checkpoint, recognize(checkpoint.tensors)))
        self.tree = described_tree(self.by_names, self.description.names)

    def trains(self, preset: str, known: bool = True) -> list[str]:
        """Return the names of the tensors that a preset trains; `known`: by the model, else by names."""
        tree = self.tree if known else self.by_names
        mask = chosen(find_preset(preset), tree, self.description.structure if known else None)
        return [tensor.name for tensor, on in zip(tree.tensors, mask, strict=True) if on]
