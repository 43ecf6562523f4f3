"""Compares the open checkpoint with an earlier one, by a process of its own."""

from __future__ import annotations

import subprocess
from contextlib import suppress

from freezetui import bootstrap
from freezetui.checkpoint.types import TensorInfo
from freezetui.diff.protocol import Compared, CompareRequest, Failed, decode_answer
from freezetui.diff.report import TensorDiff, relative_change
from freezetui.errors import CheckpointError
from freezetui.json_lines import encode
from freezetui.session.comparison import Comparison
from freezetui.session.session import Session
from freezetui.tui.values import CancelledError, Work


def compared(session: Session, work: Work) -> Comparison:
    """Return what changed from the checkpoint of `--against` to the open one, as a process of its own finds.

    Python code that compares 100,000 tensors in a thread would stall the UI, and a file that is truncated
    while it is mapped would end it.

    Raises:
        CheckpointError: the other checkpoint cannot be read, or the bytes of one.
        CancelledError: nobody wants the result anymore.
    """
    options = session.options
    assert options.against is not None
    request = encode(
        CompareRequest(options.against, options.sources, options.key, options.python, options.engine)
    )
    command = bootstrap.command("freezetui.cli.comparer", needs=("msgspec", "numpy"))
    pipe, quiet = subprocess.PIPE, subprocess.DEVNULL
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=quiet, start_new_session=True) as process:
        assert process.stdin is not None and process.stdout is not None
        work.stop = process.kill
        try:
            with suppress(BrokenPipeError):  # it has ended already, and says why
                process.stdin.write(request)
                process.stdin.flush()
            for line in process.stdout:
                answer = decode_answer(line)
                if isinstance(answer, Compared):
                    return _comparison(session, options.against, answer)
                if isinstance(answer, Failed):
                    raise CheckpointError(answer.message, answer.hint)
                work.report(answer.text)
        finally:
            process.kill()
    if work.cancelled:
        raise CancelledError
    raise CheckpointError(
        "Comparing ended early: a file may have been overwritten meanwhile.", "Open it again."
    )


def _comparison(session: Session, before: str, found: Compared) -> Comparison:
    infos = {tensor.name: tensor for tensor in session.checkpoint.tensors}
    changes = {name: _identical(infos[name]) for name in found.identical if name in infos}
    changes |= {t.new_name or t.name: t for t in found.different if t.status != "removed"}
    relative = {name: _relative(change) for name, change in changes.items()}
    removed = tuple(t.name for t in found.different if t.status == "removed")
    notes = found.note, found.absent, found.warnings
    return Comparison(session, before, changes, relative, removed, *notes)


def _relative(change: TensorDiff) -> float | None:
    if change.status == "unread":
        return None
    return 0.0 if change.status == "cast" else relative_change([change])


def _identical(tensor: TensorInfo) -> TensorDiff:
    return TensorDiff(
        tensor.name, "identical", tensor.kind, tensor.shape, tensor.dtype, tensor.elements, changed=0
    )
