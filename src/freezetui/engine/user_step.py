"""The user's own training step, `(model, optimizer, device) -> loss`, as a whole or phase by phase."""

from __future__ import annotations

import inspect
import os
import threading
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from queue import SimpleQueue
from typing import Any

import msgspec
import torch
from torch import Tensor, nn

from freezetui.engine.device import is_out_of_memory
from freezetui.engine.hooks import Hook
from freezetui.engine.user_objects import Batch, user_object
from freezetui.errors import ModelError
from freezetui.sanity.codes import finding
from freezetui.sanity.report import Finding
from freezetui.text import kind_of
from freezetui.user_code import user_code

#: Calls without an optimizer step that are made for one: a GradScaler halves its scale of 2**16 in each, and
#: a script that accumulates gradients takes a step in the last of several.
MAX_SKIPPED = 24
#: A finding of what the model's own code does -> the same where the user's step may have done it.
_IN_STEP = {
    "writes_weight": "step_writes",
    "optimizer_hook": "step_writes",
    "averaged": "step_averages",
    "unfrozen_by_model": "unfrozen_in_step",
    "frozen_by_model": "frozen_in_step",
}
_MODEL, _EITHER = "the model's own code", "your own step, or the model's own code,"
_FORM = "Write it as def step(model, optimizer, device), with loss.backward() and optimizer.step() in it."
_USED_UP = "The check takes its steps several times: begin again when the data end."
_KEPT = "Use that one: each run of the check has its own; make again what was made from an earlier one."


class UserStep:
    """The function that `--step` names, which runs whole: forward, backward and optimizer step.

    Attributes:
        text: as on the command line.
    """

    def __init__(self, text: str) -> None:
        self.text = text
        self._function = user_object(text, "--step")
        if not callable(self._function):
            raise ModelError(f"--step {text} is {kind_of(self._function)}, not a function.", _FORM)
        if not _takes_three(self._function):
            raise ModelError(f"--step {text} does not take the arguments (model, optimizer, device).", _FORM)
        self._inputs: Batch | None = None

    def __call__(
        self, model: nn.Module, called: Callable[..., Any], optimizer: Any, device: torch.device
    ) -> Any:
        """Run it once, and return what it returns.

        Args:
            model: on the device; its inputs are remembered.
            called: what the step gets for it: the model, or the compiled one.

        Raises:
            ModelError: it raised.
        """
        remember = None
        with suppress(RuntimeError):  # not supported on scripted modules
            remember = model.register_forward_pre_hook(Hook(self._remember), with_kwargs=True)
        try:
            with user_code(f"--step {self.text}", is_out_of_memory):
                return self._function(called, optimizer, device)
        except ModelError as error:
            if isinstance(error.__cause__, StopIteration):
                raise ModelError(error.message, f"{error.hint} {_USED_UP}") from error
            raise
        finally:
            if remember is not None:
                remember.remove()

    def inputs(self, step: int) -> Batch:
        """Return what the step has given to the model last.

        Raises:
            ModelError: it has not called the model.
        """
        if self._inputs is None:
            raise ModelError(f"--step {self.text} does not call the model.")
        return self._inputs

    def refuse(self, why: str, hint: str = _FORM) -> ModelError:
        """Return the error of a step that is not one."""
        return ModelError(f"--step {self.text} {why}.", hint)

    def refuse_without_step(
        self, result: Any, parameters: Sequence[torch.nn.Parameter], versions: list[int]
    ) -> None:
        """Raise if a call without an optimizer step is not one of several that lead to one.

        Args:
            result: what it has returned.
            versions: of the parameters before the call.

        Raises:
            ModelError: it has another optimizer, or returned its loss without a backward.
        """
        if versions_of(parameters) != versions:
            raise self.refuse("changes weights without the optimizer that it is given", _KEPT)
        has_graph = isinstance(result, Tensor) and result.requires_grad
        if has_graph and all(parameter.grad is None for parameter in parameters):
            raise self.refuse("returned a loss, and called neither backward() nor step()")

    def _remember(self, module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        self._inputs = args, kwargs


class Interrupted:
    """A call of the user's step that stops after its first forward, and before its first optimizer step.

    It runs in a thread of its own, since only the user's code knows how to go on; one of the two threads
    waits at any time.

    Args:
        call: runs the whole step.
        device: whose CUDA device the thread uses.
    """

    FORWARD, STEP, END = "forward", "step", "end"

    def __init__(self, call: Callable[[], Any], device: torch.device) -> None:
        self._call, self._device = call, device
        self._events: SimpleQueue[str] = SimpleQueue()
        self._go = threading.Semaphore(0)
        self._error: BaseException | None = None
        self._reached, self._runs_in = "", (0, 0)
        self.result: Any = None
        threading.Thread(target=self._run, name="user-step", daemon=True).start()

    def until(self, *events: str) -> None:
        """Go on until one of these is reached, or the end.

        Raises:
            ModelError: the step raised.
        """
        while self._reached not in (*events, self.END):
            self._go.release()
            self._reached = self._events.get()
        if self._error is not None:
            raise self._error

    @property
    def ended(self) -> bool:
        """Whether the step has returned."""
        return self._reached == self.END

    def reach(self, event: str) -> None:
        """Stop here, in the step's own thread, until the other goes on; any other thread just goes on."""
        if self._runs_in != (os.getpid(), threading.get_ident()):  # a worker that calls the model
            return
        self._events.put(event)
        self._go.acquire()

    def _run(self) -> None:
        self._go.acquire()
        self._runs_in = os.getpid(), threading.get_ident()
        try:
            if self._device.type == "cuda":
                torch.cuda.set_device(self._device)
            self.result = self._call()
        except BaseException as error:  # raised again in the thread that waits
            self._error = error
        self._events.put(self.END)


def _takes_three(function: Callable[..., Any]) -> bool:
    """Whether a function can be called with three arguments, as far as that is known."""
    try:
        inspect.signature(function).bind(None, None, None)
        return True
    except ValueError:  # one without a signature
        return True
    except TypeError:
        return False


def versions_of(parameters: Iterable[Tensor]) -> list[int]:
    """Return torch's counters of writes to these tensors."""
    return [parameter._version for parameter in parameters]


def number(result: Any) -> float | None:
    """Return the loss that a step has returned; None if it returned none."""
    if isinstance(result, Tensor):
        return float(result.detach().float().mean()) if result.numel() else None
    return float(result) if isinstance(result, (int, float)) and not isinstance(result, bool) else None


def in_step(found: Finding) -> Finding:
    """Return a finding as it is where a user's step runs, which may do what the model's own code does."""
    key = _IN_STEP.get(found.key)
    if key is not None:
        return finding(key, found.tensors)
    return msgspec.structs.replace(found, message=found.message.replace(_MODEL, _EITHER))
