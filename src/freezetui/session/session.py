"""Session: the open checkpoint, the plan and the config it is saved to. Knows no widgets."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from freezetui.checkpoint.open import open_checkpoint
from freezetui.checkpoint.sources.urls import is_url, shown_url
from freezetui.config.paths import SUFFIX, default_path
from freezetui.config.schema import ConfigData, ModelSection
from freezetui.config.sync import config_from_plan
from freezetui.freeze.minimize import added_rules
from freezetui.freeze.plan import FreezePlan, FreezeTotals
from freezetui.freeze.rules import Rule, overlay
from freezetui.freeze.tree import ParamTree
from freezetui.recognition.architecture import Architecture, known, moved_path, named, remembered
from freezetui.recognition.catalog import in_module_order, recognize
from freezetui.sanity.report import SanityReport
from freezetui.session.saved_config import SavedConfig

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
        architecture: what builds the model; "" leaves it to the config or to recognition.
        arguments: keyword arguments for it.
        input: shape of one example, without the batch dimension; () finds one.
        device, steps, timeout: of the sanity step; the timeout in seconds.
    """

    source: str
    more: tuple[str, ...] = ()
    key: str | None = None
    config: Path | None = None
    architecture: str = ""
    arguments: dict[str, Any] = {}
    input: tuple[int, ...] = ()
    device: str = "auto"
    steps: int = 3
    timeout: float | None = None


class Session:
    """The open checkpoint and all that is planned for it.

    Args:
        progress: told in a few words how far the opening is, where it takes more than one file.

    Attributes:
        options: what the command line said.
        checkpoint, tree, plan: what is open.
        saved: the config on disk.
        architecture: what the check builds.
        named_anew: whether the user has named another since the config was saved.
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
        recognition = recognize(self.checkpoint.tensors)
        self._told = known(self.checkpoint, recognition)
        tensors = in_module_order(self.checkpoint, recognition)
        self.tree = ParamTree(tensors, root=path.name.removesuffix(SUFFIX))
        self.saved = SavedConfig(path, required=options.config is not None)
        self.plan = self.saved.read(self.tree)
        self.named_anew = False
        self.report: SanityReport | None = None
        self._checked = b""
        self.architecture = self._settle_architecture()

    @property
    def config(self) -> ConfigData | None:
        """The config as on disk; None where nothing is saved yet."""
        return self.saved.config

    @property
    def config_path(self) -> Path:
        """Where saving goes."""
        return self.saved.path

    @property
    def differences(self) -> tuple[str, ...]:
        """How this model differs from the one the config was made for, one line each."""
        return self.saved.differences

    def _settle_architecture(self) -> Architecture:
        """The command line wins over the config, the config over what the checkpoint tells of itself."""
        options = self.options
        if options.architecture:
            return named(options.architecture, options.arguments, options.input, self._told)
        found = self._told
        if self.config is not None and self.saved.fits:
            found = remembered(self.config.model, self.config_path.parent, found)
        elif self.config is not None and self.config.model.architecture and not found.spec:
            self.saved.differences += (f"that model was built by {self.config.model.architecture}",)
        arguments = {**found.arguments, **options.arguments}
        return msgspec.structs.replace(found, arguments=arguments, input=options.input or found.input)

    def choose(self, preset: tuple[Preset, int] | None, rules: tuple[Rule, ...]) -> None:
        """Replace the plan: a preset or training everything, then rules from top to bottom.

        Raises:
            PatternError: a rule names nothing, or the model has not what the preset trains.
        """
        from freezetui.freeze.presets import chosen

        mask = chosen(*preset, self.tree) if preset else b"\1" * len(self.tree.tensors)
        self.plan.replace(overlay(rules, self.tree, bytearray(mask)))

    def name_architecture(
        self, spec: str, arguments: dict[str, Any] | None = None, input: tuple[int, ...] = ()
    ) -> None:
        """A person names what builds the model; "" checks without a forward pass.

        The report of another model's sanity step is forgotten.
        """
        architecture = named(spec, arguments or {}, input, self._told)
        if architecture != self.architecture:
            self.report = None
            self.named_anew = bool(spec)
        self.architecture = architecture

    def trust_architecture(self) -> None:
        """A person allows what the config names to be imported and run."""
        self.architecture = msgspec.structs.replace(self.architecture, asked=True)

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
        """Of the plan on disk, or of training everything."""
        return FreezePlan(self.tree, self.saved.mask).totals()

    @property
    def unsaved(self) -> bool:
        """Whether the plan differs from the config that was saved; a new one that trains all does not."""
        return self.named_anew or self.plan.mask() != self.saved.mask

    @property
    def report_is_stale(self) -> bool:
        """Whether the plan has changed since the last check."""
        return self.report is not None and self.plan.mask() != self._checked

    def changes(self) -> tuple[Rule, ...]:
        """Return the rules that lead from what is on disk (or from training everything) to this plan."""
        return added_rules(self.tree, self.plan.mask(), self.saved.mask)

    def written(self, path: Path | None = None) -> ConfigData:
        """Return the config that saving to `path` would write."""
        folder = Path(os.path.realpath(path or self.config_path)).parent
        model = ModelSection(
            checkpoint=_told(self.options.source, folder),
            architecture=moved_path(self.architecture.spec, Path(), folder),
            arguments=self.architecture.arguments if self.architecture.spec else {},
            input=self.architecture.input,
        )
        return config_from_plan(self.plan, model, self.config)

    def save(self, path: Path | None = None, config: ConfigData | None = None) -> Path:
        """Write the config atomically, and return where it went; see `SavedConfig.save`.

        Args:
            config: what `written` gave for this path, where it was called already.

        Raises:
            ConfigError: it cannot be written there.
        """
        target = path or self.config_path
        self.saved.save(target, config or self.written(target), self.plan.mask())
        self.named_anew = False
        return target

    def request(self, config: ConfigData | None = None) -> CheckRequest:
        """The sanity step of this choice, which `written` gave as `config` where it was called already."""
        from freezetui.sanity.protocol import CheckRequest  # the first screen needs none

        config = config or self.written()
        return CheckRequest(
            checkpoint=self.options.source,
            more=self.options.more,
            key=self.options.key,
            architecture=self.architecture.spec,
            bare=self.architecture.bare,
            arguments=self.architecture.arguments,
            input=self.architecture.input,
            rules=config.rules,
            default=config.default,
            norm_statistics=config.norm_statistics,
            device=self.options.device,
            steps=self.options.steps,
        )

    def checked(self, report: SanityReport, mask: bytes) -> None:
        """Take in the report of a check of the plan `mask`."""
        self.report, self._checked = report, mask
        if report.input and not self.architecture.input:
            self.architecture = msgspec.structs.replace(self.architecture, input=report.input)


def _told(source: str, folder: Path) -> str:
    """Return the checkpoint as its config in `folder` names it: relative, or a URL without its secrets."""
    if is_url(source):
        return shown_url(source)
    return Path(os.path.relpath(os.path.realpath(source), folder)).as_posix()
