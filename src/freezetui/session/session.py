"""Session: the open checkpoint, the plan and the config it is saved to. Does not import widgets."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from freezetui.checkpoint.open import open_checkpoint
from freezetui.checkpoint.sources.base import version_of_status
from freezetui.config.paths import SUFFIX, default_path, is_special, relative_source
from freezetui.config.schema import ConfigData, ModelSection, fingerprint
from freezetui.config.sync import config_from_plan
from freezetui.errors import FreezeTuiError
from freezetui.freeze.minimize import added_rules
from freezetui.freeze.plan import FreezePlan, FreezeTotals, stored_mask
from freezetui.freeze.rules import Action, Rule, overlay
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
from freezetui.session.saved_config import SavedConfig
from freezetui.text import printable

if TYPE_CHECKING:
    from freezetui.freeze.presets import Preset
    from freezetui.sanity.protocol import CheckRequest


#: Files of a checkpoint that are looked at for changes.
_MAX_LOOKED_AT = 8


class Options(msgspec.Struct, frozen=True):
    """The options of the command line.

    Attributes:
        source: the checkpoint: a path or a URL of a file or a directory.
        more: further files that are opened together with it.
        key: which nested dict holds the state_dict; None chooses one.
        config: the config to load and to save to; None means `NAME.freeze.yaml` next to the checkpoint.
        model: what builds the model; without an architecture the config or recognition decides.
        device, steps, timeout: for the check; the timeout in seconds.
        stage: the stage of the config that is meant; None for the common rules alone.
    """

    source: str
    more: tuple[str, ...] = ()
    key: str | None = None
    config: Path | None = None
    model: ModelSpec = ModelSpec()
    device: str = "auto"
    steps: int = 3
    timeout: float | None = None
    stage: str | None = None


class Session:
    """The open checkpoint, its plan and its config.

    Args:
        progress: receives short progress messages while more than one file is opened.

    Attributes:
        options: the options of the command line.
        checkpoint, tree: what is open.
        stages: the plans of the common rules and of every stage.
        saved: the config on disk.
        architecture: what the check builds.
        architecture_changed: whether the user has set another one since the config was saved.
        report: of the last check; None before the first.

    Raises:
        CheckpointError: the source is not a checkpoint.
        ConfigError: the config cannot be read.
    """

    def __init__(self, options: Options, progress: Callable[[str], None] = lambda text: None) -> None:
        self.options = options
        sources = [options.source, *options.more]
        self.checkpoint = open_checkpoint(sources, key=options.key, progress=progress)
        beside = default_path(*sources)
        path = options.config or beside
        self._recognition = recognize(self.checkpoint.tensors)
        self._detected = from_checkpoint(self.checkpoint, self._recognition)
        tensors = in_module_order(self.checkpoint, self._recognition)
        self.tree = ParamTree(tensors, root=beside.name.removesuffix(SUFFIX))
        self.saved = SavedConfig(path, required=options.config is not None)
        self.stages = self.saved.read(self.tree)
        if options.stage is not None:
            self.stages.show(options.stage)
        self.architecture_changed = False
        self.report: SanityReport | None = None
        self._checked: tuple[str | None, bytes] = None, b""
        self._given: dict[str | None, tuple[bytes, Action, tuple[Rule, ...]]] = {}
        self.architecture = self._settle_architecture()

    @property
    def plan(self) -> FreezePlan:
        """The plan that is shown and edited: of the common rules, or of one stage."""
        return self.stages.plan

    @property
    def config(self) -> ConfigData | None:
        """The config as on disk; None if nothing is saved yet."""
        return self.saved.config

    @property
    def config_path(self) -> Path:
        """Where the config is saved."""
        return self.saved.path

    @property
    def differences(self) -> tuple[str, ...]:
        """How this model differs from the one the config was saved for, one line each."""
        return self.saved.differences

    def _settle_architecture(self) -> Architecture:
        """Return the architecture of the command line, else of the config, else of the checkpoint."""
        requested, found = self.options.model, self._detected
        if requested.architecture:
            return from_user(requested, found)
        if self.config is not None and self.saved.fits:
            found = from_config(self.config.model, self.config_path.parent, found)
        elif self.config is not None and self.config.model.architecture and not found.model.architecture:
            self.saved.differences += (
                printable(f"that model was built by {self.config.model.architecture}"),
            )
        model = ModelSpec(
            found.model.architecture,
            {**found.model.arguments, **requested.arguments},
            requested.input or found.model.input,
        )
        return msgspec.structs.replace(found, model=model)

    @property
    def checkpoint_changed(self) -> bool:
        """Whether a file of the checkpoint has been written to or replaced since it was opened."""
        for part in self.checkpoint.parts[:_MAX_LOOKED_AT]:
            try:
                if part.version and version_of_status(os.stat(part.source)) != part.version:  # noqa: PTH116
                    return True
            except OSError:
                return True
        return False

    def why_not_as_opened(self) -> str:
        """Return how names or shapes of the checkpoint on disk differ from what is open; "" if not."""
        if not self.checkpoint_changed:
            return ""
        changed = f"{self.options.source} has changed since it was opened"
        try:
            now = open_checkpoint([self.options.source, *self.options.more], key=self.options.key)
        except FreezeTuiError as error:
            return f"{changed}: {error.message}"
        if fingerprint(now.tensors) == fingerprint(self.tree.tensors):
            return ""
        return f"{changed}: it has other names or shapes now. Open it again to plan for them."

    def choose(
        self, preset: tuple[Preset, int] | None, rules: tuple[Rule, ...], default: Action = "train"
    ) -> None:
        """Replace the plan: a preset, or where a plan starts, then the rules.

        The common rules start with the default, and with what the file stores as frozen; a stage with what
        the common rules select. Saving writes the rules as given, in their order, below those of the preset.

        Raises:
            PatternError: a rule or the preset matches nothing in the model.
        """
        from freezetui.freeze.presets import chosen

        stage = self.stages.shown
        base = bytes([default == "train"]) * len(self.tree.tensors)
        if stage is not None:
            base = self.stages.masks()[None]
        start = base if stage is not None or default == "freeze" else stored_mask(self.tree)
        if preset:
            start = bytes(chosen(*preset, self.tree))
        self.plan.replace(overlay(rules, self.tree, bytearray(start)))
        self._given[stage] = self.plan.mask(), default, (*added_rules(self.tree, start, base), *rules)

    def name_architecture(self, model: ModelSpec) -> None:
        """Set the architecture chosen by the user; with an empty one only the tensors are checked.

        Discards the report of a check of another architecture.
        """
        architecture = from_user(model, self._detected)
        if architecture != self.architecture:
            self.report = None
            self.architecture_changed = bool(model.architecture)
        self.architecture = architecture

    def trust_architecture(self) -> None:
        """Allow the config's architecture to be imported and run, after the user has confirmed it."""
        self.architecture = msgspec.structs.replace(self.architecture, trusted=True)

    @property
    def totals(self) -> FreezeTotals:
        """The totals of the whole model."""
        return self.plan.totals()

    @property
    def saved_totals(self) -> FreezeTotals:
        """The totals of the saved plan; as the checkpoint stores if none is saved."""
        return FreezePlan(self.tree, self._saved_mask).totals()

    @property
    def _saved_mask(self) -> bytes:
        """The mask of the shown stage as on disk; a new stage begins with that of the common rules."""
        return self.saved.masks.get(self.stages.shown, self.saved.masks[None])

    @property
    def unsaved(self) -> bool:
        """Whether the plan differs from the saved config; without one, from what the checkpoint stores."""
        return self.architecture_changed or self.stages.masks() != self.saved.masks

    @property
    def report_is_stale(self) -> bool:
        """Whether the last check was of another plan, or of another stage."""
        return self.report is not None and (self.stages.shown, self.plan.mask()) != self._checked

    def changes(self) -> tuple[Rule, ...]:
        """Return the rules that lead from the saved plan (else what the checkpoint stores) to this plan."""
        return added_rules(self.tree, self.plan.mask(), self._saved_mask)

    def written(self, path: Path | None = None) -> ConfigData:
        """Return the config that saving to `path` would write."""
        target = path or self.config_path
        # What is not a file has no directory that its paths could be relative to.
        directory = Path() if is_special(target) else Path(os.path.realpath(target)).parent
        built_by = self.architecture.model
        model = ModelSection(
            checkpoint=relative_source(self.options.source, directory),
            architecture=moved_path(built_by.architecture, Path(), directory),
            arguments=built_by.arguments if built_by.architecture else {},
            input=built_by.input,
        )
        masks = self.stages.masks()
        given = {
            stage: (default, rules)
            for stage, (mask, default, rules) in self._given.items()
            if mask == masks[stage]
        }
        edited = {s: m for s, m in masks.items() if s is not None and m != self.saved.masks.get(s)}
        own = {stage: rules for stage, (_, rules) in given.items() if stage is not None}
        common = FreezePlan(self.tree, masks[None])
        return config_from_plan(common, model, self.config, given.get(None), edited, own)

    def save(self, path: Path | None = None, config: ConfigData | None = None) -> Path:
        """Write the config atomically, and return its path; see `SavedConfig.save`.

        Args:
            config: the result of `written` for this path, if it was already called.

        Raises:
            ConfigError: the file cannot be written.
        """
        target = path or self.config_path
        self.saved.save(target, config or self.written(target), self.stages.masks())
        self.architecture_changed = self.architecture_changed and self.saved.path != target
        return target

    def request(self, config: ConfigData | None = None) -> CheckRequest:
        """Return a request to check this plan; `config` is the result of `written`, if already called."""
        from freezetui.sanity.protocol import CheckRequest  # not needed for the first screen

        return CheckRequest(
            checkpoint=self.options.source,
            more=self.options.more,
            key=self.options.key,
            model=self.architecture.model,
            recognition=self._recognition,
            config=config or self.written(),
            stage=self.stages.shown,
            device=self.options.device,
            steps=self.options.steps,
        )

    def checked(self, report: SanityReport, mask: bytes) -> None:
        """Store the report of a check of the plan `mask`, with the checkpoint's names."""
        self.report, self._checked = report.in_file_names(), (report.stage, mask)
        if report.input and not self.architecture.model.input:
            model = msgspec.structs.replace(self.architecture.model, input=report.input)
            self.architecture = msgspec.structs.replace(self.architecture, model=model)
