"""SavedConfig: the config file of a session, as it was read and as it may be saved."""

from __future__ import annotations

import os
from pathlib import Path

from freezetui.config.bounds import read_data
from freezetui.config.paths import set_aside_path, why_not_a_file
from freezetui.config.schema import ConfigData
from freezetui.config.sync import plan_from_config, stage_masks
from freezetui.errors import ConfigError
from freezetui.freeze.plan import stored_mask
from freezetui.freeze.tree import ParamTree
from freezetui.session.stage_plans import Masks, StagePlans
from freezetui.text import shortened

_ELSEWHERE = "Save under another name: S in the TUI, -o FILE in `plan`."


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
        problem: why the file is not readable; None if it is.
        differences: how the model differs from the one the config was saved for, one line each.
        refused: those of them that `FreezeConfig.apply` refuses.
        fits: whether names and shapes are those that the config was saved for, or it does not record them.
    """

    def __init__(self, path: Path, required: bool) -> None:
        self.path = path
        self.required = required
        self.config: ConfigData | None = None
        self.masks: dict[str | None, bytes] = {}
        self.problem: ConfigError | None = None
        self.differences: tuple[str, ...] = ()
        self.refused: tuple[str, ...] = ()
        self.fits = True
        self._seen = b""

    def read(self, tree: ParamTree) -> StagePlans:
        """Return the plans of the file; without one, the plan that the checkpoint stores.

        Raises:
            ConfigError: the required file cannot be read.
        """
        plans = StagePlans(tree, self._selected(tree) or {None: stored_mask(tree)})
        self.masks = plans.masks()
        return plans

    def _selected(self, tree: ParamTree) -> Masks | None:
        if not self.required and (not os.path.exists(self.path) or why_not_a_file(self.path)):  # noqa: PTH110
            return None  # what is in the way of a config is told where one is saved
        from freezetui.config.codec import read_config  # YAML is not needed without a config

        self._seen = _content(self.path)
        try:
            self.config = read_config(self.path)
        except ConfigError as error:
            if self.required:
                raise
            self.problem = error
            return None
        match = plan_from_config(self.config, tree)
        self.differences, self.refused, self.fits = match.differences, match.refused, match.fits
        masks: dict[str | None, bytes] = {None: match.mask}
        masks.update(stage_masks(self.config, tree))
        return masks

    @property
    def changed_on_disk(self) -> bool:
        """Whether the file has changed since this session loaded or saved it."""
        content = _content(self.path)
        return content != self._seen and content != b""

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
        return "It was saved for a different model." if self.differences else ""

    def save(self, target: Path, config: ConfigData, masks: Masks) -> None:
        """Write the config of the plans `masks` atomically, and make `target` the session's config file.

        An existing file that could not be read is renamed first; see `set_aside_path`. A pipe or a device
        gets a copy, and the session's config file stays what it was.

        Raises:
            ConfigError: the file cannot be written.
        """
        from freezetui.config.codec import write_config

        why = why_not_a_file(target)
        if why and target == self.path:
            raise ConfigError(f"{shortened(str(target))} {why}.", _ELSEWHERE)
        if self.unreadable(target) and target.exists():
            try:
                target.rename(set_aside_path(target))
            except OSError as error:
                raise ConfigError(f"{target} cannot be renamed: {error.strerror}.", _ELSEWHERE) from None
        write_config(target, config)
        if why:
            return
        self.path, self.config, self.masks = target, config, dict(masks)
        self.problem, self.differences, self.refused = None, (), ()
        self._seen = _content(target)


def _content(path: Path) -> bytes:
    """Return the contents of a file; b"" if it cannot be read."""
    try:
        return read_data(path)
    except ConfigError:
        return b""
