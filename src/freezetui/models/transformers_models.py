"""Builds models of transformers from the `config.json` next to their checkpoint."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import nn

from freezetui.checkpoint.types import Checkpoint
from freezetui.errors import ModelError
from freezetui.models.spec import Factory
from freezetui.user_code import user_code

LIBRARY = "transformers"


def is_pretrained(factory: Factory) -> bool:
    """Whether it is a model class of transformers."""
    return factory.kind == "module" and factory.source == LIBRARY


def pretrained_model(factory: Factory, arguments: Mapping[str, Any], checkpoint: Checkpoint) -> nn.Module:
    """Return the model that the class builds from its `config.json`, without weights; runs no other code.

    Args:
        arguments: settings that override those of the config.

    Raises:
        ModelError: transformers is not installed or has no such class, or the config does not fit it.
    """
    try:
        library = importlib.import_module(LIBRARY)
    except ImportError:
        raise ModelError(
            f"{factory} needs transformers, which is not installed.",
            "Run: pip install 'freezetui[transformers]'",
        ) from None
    model_class = getattr(library, factory.name, None)
    if not (isinstance(model_class, type) and issubclass(model_class, library.PreTrainedModel)):
        raise ModelError(
            f"transformers {library.__version__} has no model class {factory.name}.",
            "Upgrade transformers, or pass another --architecture.",
        )
    directory = Path(checkpoint.parts[0].source).parent
    if not (directory / "config.json").is_file():
        raise ModelError(
            f"{factory} needs a config.json beside the checkpoint, and {directory} has none.",
            "Copy it there, or name a function that builds the model: --architecture FILE.py:callable",
        )
    with user_code(f"Reading {directory / 'config.json'}"):
        config = library.AutoConfig.from_pretrained(
            directory, trust_remote_code=False, local_files_only=True, **arguments
        )
    # Any other value could download code from a hub.
    config._attn_implementation = "eager"
    with user_code(f"{factory}(config)"):
        model: nn.Module = model_class(config)
    return model
