"""Session: the open checkpoint, the choice and the config it is saved to. Knows no widgets."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from freezetui.checkpoint.open import open_checkpoint
from freezetui.checkpoint.sources.urls import is_url, shown_url
from freezetui.config.paths import SUFFIX, content_of, default_path, set_aside_name
from freezetui.config.schema import ConfigData, ModelSection
from freezetui.config.sync import config_from_plan, plan_from_config
from freezetui.errors import ConfigError
from freezetui.freeze.minimize import added_rules
from freezetui.freeze.plan import FreezePlan, FreezeTotals
from freezetui.freeze.rules import Rule, overlay
from freezetui.freeze.tree import ParamTree
from freezetui.model_spec import ModelSpec
from freezetui.recognition.architecture import (
    Architecture,
    from_checkpoint,
    from_config,
    from_user,
    moved_path,
)
from freezetui.recognition.catalog import in_module_order, recognize
from freezetui.sanity.report import SanityReport

if TYPE_CHECKING:
    from freezetui.freeze.presets import Preset
    from freezetui.sanity.protocol import CheckRequest


class Options(msgspec.Struct, frozen=True):
    """What the command line said.

    Attributes:
        source: the checkpoint: a path or a URL of a file or a folder.
        more: further files that are opened as one with it.
        key: which nested dict holds the state_dict; None chooses.
        config: the config to open with and to save to; None means `NAME.freeze.yaml` beside it.
        model: what builds the model; without an architecture the config or recognition decides.
        device, steps, timeout: of the check; the timeout in seconds.
    """

    source: str
    more: tuple[str, ...] = ()
    key: str | None = None
    config: Path | None = None
    model: ModelSpec = ModelSpec()
    device: str = "auto"
    steps: int = 3
    timeout: float | None = None


class Session:
    """The open checkpoint and everything chosen about it.

    Args:
        progress: told in a few words how far the opening is, where it takes more than one file.

    Attributes:
        options: what the command line said.
        checkpoint, tree, plan: what is open.
        config: as on disk; None where nothing is saved yet.
        config_path: where saving goes.
        problem: why the config beside the checkpoint could not be read; None where it could.
        differences: how this model differs from the one the config was made for, one line each.
        architecture: what the sanity step builds.
        named_anew: whether a person has named another since the config was saved.
        report: of the last sanity step; None before the first.

    Raises:
        CheckpointError: the source is no checkpoint.
        ConfigError: the config cannot be read.
    """

    def __init__(self, options: Options, progress: Callable[[str], None] = lambda text: None) -> None:
        self.options = options
        sources = [options.source, *options.more]
        self.checkpoint = open_checkpoint(sources, key=options.key, progress=progress)
        self.config_path = options.config or default_path(*sources)
        self._recognition = recognize(self.checkpoint.tensors)
        self._detected = from_checkpoint(self.checkpoint, self._recognition)
        tensors = in_module_order(self.checkpoint, self._recognition)
        self.tree = ParamTree(tensors, root=self.config_path.name.removesuffix(SUFFIX))
        self.config: ConfigData | None = None
        self.differences: tuple[str, ...] = ()
        self._fits = True
        self._seen = b""
        self.problem: ConfigError | None = None
        self.plan = FreezePlan(self.tree, self._read_config())
        self._saved = self.plan.mask()
        self.named_anew = False
        self.report: SanityReport | None = None
        self._checked = b""
        self.architecture = self._settle_architecture()

    def _read_config(self) -> bytes | None:
        """What the config on disk selects; None without one. Only one that was asked for must be good."""
        if self.options.config is None and not self.config_path.exists():
            return None
        from freezetui.config.codec import read_config  # YAML, which a start without a config does not need

        self._seen = content_of(self.config_path)
        try:
            self.config = read_config(self.config_path)
        except ConfigError as error:
            if self.options.config is not None:
                raise
            self.problem = error
            return None
        reading = plan_from_config(self.config, self.tree)
        self.differences, self._fits = reading.differences, reading.fits
        return reading.mask

    def _settle_architecture(self) -> Architecture:
        """Return what the command line names, else the config, else what the checkpoint tells of itself."""
        given, found = self.options.model, self._detected
        if given.architecture:
            return from_user(given, found)
        if self.config is not None and self._fits:
            found = from_config(self.config.model, self.config_path.parent, found)
        elif self.config is not None and self.config.model.architecture and not found.model.architecture:
            self.differences += (f"that model was built by {self.config.model.architecture}",)
        model = ModelSpec(
            found.model.architecture,
            {**found.model.arguments, **given.arguments},
            given.input or found.model.input,
        )
        return msgspec.structs.replace(found, model=model)

    def choose(self, preset: tuple[Preset, int] | None, rules: tuple[Rule, ...]) -> None:
        """Choose anew: a preset or training everything, then rules from top to bottom.

        Raises:
            PatternError: a rule names nothing, or the model has not what the preset trains.
        """
        from freezetui.freeze.presets import chosen

        mask = chosen(*preset, self.tree) if preset else b"\1" * len(self.tree.tensors)
        self.plan.replace(overlay(rules, self.tree, bytearray(mask)))

    def name_architecture(self, model: ModelSpec) -> None:
        """Set what builds the model, as the user named it; without an architecture only tensors are checked.

        The report of another model's check is forgotten.
        """
        architecture = from_user(model, self._detected)
        if architecture != self.architecture:
            self.report = None
            self.named_anew = bool(model.architecture)
        self.architecture = architecture

    def trust_architecture(self) -> None:
        """Allow what the config names to be imported and run, as the user confirmed."""
        self.architecture = msgspec.structs.replace(self.architecture, trusted=True)

    @property
    def span(self) -> tuple[int, int]:
        """All tensors."""
        return 0, len(self.tree.tensors)

    @property
    def totals(self) -> FreezeTotals:
        """Of the whole model."""
        return self.plan.totals()

    @property
    def saved_totals(self) -> FreezeTotals:
        """Of the choice on disk, or of training everything."""
        return FreezePlan(self.tree, self._saved).totals()

    @property
    def unsaved(self) -> bool:
        """Whether the choice differs from the config that was saved; a fresh one that trains all does not."""
        return self.named_anew or self.plan.mask() != self._saved

    @property
    def changed_on_disk(self) -> bool:
        """Whether somebody else has written the config since it was read or saved here."""
        content = content_of(self.config_path)
        return content != self._seen and content != b""

    @property
    def report_is_stale(self) -> bool:
        """Whether the choice has changed since the last sanity step."""
        return self.report is not None and self.plan.mask() != self._checked

    def changes(self) -> tuple[Rule, ...]:
        """The rules that lead from what is on disk (or from training everything) to this choice."""
        return added_rules(self.tree, self.plan.mask(), self._saved)

    def written(self, path: Path | None = None) -> ConfigData:
        """The config that saving to `path` would write."""
        folder = Path(os.path.realpath(path or self.config_path)).parent
        built_by = self.architecture.model
        model = ModelSection(
            checkpoint=_told(self.options.source, folder),
            architecture=moved_path(built_by.architecture, Path(), folder),
            arguments=built_by.arguments if built_by.architecture else {},
            input=built_by.input,
        )
        return config_from_plan(self.plan, model, self.config)

    def why_not_write(self, target: Path) -> str:
        """What a person should know before `target` is written over; "" where nothing is lost."""
        if target != self.config_path:
            return "The file is there already." if target.exists() else ""
        if self.problem is not None:
            return f"{self.problem.message} It is kept as {set_aside_name(target).name}."
        if self.changed_on_disk:
            return "It has changed on disk since it was read here."
        return "It was made for another model." if self.differences else ""

    def unreadable(self, target: Path) -> bool:
        """Whether `target` is the config that could not be read."""
        return self.problem is not None and target == self.config_path

    def save(self, path: Path | None = None, config: ConfigData | None = None) -> Path:
        """Write the config atomically; returns where it went.

        A file there that could not be read is set aside first, as `set_aside_name` says.

        Args:
            config: what `written` gave for this path, where it was called already.

        Raises:
            ConfigError: it cannot be written there.
        """
        from freezetui.config.codec import write_config

        target = path or self.config_path
        config = config or self.written(target)
        if self.unreadable(target) and target.exists():
            target.rename(set_aside_name(target))
        write_config(target, config)
        self.config, self.config_path = config, target
        self.differences, self.problem = (), None
        self._saved, self.named_anew = self.plan.mask(), False
        self._seen = content_of(target)
        return target

    def request(self, config: ConfigData | None = None) -> CheckRequest:
        """Return the check of this plan, which `written` gave as `config` where it was called already."""
        from freezetui.sanity.protocol import CheckRequest  # the first screen needs none

        return CheckRequest(
            checkpoint=self.options.source,
            more=self.options.more,
            key=self.options.key,
            model=self.architecture.model,
            recognition=self._recognition,
            config=config or self.written(),
            device=self.options.device,
            steps=self.options.steps,
        )

    def checked(self, report: SanityReport, mask: bytes) -> None:
        """A sanity step of the choice `mask` has ended."""
        self.report, self._checked = report, mask
        if report.input and not self.architecture.model.input:
            model = msgspec.structs.replace(self.architecture.model, input=report.input)
            self.architecture = msgspec.structs.replace(self.architecture, model=model)


def _told(source: str, folder: Path) -> str:
    """The checkpoint as its config in `folder` names it: relative, or a URL without its secrets."""
    if is_url(source):
        return shown_url(source)
    return Path(os.path.relpath(os.path.realpath(source), folder)).as_posix()
