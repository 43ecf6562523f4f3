"""ModelDescriber: asks the describer's process about the model of one checkpoint."""

from __future__ import annotations

from collections.abc import Sequence
from threading import Lock
from typing import TYPE_CHECKING

from freezetui.checkpoint.sources.urls import is_url
from freezetui.checkpoint.types import Checkpoint, TensorInfo
from freezetui.model_spec import ModelSpec
from freezetui.recognition.architecture import is_library_model
from freezetui.recognition.catalog import Recognition

if TYPE_CHECKING:
    from concurrent.futures import Future

    from freezetui.description.client import Describer
    from freezetui.description.types import Description


class ModelDescriber:
    """The describer's process for one checkpoint; started when it is first asked.

    Args:
        python: the interpreter to run it; "" for this one.
        checkpoint: next to it is the `config.json` that transformers reads.
        tensors: its tensors, in the order in which the description names them.
        recognition: the architecture recognized from their names and shapes; None if unknown.
    """

    def __init__(
        self,
        python: str,
        checkpoint: Checkpoint,
        tensors: Sequence[TensorInfo],
        recognition: Recognition | None,
    ) -> None:
        self._python, self._tensors, self._recognition = python, tensors, recognition
        self._source = checkpoint.parts[0].source if checkpoint.parts else checkpoint.source
        self._lock = Lock()
        self._process: Describer | None = None

    def can_build(self, model: ModelSpec) -> bool:
        """Whether a library builds this model, from files that are here."""
        reads_config = model.architecture.startswith("transformers:")
        return is_library_model(model.architecture) and not (reads_config and is_url(self._source))

    def describe(self, model: ModelSpec) -> Future[Description]:
        """Ask for a description; may be called from any thread, see `Describer.describe`."""
        from freezetui.description.client import Describer  # not needed for the first screen
        from freezetui.description.protocol import DescribeRequest, file_tensors

        with self._lock:
            if self._process is None:
                self._process = Describer(self._python)
            process = self._process
        tensors = file_tensors(self._tensors)
        return process.describe(
            DescribeRequest(source=self._source, model=model, recognition=self._recognition, tensors=tensors)
        )

    def close(self) -> None:
        """End the process, if one runs."""
        with self._lock:
            process, self._process = self._process, None
        if process is not None:
            process.close()
