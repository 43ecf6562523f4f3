"""Session: the open checkpoint, the plan and the config it is saved to. Does not import widgets."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from freezetui.checkpoint.open import open_checkpoint
from freezetui.checkpoint.sources.urls import is_url, shown_url
from freezetui.config.paths import SUFFIX, default_path
from freezetui.config.schema import ConfigData, ModelSection
from freezetui.config.sync import config_from_plan
from freezetui.freeze.minimize import added_rules
from freezetui.freeze.plan import FreezePlan, FreezeTotals, moved_mask
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
from freezetui.session.describing import ModelDescriber
from freezetui.session.saved_config import SavedConfig

if TYPE_CHECKING:
    from concurrent.futures import Future

    from freezetui.description.types import Description
    from freezetui.freeze.presets import Choice
    from freezetui.freeze.structure import Structure
    from freezetui.sanity.protocol import CheckRequest


class Options(msgspec.Struct, frozen=True):
    """The options of the command line.

    Attributes:
        source: the checkpoint: a path or a URL of a file or a directory.
        more: further files that are opened together with it.
        key: which nested dict holds the state_dict; None chooses one.
        config: the config to load and to save to; None means `NAME.freeze.yaml` next to the checkpoint.
        model: what builds the model; without an architecture the config or recognition decides.
        device, steps, timeout: for the check; the timeout in seconds.
        python: the interpreter of the describer and the check; "" for this one.
        engine: whether the describer may start unasked.
    """

    source: str
    more: tuple[str, ...] = ()
    key: str | None = None
    config: Path | None = None
    model: ModelSpec = ModelSpec()
    device: str = "auto"
    steps: int = 3
    timeout: float | None = None
    python: str = ""
    engine: bool = True


class Session:
    """The open checkpoint, its plan and its config.

    Args:
        progress: receives short progress messages while more than one file is opened.

    Attributes:
        options: the options of the command line.
        checkpoint, tree, plan: what is open.
        saved: the config on disk.
        architecture: what the check builds.
        description: of the live model; None before the describer has told it.
        undescribed: why the describer could not tell it; "" before it was asked.
        named_anew: whether the user has set another one since the config was saved.
        report: of the last check; None before the first.

    Raises:
        CheckpointError: the source is not a checkpoint.
        ConfigError: the config cannot be read.
    """

    def __init__(self, options: Options, progress: Callable[[str], None] = lambda text: None) -> None:
        self.options = options
        sources = [options.source, *options.more]
        self.checkpoint = open_checkpoint(sources, key=options.key, progress=progress)
        path = options.config or default_path(*sources)
        self._recognition = recognize(self.checkpoint.tensors)
        self._detected = from_checkpoint(self.checkpoint, self._recognition)
        tensors = in_module_order(self.checkpoint, self._recognition)
        self.tree = ParamTree(tensors, root=path.name.removesuffix(SUFFIX))
        self.saved = SavedConfig(path, required=options.config is not None)
        self.plan = self.saved.read(self.tree)
        self.named_anew = False
        self.report: SanityReport | None = None
        self._checked = b""
        self.architecture = self._settle_architecture()
        self.description: Description | None = None
        self.undescribed = ""
        self._file_tree = self.tree
        self._describer = ModelDescriber(options.python, self.checkpoint, tensors, self._recognition)

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
            self.saved.differences += (f"that model was built by {self.config.model.architecture}",)
        model = ModelSpec(
            found.model.architecture,
            {**found.model.arguments, **requested.arguments},
            requested.input or found.model.input,
        )
        return msgspec.structs.replace(found, model=model)

    def choose(self, preset: Choice | None, rules: tuple[Rule, ...]) -> None:
        """Replace the plan: a preset or training everything, then rules from top to bottom.

        Raises:
            PatternError: a rule or the preset matches nothing in the model.
        """
        from freezetui.freeze.presets import chosen

        mask = chosen(preset, self.tree, self.structure) if preset else b"\1" * len(self.tree.tensors)
        self.plan.replace(overlay(rules, self.tree, bytearray(mask)))

    def name_architecture(self, model: ModelSpec) -> None:
        """Set the architecture chosen by the user; with an empty one only the tensors are checked.

        Discards the report of a check of another architecture.
        """
        architecture = from_user(model, self._detected)
        if architecture != self.architecture:
            self.report = self.description = None
            self.undescribed = ""
            self.named_anew = bool(model.architecture)
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
        """The totals of the saved plan; everything trainable if none is saved."""
        return FreezePlan(self.tree, self.saved.mask).totals()

    @property
    def unsaved(self) -> bool:
        """Whether the plan differs from the saved config; without one, from everything trainable."""
        return self.named_anew or self.plan.mask() != self.saved.mask

    @property
    def report_is_stale(self) -> bool:
        """Whether the plan has changed since the last check."""
        return self.report is not None and self.plan.mask() != self._checked

    def changes(self) -> tuple[Rule, ...]:
        """Return the rules that lead from the saved plan (else everything trainable) to this plan."""
        return added_rules(self.tree, self.plan.mask(), self.saved.mask)

    def written(self, path: Path | None = None) -> ConfigData:
        """Return the config that saving to `path` would write; the same with and without a description."""
        directory = Path(os.path.realpath(path or self.config_path)).parent
        built_by = self.architecture.model
        model = ModelSection(
            checkpoint=_relative_source(self.options.source, directory),
            architecture=moved_path(built_by.architecture, Path(), directory),
            arguments=built_by.arguments if built_by.architecture else {},
            input=built_by.input,
        )
        plan = self.plan
        if self.tree is not self._file_tree:
            plan = FreezePlan(self._file_tree, moved_mask(plan.mask(), self.tree, self._file_tree))
        return config_from_plan(plan, model, self.config)

    def save(self, path: Path | None = None, config: ConfigData | None = None) -> Path:
        """Write the config atomically, and return its path; see `SavedConfig.save`.

        Args:
            config: the result of `written` for this path, if it was already called.

        Raises:
            ConfigError: the file cannot be written.
        """
        target = path or self.config_path
        self.saved.save(target, config or self.written(target), self.plan.mask())
        self.named_anew = False
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
            device=self.options.device,
            steps=self.options.steps,
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
        self.plan = self.plan.moved_to(tree)
        self.saved.mask = moved_mask(self.saved.mask, old, tree)
        self._checked = moved_mask(self._checked, old, tree) if self._checked else b""
        return True

    def close(self) -> None:
        """End the describer's process, if one runs."""
        self._describer.close()

    def checked(self, report: SanityReport, mask: bytes) -> None:
        """Store the report of a check of the plan `mask`."""
        self.report, self._checked = report, mask
        if report.input and not self.architecture.model.input:
            model = msgspec.structs.replace(self.architecture.model, input=report.input)
            self.architecture = msgspec.structs.replace(self.architecture, model=model)


def _relative_source(source: str, directory: Path) -> str:
    """Return the checkpoint's path relative to `directory`, or its URL without credentials."""
    if is_url(source):
        return shown_url(source)
    return Path(os.path.relpath(os.path.realpath(source), directory)).as_posix()
