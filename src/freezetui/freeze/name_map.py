"""The name map: which tensors of a file each live parameter is made of. Plain data, no torch."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cached_property
from typing import Literal

import msgspec

from freezetui.errors import ConfigError

#: Where the values of a live tensor come from: tensors of the file; the library, which computes them
#: (sinusoids); PEFT, which added it; another file (the base model of an adapter's file); a module outside
#: the root where the file fits; nowhere (a new head).
Origin = Literal["file", "library", "adapter", "base", "outside", "new"]


class LiveTensor(msgspec.Struct, frozen=True, omit_defaults=True):
    """One parameter or persistent buffer of the live model.

    Attributes:
        name: as `named_parameters(remove_duplicate=False)` spells it.
        kind: "parameter" or "buffer".
        shape: of the live tensor, before quantization or sharding where that is known.
        files: the file's tensors that it is made of, in the file's order; several if the library merges
            them, none if the file has nothing for it.
        origin: where its values come from.
        clean: `name` without the segments of wrappers (`module`, `_orig_mod`, `base_layer`).
        tied_to: the first live name of the same tensor; "" for that one itself and for untied tensors.
        copy_of: the live name of the original that PEFT copied for `modules_to_save`; "" otherwise. The copy
            represents the file's tensor, the original stays frozen.
        replaced: whether such a copy represents this tensor.
    """

    name: str
    kind: Literal["parameter", "buffer"]
    shape: tuple[int, ...]
    files: tuple[str, ...] = ()
    origin: Origin = "file"
    clean: str = ""
    tied_to: str = ""
    copy_of: str = ""
    replaced: bool = False


class Reshaped(msgspec.Struct, frozen=True):
    """A tensor whose shape in the file is different: a new head, a resized embedding."""

    live: str
    file: str
    live_shape: tuple[int, ...]
    file_shape: tuple[int, ...]


class NameMap(msgspec.Struct, frozen=True, omit_defaults=True, dict=True):
    """Maps tensors of a file to live parameters, as the library's own loading would.

    Attributes:
        live: every parameter and persistent buffer, tied ones under each name, in order of registration.
        dropped: the file's tensors that the library leaves out silently (`inv_freq`, `position_ids`, masks).
        unplaced: the file's tensors that the live model does not use (an old head, a pooler).
        reshaped: names that both have, with different shapes; such a live tensor has no `files`.
        root: the module that the file's tensors belong to, e.g. "encoder"; "" for the whole model.
        prefix: what every name in the file begins with, before the names there, e.g. "0.auto_model.".
        route: how the names were found, for display: "transformers 5.24.0", "torch", "timm", "peft".
        notes: what the user should know about how they were found, one line each.
    """

    live: tuple[LiveTensor, ...]
    dropped: tuple[str, ...] = ()
    unplaced: tuple[str, ...] = ()
    reshaped: tuple[Reshaped, ...] = ()
    root: str = ""
    prefix: str = ""
    route: str = ""
    notes: tuple[str, ...] = ()

    @cached_property
    def by_name(self) -> dict[str, LiveTensor]:
        """Live name -> live tensor."""
        return {tensor.name: tensor for tensor in self.live}

    @cached_property
    def inverse(self) -> dict[str, tuple[str, ...]]:
        """File name -> the live names that hold values of it; without file names that have no place."""
        found: dict[str, list[str]] = {}
        for tensor in self.live:
            for file in tensor.files:
                found.setdefault(file, []).append(tensor.name)
        return {file: tuple(names) for file, names in found.items()}

    def files_of(self, live: str) -> tuple[str, ...]:
        """Return the file's tensors that a live tensor is made of; empty for new and unknown ones."""
        tensor = self.by_name.get(live)
        return tensor.files if tensor else ()

    def live_of(self, file: str) -> tuple[str, ...]:
        """Return the live names that hold values of a file's tensor; empty if it has no place."""
        return self.inverse.get(file, ())

    @property
    def placed(self) -> int:
        """How many of the file's tensors have a place in the live model."""
        return len(self.inverse)

    @property
    def missing(self) -> tuple[str, ...]:
        """Parameters that nothing in the file fills, so that they are random: new or reshaped heads."""
        return tuple(t.name for t in self.live if t.origin == "new" and t.kind == "parameter")

    @property
    def merged(self) -> dict[str, tuple[str, ...]]:
        """Live names that are made of several tensors of the file, e.g. the experts of a layer."""
        return {tensor.name: tensor.files for tensor in self.live if len(tensor.files) > 1}

    @property
    def ties(self) -> tuple[tuple[str, ...], ...]:
        """The live names of each tensor that has several."""
        groups = self._groups(self.live)
        return tuple(tuple(t.name for t in group) for group in groups if len(group) > 1)

    def to_live(self, trains: Mapping[str, bool]) -> dict[str, bool]:
        """Whether each live tensor trains, from whether each tensor of the file does.

        Tied names get the same flag. A `modules_to_save` copy follows the file's tensor; its original stays
        frozen. Live tensors without a tensor of the file in `trains` are not in the result.

        Args:
            trains: file name -> whether it trains; buffers may be left out.

        Raises:
            ConfigError: of tensors that become one live parameter, some are frozen and some train.
        """
        live: dict[str, bool] = {}
        for group in self._groups(t for t in self.live if t.kind == "parameter"):
            files = dict.fromkeys(file for t in group for file in t.files if file in trains)
            if not files:
                continue
            frozen = next((file for file in files if not trains[file]), None)
            train = next((file for file in files if trains[file]), None)
            if frozen is not None and train is not None:
                raise ConfigError(
                    f"{frozen} is frozen and {train} trains, but both become one live parameter, "
                    f"{group[0].name}.",
                    "Freeze both, or train both.",
                )
            replaced = all(t.replaced for t in group)  # an original tied to a used tensor follows it
            live.update((t.name, train is not None and not replaced) for t in group)
        return live

    def to_file(self, trains: Mapping[str, bool]) -> dict[str, bool]:
        """Whether each tensor of the file trains, from the flags of the live parameters.

        Args:
            trains: live name -> `requires_grad`; names that the map does not know are ignored.

        Raises:
            ConfigError: a file's tensor became several live parameters that disagree.
        """
        flags: dict[str, tuple[str, bool]] = {}
        for tensor in self.live:
            if tensor.replaced or tensor.name not in trains:
                continue
            for file in tensor.files:
                first, train = flags.setdefault(file, (tensor.name, trains[tensor.name]))
                if train != trains[tensor.name]:
                    frozen, other = (tensor.name, first) if train else (first, tensor.name)
                    raise ConfigError(
                        f"{frozen} is frozen and {other} trains, but both come from {file} in the file.",
                        "Freeze both, or train both.",
                    )
        return {file: train for file, (_, train) in flags.items()}

    def _groups(self, tensors: Iterable[LiveTensor]) -> list[list[LiveTensor]]:
        """Return the live tensors, grouped by ties."""
        groups: dict[str, list[LiveTensor]] = {}
        for tensor in tensors:
            groups.setdefault(tensor.tied_to or tensor.name, []).append(tensor)
        return list(groups.values())
