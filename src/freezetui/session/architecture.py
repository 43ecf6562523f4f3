"""Chooses which architecture a session's check builds."""

from __future__ import annotations

import msgspec

from freezetui.model_spec import ModelSpec
from freezetui.recognition.architecture import Architecture, from_config, from_user
from freezetui.session.saved_config import SavedConfig


def chosen_architecture(requested: ModelSpec, found: Architecture, saved: SavedConfig) -> Architecture:
    """Return the architecture of the command line, else of the config, else of the checkpoint.

    Args:
        requested: by the command line.
        found: from the checkpoint.
        saved: notes the difference if its config was saved for a model that something else builds.
    """
    if requested.architecture:
        return from_user(requested, found)
    config = saved.config
    if config is not None and saved.fits:
        found = from_config(config.model, saved.path.parent, found)
    elif config is not None and config.model.architecture and not found.model.architecture:
        saved.differences += (f"that model was built by {config.model.architecture}",)
    model = ModelSpec(
        found.model.architecture,
        {**found.model.arguments, **requested.arguments},
        requested.input or found.model.input,
    )
    return msgspec.structs.replace(found, model=model)
