"""Session: the open checkpoint, the plan and the config it is saved to. Does not import widgets."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import msgspec

from freezetui.config.paths import SUFFIX, default_path
from freezetui.config.schema import ConfigData
from freezetui.freeze.plan import FreezePlan, FreezeTotals
from freezetui.freeze.rules import Action, Rule
from freezetui.freeze.tree import ParamTree
from freezetui.model_spec import ModelSpec
from freezetui.recognition.adapters import adapter_parts
from freezetui.recognition.architecture import from_checkpoint, from_user, model_name
from freezetui.recognition.catalog import in_module_order, recognize
from freezetui.sanity.report import SanityReport
from freezetui.session.architecture import chosen_architecture
from freezetui.session.as_opened import has_changed, read, why_not_as_opened
from freezetui.session.checks import Checks
from freezetui.session.describing import ModelDescriber
from freezetui.session.options import Options
from freezetui.session.saved_config import SavedConfig
from freezetui.session.stage_history import Settings

if TYPE_CHECKING:
    from concurrent.futures import Future

    from freezetui.checkpoint.columns import Columns
    from freezetui.checkpoint.types import Checkpoint
    from freezetui.description.types import Description
    from freezetui.freeze.presets import Choice
    from freezetui.freeze.structure import Structure
    from freezetui.sanity.protocol import CheckRequest
    from freezetui.session.comparison import Comparison
    from freezetui.session.outcome import Outcomes


class Session:
    """The open checkpoint, its plan and its config.

    Args:
        checkpoint, columns: what the options name, if it has been read, and its tensors in their order.

    Attributes:
        options: the options of the command line.
        checkpoint, tree: what is open; file_tree: the same tensors in the order of the file.
        is_adapter: whether the checkpoint holds what PEFT adds to a model, and not the model.
        stages: the plans of the common rules and of every stage, and the settings of the config.
        saved: the config on disk.
        architecture: what the check builds.
        architecture_changed: whether the user has set another one since the config was saved.
        description: of the live model; None until the describer has answered.
        undescribed: why the describer has none; "" before it was asked.
        comparison: with an earlier checkpoint; None without one, or before it is known.
        not_compared: why there is none although it was asked for; "" if nothing went wrong.
        checks: the last check of every stage.
        not_finite: tensors with NaN or infinite values, as far as that is known, with how many of them.

    Raises:
        CheckpointError, ConfigError: the checkpoint (the config) cannot be read.
    """

    def __init__(
        self, options: Options, checkpoint: Checkpoint | None = None, columns: Columns | None = None
    ) -> None:
        self.options, self.checkpoint = options, checkpoint or read(options)
        beside = default_path(*options.sources)
        self._recognition = recognize(self.checkpoint.tensors)
        self._detected = from_checkpoint(self.checkpoint, self._recognition)
        tensors = in_module_order(self.checkpoint, self._recognition)
        self.is_adapter = bool(adapter_parts(tensor.name for tensor in self.checkpoint.tensors))
        fits = (not self._recognition or self._recognition.whole) and not self._detected.misfit
        name = (fits and model_name(self._detected.model)) or beside.name.removesuffix(SUFFIX)
        self.tree = ParamTree(tensors, name, columns=columns if tensors is self.checkpoint.tensors else None)
        self.saved = SavedConfig(options.config or beside, required=options.config is not None)
        self.stages = self.saved.read(self.tree, self.checkpoint.key)
        if options.stage is not None:
            self.stages.show(options.stage)
        self.architecture_changed = False
        self.comparison: Comparison | None = None
        self.checks = Checks(lambda stage: (self.stages.plan_of(stage).mask(), self.stages.settings))
        self.not_finite: dict[str, str] = {}
        self.architecture = chosen_architecture(options.model, self._detected, self.saved)
        self.description: Description | None = None
        self.undescribed, self.not_compared, self.file_tree = "", "", self.tree
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
        """Replace the plan by a preset and by rules; see `choosing.choose`."""
        from freezetui.session.choosing import choose  # not needed for the first screen

        choose(self.stages, self.structure, preset, rules, default)

    def name_architecture(self, model: ModelSpec) -> None:
        """Set the architecture chosen by the user; with an empty one only the tensors are checked.

        Discards the report of a check of another architecture.
        """
        architecture = from_user(model, self._detected)
        if architecture != self.architecture:
            self.description = None
            self.checks.clear()
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
    def saved_mask(self) -> bytes:
        """The mask of the shown stage as on disk; a new stage begins with that of the common rules."""
        return self.saved.masks.get(self.stages.saved_as(self.stages.shown), self.saved.masks[None])

    @property
    def unsaved(self) -> bool:
        """Whether the plan would be lost: it is not in the config, nor what the checkpoint stores.

        A config that was deleted since counts; one that somebody else has written over, if this session
        had saved it.
        """
        gone = self.saved.on_disk
        lost = (self.config is not None and gone == "deleted") or (self.saved.written and gone == "changed")
        edited = self.stages.masks() != self.saved.masks or self.stages.schedule != self.saved.schedule
        return lost or edited or self.architecture_changed or self.stages.settings != self.saved_settings

    @cached_property
    def has_statistics(self) -> bool:
        """Whether the checkpoint has running statistics of norms, which `norm_statistics` is about."""
        return any(tensor.is_statistic for tensor in self.file_tree.tensors)

    @property
    def norm_statistics(self) -> Literal["freeze", "update"]:
        """What becomes of the statistics of norms in frozen modules; see `ConfigData`."""
        return self.stages.settings.norm_statistics

    @property
    def saved_settings(self) -> Settings:
        """The settings on disk, or the defaults."""
        return Settings.of(self.config)

    @property
    def saved_here(self) -> bool:
        """Whether the config on disk says this plan, for this checkpoint."""
        saved = self.saved
        fits = self.config is not None and not saved.differences and saved.problem is None
        return fits and saved.on_disk == "same" and not self.unsaved

    @property
    def report_is_stale(self) -> bool:
        """Whether the last check of the shown stage was of another plan."""
        return self.checks.is_stale(self.stages.shown)

    @property
    def report(self) -> SanityReport | None:
        """The report of the last check of the shown stage; None before the first."""
        return self.checks.report(self.stages.shown)

    @property
    def outcomes(self) -> Outcomes | None:
        """What the last check of the shown stage says about each tensor; None before the first."""
        return self.checks.outcomes(self.stages.shown, self.tree)

    def rename_stage(self, old: str, new: str) -> None:
        """Rename a stage; its plan, what is saved of it and its last check stay."""
        self.stages.rename(old, new)
        self.checks.rename(old, new)

    def step_stages(self, redo: bool) -> str:
        """Undo, or redo, what was done last to the stages themselves; return what that did, "" if nothing."""
        step = self.stages.redo() if redo else self.stages.undo()
        if step is not None and step.renamed is not None:
            self.checks.rename(*(step.renamed if redo else step.renamed[::-1]))
        return "" if step is None else step.said(redo)

    def written(self, path: Path | None = None) -> ConfigData:
        """Return the config that saving to `path` would write; the same with and without a description."""
        from freezetui.session.writing import config_of  # not needed for the first screen

        return config_of(self, path or self.config_path)

    def save(self, path: Path | None = None, config: ConfigData | None = None) -> Path:
        """Write the config atomically, and return its path; see `SavedConfig.save`.

        Args:
            config: the result of `written` for this path, if it was already called.

        Raises:
            ConfigError: the file cannot be written.
        """
        target = path or self.config_path
        self.saved.save(target, config or self.written(target), self.stages)
        self.architecture_changed = self.architecture_changed and self.saved.path != target
        return target

    def request(self, config: ConfigData | None = None, stage: str | None = None) -> CheckRequest:
        """Return a request to check a stage, the shown one if None.

        Args:
            config: the result of `written`, if already called.
        """
        from freezetui.session.check_request import check_request  # not needed for the first screen

        return check_request(self, self._recognition, config or self.written(), stage)

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

        return described_tree(self.file_tree, description.names)

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
            return FreezePlan(old, mask).moved_to(tree).mask() if mask else b""

        self.stages.move_to(tree)
        self.saved.masks = {stage: moved(mask) for stage, mask in self.saved.masks.items()}
        self.checks.move(moved)
        return True

    def close(self) -> None:
        """End the describer's process, if one runs."""
        self._describer.close()

    def checked(self, report: SanityReport, mask: bytes, settings: Settings | None = None) -> None:
        """Store the report of a check of the plan `mask`, with the settings then, else those of now."""
        self.checks.store(report, mask, settings or self.stages.settings)
        for name in report.in_file_names().tensors_of("not_finite_weight"):
            self.not_finite.setdefault(name, "")
        if report.input and not self.architecture.model.input:
            model = msgspec.structs.replace(self.architecture.model, input=report.input)
            self.architecture = msgspec.structs.replace(self.architecture, model=model)
