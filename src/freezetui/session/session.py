"""Session: the open checkpoint, the plan and the config it is saved to. Does not import widgets."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from freezetui.checkpoint.open import open_checkpoint
from freezetui.config.paths import SUFFIX, default_path, is_special, relative_source
from freezetui.config.schema import ConfigData, ModelSection
from freezetui.config.sync import config_from_plan
from freezetui.freeze.minimize import added_rules
from freezetui.freeze.plan import FreezePlan, FreezeTotals, moved_mask, stored_mask
from freezetui.freeze.rules import Action, Rule, overlay
from freezetui.freeze.tree import ParamTree
from freezetui.model_spec import ModelSpec
from freezetui.recognition.architecture import from_checkpoint, from_user, moved_path
from freezetui.recognition.catalog import in_module_order, recognize
from freezetui.sanity.report import SanityReport
from freezetui.session.as_opened import has_changed, why_not_as_opened
from freezetui.session.describing import ModelDescriber
from freezetui.session.options import Options
from freezetui.session.saved_config import SavedConfig
from freezetui.session.settling import settled

if TYPE_CHECKING:
    from concurrent.futures import Future

    from freezetui.description.types import Description
    from freezetui.freeze.presets import Choice
    from freezetui.freeze.structure import Structure
    from freezetui.sanity.protocol import CheckRequest


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
        description: of the live model; None before the describer has told it.
        undescribed: why the describer could not tell it; "" before it was asked.
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
        self.architecture = settled(options.model, self._detected, self.saved)
        self.description: Description | None = None
        self.undescribed = ""
        self._file_tree = self.tree
        self._describer = ModelDescriber(options.python, self.checkpoint, tensors, self._recognition)

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

    @property
    def checkpoint_changed(self) -> bool:
        """Whether a file of the checkpoint has been written to or replaced since it was opened."""
        return has_changed(self.checkpoint)

    def why_not_as_opened(self) -> str:
        """Return how names or shapes of the checkpoint on disk differ from what is open; "" if not."""
        return why_not_as_opened(self.options, self.checkpoint) if self.checkpoint_changed else ""

    def choose(self, preset: Choice | None, rules: tuple[Rule, ...], default: Action = "train") -> None:
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
            start = bytes(chosen(preset, self.tree, self.structure))
        self.plan.replace(overlay(rules, self.tree, bytearray(start)))
        self.stages.give(default, (*added_rules(self.tree, start, base), *rules))

    def name_architecture(self, model: ModelSpec) -> None:
        """Set the architecture chosen by the user; with an empty one only the tensors are checked.

        Discards the report of a check of another architecture.
        """
        architecture = from_user(model, self._detected)
        if architecture != self.architecture:
            self.report = self.description = None
            self.undescribed = ""
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
        """Return the config that saving to `path` would write; the same with and without a description."""
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
        given = self.stages.given()
        masks = {stage: self._in_file_order(mask) for stage, mask in self.stages.masks().items()}
        saved = {stage: self._in_file_order(mask) for stage, mask in self.saved.masks.items()}
        edited = {s: m for s, m in masks.items() if s is not None and m != saved.get(s)}
        own = {stage: rules for stage, (_, rules) in given.items() if stage is not None}
        common = FreezePlan(self._file_tree, masks[None])
        return config_from_plan(common, model, self.config, given.get(None), edited, own)

    def _in_file_order(self, mask: bytes) -> bytes:
        same = self.tree is self._file_tree
        return mask if same else moved_mask(mask, self.tree, self._file_tree)

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
            training=self.options.training,
        )

    @property
    def describable(self) -> bool:
        """Whether the describer can build the model: a library's, never user code."""
        return self._describer.can_build(self.architecture.model)

    @property
    def structure(self) -> Structure | None:
        """The head and the blocks of the live model; None if it is not known."""
        return self.description.structure if self.description is not None else None

    def describe(self) -> Future[Description]:
        """Ask the describer for a description, which `take_in` takes; starts its process if none runs."""
        return self._describer.describe(self.architecture.model)

    def tree_of(self, description: Description) -> ParamTree:
        """Return the tree in the order of the live model, with its ties; may be called from any thread."""
        from freezetui.description.tree import described_tree

        return described_tree(self._file_tree, description.names)

    def take_in(self, description: Description, tree: ParamTree | None = None) -> bool:
        """Put the tree into the order of the live model; the plan and its undo history stay.

        Args:
            description: of the architecture that is named now.
            tree: what `tree_of` has returned for it, if it was called.

        Returns:
            whether `tree` and `plan` are new ones.
        """
        self.description = description
        tree = tree or self.tree_of(description)
        if tree is self.tree:
            return False
        old, self.tree = self.tree, tree

        def moved(mask: bytes) -> bytes:
            return moved_mask(mask, old, tree) if mask else b""

        self.stages.move_to(tree)
        self.saved.masks = {stage: moved(mask) for stage, mask in self.saved.masks.items()}
        self._checked = self._checked[0], moved(self._checked[1])
        return True

    def close(self) -> None:
        """End the describer's process, if one runs."""
        self._describer.close()

    def checked(self, report: SanityReport, mask: bytes) -> None:
        """Store the report of a check of the plan `mask`, with the checkpoint's names."""
        self.report, self._checked = report.in_file_names(), (report.stage, mask)
        if report.input and not self.architecture.model.input:
            model = msgspec.structs.replace(self.architecture.model, input=report.input)
            self.architecture = msgspec.structs.replace(self.architecture, model=model)
