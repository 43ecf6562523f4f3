"""The config that saving a session writes."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from freezetui.config.paths import is_special, relative_source
from freezetui.config.schema import ConfigData, ModelSection
from freezetui.config.sync import config_from_plan
from freezetui.freeze.plan import FreezePlan, moved_mask
from freezetui.recognition.architecture import moved_path

if TYPE_CHECKING:
    from freezetui.session.session import Session


def config_of(session: Session, target: Path) -> ConfigData:
    """Return the config that saving to `target` would write; the same with and without a description."""
    # What is not a file has no directory that its paths could be relative to.
    directory = Path() if is_special(target) else Path(os.path.realpath(target)).parent
    built_by, stages = session.architecture.model, session.stages
    before = session.config
    model = ModelSection(
        root=before.model.root if before is not None and session.saved.fits else "",
        checkpoint=relative_source(session.options.source, directory),
        architecture=moved_path(built_by.architecture, Path(), directory),
        arguments=built_by.arguments if built_by.architecture else {},
        input=built_by.input,
        key=session.checkpoint.key if len(session.checkpoint.choices) > 1 else "",
    )

    def in_file_order(mask: bytes) -> bytes:
        return moved_mask(mask, session.tree, session.file_tree)

    given = stages.given()
    masks = {stage: in_file_order(mask) for stage, mask in stages.masks().items()}
    saved = {stage: in_file_order(mask) for stage, mask in session.saved.masks.items()}
    edited = {s: m for s, m in masks.items() if s is not None and m != saved.get(s)}
    own = {stage: rules for stage, (_, rules) in given.items() if stage is not None}
    common, sections = FreezePlan(session.file_tree, masks[None]), tuple(stages.sections.values())
    config = config_from_plan(common, model, before, given.get(None), edited, own, sections)
    return msgspec.structs.replace(config, norm_statistics=session.norm_statistics)
