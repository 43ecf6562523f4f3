"""FreezeGuard: verifies in a training script that frozen bits did not change."""

from __future__ import annotations

from types import TracebackType

import torch
from torch import nn

from freezetui.errors import FreezeTuiError
from freezetui.models.live_names import require_module
from freezetui.text import listed
from freezetui.training.digest import digest
from freezetui.training.norms import frozen_statistics


class FreezeMoved(FreezeTuiError):
    """A frozen tensor's bits changed.

    Attributes:
        names: the tensors that changed.
    """

    def __init__(self, names: tuple[str, ...]) -> None:
        moved = listed(names, most=1, longest=None)
        super().__init__(f"{moved} changed although frozen.", "`freezetui check` finds the cause.")
        self.names = names


class FreezeGuard:
    """Keeps digests of everything that is frozen now: parameters, and statistics of frozen norms.

    Costs 16 bytes per tensor and one pass over the weights. As a context manager it checks at the end:

        with FreezeGuard(model):
            train(model)

    Args:
        model: with its config applied, before training.
        statistics: whether frozen norms' buffers must stay unchanged too.
    """

    def __init__(self, model: nn.Module, statistics: bool = True) -> None:
        require_module(model, "FreezeGuard")
        self._model = model
        self._names = [name for name, p in model.named_parameters() if not p.requires_grad]
        self._names += frozen_statistics(model) if statistics else []
        self._start = self._read()

    def __len__(self) -> int:
        """Return how many tensors are guarded."""
        return len(self._names)

    def moved(self) -> tuple[str, ...]:
        """Return the names of guarded tensors whose bits differ from the start."""
        now = self._read()
        return tuple(name for name in self._names if now.get(name) != self._start[name])

    def check(self) -> None:
        """Compare with the start.

        Raises:
            FreezeMoved: a guarded tensor changed.
        """
        if moved := self.moved():
            raise FreezeMoved(moved)

    def _read(self) -> dict[str, bytes]:
        # Looked up by name each time, to notice code that assigns a new tensor to a name.
        tensors: dict[str, torch.Tensor] = dict(self._model.named_parameters(remove_duplicate=False))
        tensors |= self._model.named_buffers(remove_duplicate=False)
        return {name: digest(tensors[name]) for name in self._names if name in tensors}

    def __enter__(self) -> FreezeGuard:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self.check()
