"""The config that saving a session writes."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from freezetui.config.paths import is_special, relative_source
from freezetui.config.schema import ConfigData, ModelSection
from freezetui.config.sync import config_from_plan
from freezetui.freeze.plan import FreezePlan, moved_mask
from freezetui.recognition.architecture import moved_path

if TYPE_CHECKING:
    from freezetui.session.parts import Opened


def config_of(session: Opened, target: Path) -> ConfigData:
    """Return the config that saving to `target` would write; the same with and without a description."""
    return to_write(session, target)()


def to_write(session: Opened, target: Path) -> Callable[[], ConfigData]:
    """Return what makes that config of the session as it is at this moment; it may run in a thread."""
    # What is not a file has no directory that its paths could be relative to.
    directory = Path() if is_special(target) else Path(os.path.realpath(target)).parent
    built_by, stages = session.architecture.model, session.stages
    before, tree, file_tree = session.config, session.tree, session.file_tree
    model = ModelSection(
        root=before.model.root if before is not None and session.saved.fits else "",
        checkpoint=relative_source(session.options.source, directory),
        architecture=moved_path(built_by.architecture, Path(), directory),
        arguments=built_by.arguments if built_by.architecture else {},
        input=built_by.input,
        key=session.checkpoint.key if len(session.checkpoint.choices) > 1 else "",
    )
    given, shown, settings = stages.given(), stages.masks(), stages.settings
    sections, edited = tuple(stages.sections.values()), _edited(session)

    def made() -> ConfigData:
        masks = {stage: moved_mask(mask, tree, file_tree) for stage, mask in shown.items()}
        own = {stage: rules for stage, (_, rules) in given.items() if stage is not None}
        common = FreezePlan(file_tree, masks[None])
        wanted = {stage: masks[stage] for stage in edited}
        config = config_from_plan(common, model, before, given.get(None), wanted, own, sections)
        return msgspec.structs.replace(config, **settings._asdict())

    return made


def _edited(session: Opened) -> tuple[str, ...]:
    """Return the stages whose rules may have to change: not those that are as on disk, on the same rules."""
    stages, saved = session.stages, session.saved.masks
    on_disk = {stage.name: stage.rules for stage in session.config.stages} if session.config else {}
    masks = stages.masks()
    if masks[None] != saved[None]:
        return stages.names
    return tuple(
        name
        for name, section in stages.sections.items()
        if (known := stages.saved_as(name)) is None
        or known not in on_disk
        or (masks[name], section.rules) != (saved.get(known), on_disk[known])
    )
