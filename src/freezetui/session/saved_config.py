"""SavedConfig: the config file of a session, as it was read and as it may be saved."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal

from freezetui.config.bounds import read_data
from freezetui.config.paths import ELSEWHERE, relative_source, set_aside_path, why_not_a_file
from freezetui.config.schema import ConfigData, Stage
from freezetui.errors import ConfigError
from freezetui.freeze.plan import stored_mask
from freezetui.freeze.tree import ParamTree
from freezetui.session.stage_history import Settings
from freezetui.session.stage_plans import Masks, StagePlans
from freezetui.text import shortened


class SavedConfig:
    """The config on disk, and what a user should know before overwriting it.

    Args:
        path: where it is, or will be.
        required: whether the user asked for this file, so that it must exist and be valid.

    Attributes:
        path: where the config is saved.
        config: as on disk; None if nothing is saved yet.
        masks: stage -> per tensor, 1 to train and 0 to freeze, as on disk, else as the checkpoint stores;
            None is the stage of the common rules alone.
        schedule: the stages as on disk, in their order, without their rules.
        problem: why the file is not readable; None if it is.
        differences: how the model differs from the one the config was saved for, one line each.
        refused: those of them that `FreezeConfig.apply` refuses; refused_stages: that it refuses for a stage.
        fits: whether names and shapes are those that the config was saved for, or it does not record them.
        written: whether this session has saved it.
        not_written: why it could not be saved the last time; "" if it was, or nobody tried.
    """

    def __init__(self, path: Path, required: bool) -> None:
        self.path = path
        self.required = required
        self.config: ConfigData | None = None
        self.masks: dict[str | None, bytes] = {}
        self.schedule: tuple[Stage, ...] = ()
        self.problem: ConfigError | None = None
        self.differences: tuple[str, ...] = ()
        self.refused: tuple[str, ...] = ()
        self.refused_stages: dict[str, str] = {}
        self.fits = True
        self._seen, self._version = b"", b""
        self._state: Literal["same", "changed", "deleted"] = "same"
        self.written = False
        self.not_written = ""

    def read(self, tree: ParamTree, key: str = "") -> StagePlans:
        """Return the plans of the file; without one, the plan that the checkpoint stores.

        Args:
            key: which state_dict of the checkpoint is open.

        Raises:
            ConfigError: the required file cannot be read.
        """
        masks = self._selected(tree) or {None: stored_mask(tree)}
        stages = self.config.stages if self.config else ()
        plans = StagePlans(tree, masks, stages, Settings.of(self.config))
        if self.config is not None:
            from freezetui.config.sync import other_key

            self.differences += tuple(filter(None, [other_key(self.config, key)]))
        self.masks, self.schedule = plans.masks(), plans.schedule
        return plans

    def _selected(self, tree: ParamTree) -> Masks | None:
        if not self.required and (not os.path.exists(self.path) or why_not_a_file(self.path)):  # noqa: PTH110
            return None  # what is in the way of a config is reported where one is saved
        # Not needed without a config.
        from freezetui.config.codec import read_config
        from freezetui.config.sync import plan_from_config, split_ties, stage_differences, stage_masks
        from freezetui.freeze.regexes import Budget

        self._seen = _content(self.path)
        try:
            self.config = read_config(self.path)
        except ConfigError as error:
            if self.required:
                raise
            self.problem = error
            return None
        budget = Budget()  # one for the patterns of all stages
        match = plan_from_config(self.config, tree, budget)
        self.refused, self.fits = match.refused, match.fits
        stages = stage_masks(self.config, tree, match.mask, budget)
        self.refused_stages = stage_differences(self.config, tree, stages)
        self.differences = (*match.differences, *self.refused_stages.values())
        for mask in (match.mask, *stages.values()):
            self.differences += tuple(x for x in split_ties(tree, mask) if x not in self.differences)
        masks: dict[str | None, bytes] = {None: match.mask}
        masks.update(stages)
        return masks

    @property
    def on_disk(self) -> Literal["same", "changed", "deleted"]:
        """Whether the file is as this session loaded or saved it; "same" if there was none and is none."""
        version = _version(self.path)
        if version != self._version:
            self._version, content = version, _content(self.path)
            if content == self._seen:
                self._state = "same"
            else:
                self._state = "changed" if content else "deleted"
        return self._state

    @property
    def changed_on_disk(self) -> bool:
        """Whether the file has changed since this session loaded or saved it."""
        return self.on_disk == "changed"

    def refuse_another(self, source: str) -> None:
        """Refuse to save where the config is one for another checkpoint, which has other names or shapes.

        Args:
            source: the open checkpoint's path or URL.

        Raises:
            ConfigError: it is.
        """
        meant = self.config.model.checkpoint if self.config is not None else ""
        if not self.fits and meant not in ("", relative_source(source, self.path.resolve().parent)):
            raise ConfigError(
                f"{self.path} was saved for {meant}, which has different names or shapes.",
                "Save under another name with -o FILE, or delete the file first.",
            )

    def unreadable(self, target: Path) -> bool:
        """Whether `target` is the unreadable file."""
        return self.problem is not None and target == self.path

    def why_not_write(self, target: Path) -> str:
        """Return why overwriting `target` needs confirmation; "" if nothing would be lost."""
        if target != self.path:
            return "" if why_not_a_file(target) or not target.exists() else "The file already exists."
        if self.problem is not None:
            return f"{self.problem.message} It will be kept as {set_aside_path(target).name}."
        if self.changed_on_disk:
            return "It has changed on disk since it was loaded."
        return f"It does not fit what is open: {self.differences[0]}" if self.differences else ""

    def save(self, target: Path, config: ConfigData, stages: StagePlans) -> None:
        """Write the config of the plans `stages` atomically, and make `target` the session's config file.

        An existing file that could not be read is renamed first; see `set_aside_path`. A pipe or a device
        gets a copy, and the session's config file stays what it was.

        Raises:
            ConfigError: the file cannot be written.
        """
        from freezetui.config.codec import write_config

        why = why_not_a_file(target)
        if why and target == self.path:
            raise ConfigError(f"{shortened(str(target))} {why}.", ELSEWHERE)
        if self.unreadable(target) and target.exists():
            try:
                target.rename(set_aside_path(target))
            except OSError as error:
                raise ConfigError(f"{target} cannot be renamed: {error.strerror}.", ELSEWHERE) from None
        write_config(target, config)
        self.not_written = ""
        if why:
            return
        self.path, self.config = target, config
        self.masks, self.schedule = stages.masks(), stages.schedule
        stages.note_saved(config.stages)
        self.problem, self.differences, self.refused, self.refused_stages = None, (), (), {}
        self.fits = self.written = True
        self._seen, self._version = _content(target), b""


def _content(path: Path) -> bytes:
    """Return the contents of a file; b"" if it cannot be read."""
    try:
        return read_data(path)
    except ConfigError:
        return b""


def _version(path: Path) -> bytes:
    """Return what changes when the file is written, replaced, made or deleted."""
    try:
        status = os.stat(path)  # noqa: PTH116
    except (OSError, ValueError):
        return b"none"
    return f"{status.st_dev} {status.st_ino} {status.st_size} {status.st_mtime_ns}".encode()
