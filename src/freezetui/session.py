"""Session: the open checkpoint, the choice and the config it is saved to. Knows no widgets."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import Future
from itertools import count
from pathlib import Path
from threading import Thread
from typing import Any

import msgspec

from freezetui.checkpoint.open import open_checkpoint
from freezetui.checkpoint.places import is_url, shown_url
from freezetui.errors import ConfigError
from freezetui.freeze.choice import read_choice, write_choice
from freezetui.freeze.config import SUFFIX, FreezeConfig, ModelSection, default_path
from freezetui.freeze.cover import added_rules
from freezetui.freeze.plan import FreezePlan, Totals
from freezetui.freeze.presets import Preset
from freezetui.freeze.rules import Rule, overlay
from freezetui.freeze.tree import ParamTree
from freezetui.models.catalog import in_module_order, recognize
from freezetui.sanity.protocol import CheckRequest
from freezetui.sanity.report import SanityReport

#: Builders whose names a config may tell without a question: no code but these libraries' own is run.
_LIBRARIES = ("torchvision:", "transformers:")


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
    """The open checkpoint and everything chosen about it.

    Args:
        progress: told in a few words how far the opening is, where it takes more than one file.

    Attributes:
        options: what the command line said.
        checkpoint, tree, plan: what is open.
        recognition: the architecture that names and shapes tell; None for none.
        config: as on disk; None where nothing is saved yet.
        config_path: where saving goes.
        problem: why the config beside the checkpoint could not be read; None where it could.
        differences: how this model differs from the one the config was made for, one line each.
        architecture, arguments, input: what the sanity step builds; the architecture may be "".
        asked: whether a person, not the config, named the architecture.
        report: of the last sanity step; None before the first.

    Raises:
        CheckpointError: the source is no checkpoint.
        ConfigError: the config cannot be read.
    """

    def __init__(self, options: Options, progress: Callable[[str], None] = lambda text: None) -> None:
        self.options = options
        sources = [options.source, *options.more]
        self.checkpoint = open_checkpoint(sources, key=options.key, progress=progress)
        self.config_path = options.config or default_path(options.source)
        self.recognition = recognize(self.checkpoint.tensors)
        tensors = in_module_order(self.checkpoint, self.recognition)
        self.tree = ParamTree(tensors, root=self.config_path.name.removesuffix(SUFFIX))
        self.config: FreezeConfig | None = None
        self.differences: tuple[str, ...] = ()
        self.problem: ConfigError | None = None
        self.plan = FreezePlan(self.tree, self._read_config())
        self._saved = self.plan.trains()
        self.report: SanityReport | None = None
        self._checked = b""
        self._settle_architecture()

    def _read_config(self) -> bytes | None:
        """What the config on disk selects; None without one. Only one that was asked for must be good."""
        if self.options.config is None and not self.config_path.exists():
            return None
        try:
            self.config = FreezeConfig.load(self.config_path)
        except ConfigError as error:
            if self.options.config is not None:
                raise
            self.problem = error
            return None
        reading = read_choice(self.config, self.tree)
        self.differences = reading.differences
        return reading.trains

    def _settle_architecture(self) -> None:
        """The command line wins over the config, the config over recognition."""
        options, saved = self.options, self.config.model if self.config else ModelSection()
        self.architecture, self.arguments, self.asked = "", dict(options.arguments), True
        if options.architecture:
            self.architecture = options.architecture
        elif saved.architecture:
            self.architecture = moved_path(saved.architecture, self.config_path.parent, Path())
            self.arguments = {**saved.arguments, **self.arguments}
            told = self.checkpoint.architecture, self.checkpoint.arguments
            is_known = self.architecture.startswith(_LIBRARIES)
            self.asked = is_known or (self.architecture, saved.arguments) == told
        elif self.recognition is not None:
            self.architecture = self.recognition.architecture
            self.arguments = {**self.recognition.arguments, **self.arguments}
        elif self.checkpoint.architecture:
            self.architecture = self.checkpoint.architecture
            self.arguments = {**self.checkpoint.arguments, **self.arguments}
        self.input = options.input or saved.input

    def choose(self, preset: tuple[Preset, int] | None, rules: tuple[Rule, ...]) -> None:
        """Choose anew: a preset or training everything, then rules from top to bottom.

        Raises:
            PatternError: a rule names nothing.
        """
        trains = preset[0].trains(self.tree, preset[1]) if preset else b"\1" * len(self.tree.tensors)
        self.plan.replace(overlay(rules, self.tree, bytearray(trains)))

    def name_architecture(self, architecture: str) -> None:
        """A person names what builds the model; "" checks without a forward pass."""
        self.architecture, self.asked = architecture, True

    @property
    def label(self) -> str:
        """The architecture, for people."""
        recognition = self.recognition
        if recognition is not None and recognition.architecture == self.architecture:
            return recognition.label
        if self.checkpoint.label and self.architecture == self.checkpoint.architecture:
            return self.checkpoint.label
        return self.architecture or "architecture not recognised"

    @property
    def span(self) -> tuple[int, int]:
        """All tensors."""
        return 0, len(self.tree.tensors)

    @property
    def totals(self) -> Totals:
        """Of the whole model."""
        return self.plan.totals(*self.span)

    @property
    def saved_totals(self) -> Totals:
        """Of the choice on disk, or of training everything."""
        return FreezePlan(self.tree, self._saved).totals(*self.span)

    @property
    def unsaved(self) -> bool:
        """Whether the choice differs from the config on disk; a fresh one that trains all does not."""
        return self.plan.trains() != self._saved

    @property
    def report_is_stale(self) -> bool:
        """Whether the choice has changed since the last sanity step."""
        return self.report is not None and self.plan.trains() != self._checked

    def changes(self) -> tuple[Rule, ...]:
        """The rules that lead from what is on disk (or from training everything) to this choice."""
        return added_rules(self.tree, self.plan.trains(), self._saved)

    def written(self, path: Path | None = None) -> FreezeConfig:
        """The config that saving to `path` would write."""
        folder = (path or self.config_path).resolve().parent
        model = ModelSection(
            checkpoint=_told(self.options.source, folder),
            architecture=moved_path(self.architecture, Path(), folder),
            arguments=self.arguments if self.architecture else {},
            input=self.input,
        )
        return write_choice(self.plan, model, self.config)

    def why_not_write(self, target: Path) -> str:
        """What a person should know before `target` is written over; "" where nothing is lost."""
        if target != self.config_path:
            return "The file is there already." if target.exists() else ""
        if self.problem is not None:
            return f"{self.problem.message} It is kept as {set_aside_name(target).name}."
        return "It was made for another model." if self.differences else ""

    def unreadable(self, target: Path) -> bool:
        """Whether `target` is the config that could not be read."""
        return self.problem is not None and target == self.config_path

    def save(self, path: Path | None = None) -> Path:
        """Write the config atomically; returns where it went.

        A file there that could not be read is set aside first, as `set_aside_name` says.

        Raises:
            ConfigError: it cannot be written there.
        """
        target = path or self.config_path
        config = self.written(target)
        if self.unreadable(target) and target.exists():
            target.rename(set_aside_name(target))
        config.save(target)
        self.config, self.config_path = config, target
        self.differences, self.problem = (), None
        self._saved = self.plan.trains()
        return target

    def request(self) -> CheckRequest:
        """The sanity step of this choice."""
        config = self.written()
        return CheckRequest(
            checkpoint=self.options.source,
            more=self.options.more,
            key=self.options.key,
            architecture=self.architecture,
            arguments=self.arguments,
            input=self.input,
            rules=config.rules,
            default=config.default,
            norm_statistics=config.norm_statistics,
            device=self.options.device,
            steps=self.options.steps,
        )

    def checked(self, report: SanityReport, trains: bytes) -> None:
        """A sanity step of the choice `trains` has ended."""
        self.report, self._checked = report, trains
        if report.input and not self.input:
            self.input = report.input


class Opening(Future[Session]):
    """A session that is being read; it holds what `Session` raises.

    Attributes:
        progress: how far it is, in a few words; "" where that is no question.
    """

    progress = ""


def open_in_thread(options: Options) -> Opening:
    """The session, read while the caller does something else."""
    opening = Opening()

    def read() -> None:
        try:
            opening.set_result(Session(options, lambda text: setattr(opening, "progress", text)))
        except BaseException as error:
            opening.set_exception(error)

    # A daemon, so that whoever leaves does not wait for it.
    Thread(target=read, daemon=True).start()
    return opening


def _told(source: str, folder: Path) -> str:
    """The checkpoint as its config in `folder` names it: relative, or a URL without its secrets."""
    if is_url(source):
        return shown_url(source)
    return Path(os.path.relpath(Path(source).resolve(), folder)).as_posix()


def set_aside_name(path: Path) -> Path:
    """Where a file that is in the way goes: `NAME.bak`, or the first of `NAME.bak2`, ... that is free."""
    names = (path.with_name(f"{path.name}.bak{number if number > 1 else ''}") for number in count(1))
    return next(name for name in names if not name.exists())


def moved_path(architecture: str, old: Path, new: Path) -> str:
    """`path/to/file.py:callable` relative to folder `old`, told relative to `new`; others as they are."""
    source, _, name = architecture.rpartition(":")
    if not source.endswith(".py") or Path(source).is_absolute():
        return architecture
    return f"{Path(os.path.relpath(old.resolve() / source, new.resolve())).as_posix()}:{name}"
