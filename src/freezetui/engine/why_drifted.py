"""Diagnoses buffers that changed where not everything around them trains."""

from __future__ import annotations

import re
from collections import defaultdict

from torch import nn

from freezetui.checkpoint.types import COUNTER, REWRITTEN, STATISTICS, VECTORS
from freezetui.engine.further import named_tensors
from freezetui.engine.run import RunResult
from freezetui.engine.why_moved import TrainedMemory
from freezetui.sanity.codes import finding
from freezetui.sanity.report import Finding
from freezetui.training.norms import statistics_of

#: Names of statistics of what passes through, apart from codebooks, queues and the like.
_STATISTICS = re.compile(
    r"mean|var|std|avg|average|moment|running|moving|stat|sigma|max|min|scale|norm|^(?:mu|[muv])\d*$"
)
#: The key of a buffer among frozen parameters -> that of one with trainable ones around it as well.
_MIXED = {
    "batch_norm": "mixed_statistics",
    "statistics": "mixed_statistics",
    "tracking_norm": "mixed_tracking_norm",
    "spectral_norm": "mixed_spectral_norm",
    "observer": "mixed_observer",
    "writes_buffer": "mixed_buffer",
    "writes_in_training": "mixed_buffer",
    "unheld_statistics": "mixed_statistics",
}


def why_drifted(model: nn.Module, result: RunResult) -> list[Finding]:
    """Return one finding per cause for the buffers that changed, and that something frozen surrounds."""
    drifted = [name for name in result.drifted if name not in result.counted]
    tensors, modules = named_tensors(model), dict(model.named_modules(remove_duplicate=False))
    trained = TrainedMemory(model)
    siblings: dict[str, set[str]] = defaultdict(set)
    for path, _, last in (name.rpartition(".") for name in drifted):
        siblings[path].add(last)
    by_cause: dict[str, list[str]] = defaultdict(list)
    for name in drifted:
        path, _, last = name.rpartition(".")
        if path not in modules or name not in tensors:
            by_cause["writes_buffer"].append(name)  # the model has renamed or removed it
            continue
        key = _drift(modules[path], path, last, siblings[path], result)
        if trained.has_part_of(tensors[name]):
            key = "shared_buffer"
        elif result.around[name] == "mixed":
            key = _MIXED.get(key, "")
        if key:
            by_cause[key].append(name)
    return [finding(key, names) for key, names in by_cause.items()]


def _drift(module: nn.Module, path: str, last: str, drifted: set[str], result: RunResult) -> str:
    """Return the finding's key for a buffer; only one that must stay in eval counts against the freeze."""
    name = f"{path}.{last}" if path else last
    in_eval = name in result.further.in_eval
    if path in result.held and last in statistics_of(module):
        if path in result.awake or not in_eval:
            return "norm_in_train_mode"
        if last in REWRITTEN:
            return "norm_in_eval"
    kind = type(module).__name__
    if last in VECTORS:
        return "spectral_norm"
    if last in STATISTICS:
        if "InstanceNorm" in kind or "SyncBatchNorm" in kind:
            return "tracking_norm"
        return "batch_counter" if drifted == {COUNTER} else "batch_norm"
    if "Observer" in kind or "FakeQuant" in kind:
        return "observer"
    if last in getattr(module, "_non_persistent_buffers_set", ()):
        return "cache"
    if in_eval or not result.further.looked:
        return "writes_buffer"
    held_by_apply = last in statistics_of(module)
    if _STATISTICS.search(last):
        return "statistics" if held_by_apply else "unheld_statistics"
    return "writes_in_training" if held_by_apply else "writes_buffer"
