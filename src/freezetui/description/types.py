"""Description: what is known of the live model behind a file before any weight is loaded."""

from __future__ import annotations

from functools import cached_property

import msgspec

from freezetui.freeze.name_map import NameMap
from freezetui.freeze.structure import Structure
from freezetui.model_spec import ModelSpec


class LiveModule(msgspec.Struct, frozen=True, array_like=True):
    """One module of the live model.

    Attributes:
        path: as `named_modules` spells it; "" for the model itself.
        layer: its class with its numbers, e.g. "Conv2d 64 -> 128, 3x3".
        file: the module of the file with exactly its tensors; None if there is none.
        runs: its place in the order in which a forward pass first enters modules; -1 if unknown.
    """

    path: str
    layer: str
    file: str | None = None
    runs: int = -1


class Description(msgspec.Struct, frozen=True, omit_defaults=True, dict=True):
    """The live model that a library builds for a checkpoint.

    Attributes:
        spec: what built it.
        model: its class, e.g. "BertForMaskedLM".
        names: which of the file's tensors every live parameter and persistent buffer is made of.
        modules: in order of registration.
        structure: its head and its blocks, by the file's names.
        frozen: live parameters that the constructor freezes.
        input: shape of one example that a forward pass accepts, without the batch dimension; () if unknown.
        takes: an input that it accepts, for display, e.g. "images 3x224x224"; "" if unknown.
        ran: whether a forward pass ran, so that the order of execution is known.
        notes: what the user should know, one line each.
    """

    spec: ModelSpec
    model: str
    names: NameMap
    modules: tuple[LiveModule, ...]
    structure: Structure
    frozen: tuple[str, ...] = ()
    input: tuple[int, ...] = ()
    takes: str = ""
    ran: bool = False
    notes: tuple[str, ...] = ()

    @cached_property
    def by_file(self) -> dict[str, LiveModule]:
        """Module path of the file -> its live module."""
        return {module.file: module for module in self.modules if module.file is not None}
