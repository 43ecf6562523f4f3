"""SavedConfig: the config file of a session, as it was read and as it may be saved."""

from __future__ import annotations

from pathlib import Path

from freezetui.config.bounds import read_data
from freezetui.config.paths import is_there, set_aside_path
from freezetui.config.schema import ConfigData
from freezetui.config.sync import plan_from_config
from freezetui.errors import ConfigError
from freezetui.freeze.plan import FreezePlan
from freezetui.freeze.tree import ParamTree


class SavedConfig:
    """The config on disk, and what a user should know before overwriting it.

    Args:
        path: where it is, or will be.
        required: whether the user asked for this file, so that it must exist and be valid.

    Attributes:
        path: where the config is saved.
        config: as on disk; None if nothing is saved yet.
        mask: per tensor, 1 to train and 0 to freeze, as on disk; all 1 if nothing is saved yet.
        problem: why the file could not be read; None if it could.
        differences: how the model differs from the one the config was saved for, one line each.
        fits: whether names and shapes are those that the config was saved for, or it does not record them.
    """

    def __init__(self, path: Path, required: bool) -> None:
        self.path = path
        self.required = required
        self.config: ConfigData | None = None
        self.mask = b""
        self.problem: ConfigError | None = None
        self.differences: tuple[str, ...] = ()
        self.fits = True
        self._seen = b""

    def read(self, tree: ParamTree) -> FreezePlan:
        """Return the plan of the file, or everything trainable if there is none.

        Raises:
            ConfigError: the required file cannot be read.
        """
        plan = FreezePlan(tree, self._selected(tree))
        self.mask = plan.mask()
        return plan

    def _selected(self, tree: ParamTree) -> bytes | None:
        # A directory of that name is not a config, and saving says so.
        if not self.required and (not is_there(self.path) or self.path.is_dir()):
            return None
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
        self.differences, self.fits = match.differences, match.fits
        return match.mask

    @property
    def changed_on_disk(self) -> bool:
        """Whether the file has changed since this session loaded or saved it."""
        content = _content(self.path)
        return content != self._seen and content != b""

    def unreadable(self, target: Path) -> bool:
        """Whether `target` is the file that could not be read."""
        return self.problem is not None and target == self.path

    def why_not_write(self, target: Path) -> str:
        """Return why overwriting `target` needs confirmation; "" if nothing would be lost."""
        if target != self.path:
            return "The file already exists." if is_there(target) else ""
        if self.problem is not None:
            return f"{self.problem.message} It will be kept as {set_aside_path(target).name}."
        if self.changed_on_disk:
            return "It has changed on disk since it was loaded."
        return "It was saved for a different model." if self.differences else ""

    def save(self, target: Path, config: ConfigData, mask: bytes) -> None:
        """Write the config of the plan `mask` atomically, and make `target` the session's config file.

        An existing file that could not be read is renamed first; see `set_aside_path`.

        Raises:
            ConfigError: the file cannot be written.
        """
        from freezetui.config.codec import write_config

        if self.unreadable(target) and is_there(target):
            target.rename(set_aside_path(target))
        write_config(target, config)
        self.path, self.config, self.mask = target, config, mask
        self.problem, self.differences = None, ()
        self._seen = _content(target)


def _content(path: Path) -> bytes:
    """Return the contents of a file; b"" if it cannot be read."""
    try:
        return read_data(path)
    except ConfigError:
        return b""
