"""The diagnoses of a run take time in proportion to the number of tensors, not to its square."""

from __future__ import annotations

from time import process_time

import torch
from torch import nn

from freezetui.engine.model_under_test import ModelUnderTest
from freezetui.engine.run import RunResult
from freezetui.engine.verdict import without_evidence
from freezetui.engine.why_moved import why_moved
from freezetui.engine.why_unchanged import unchanged_tensors

COUNT = 20_000
NAMES = [f"{part}.{i}" for part in ("frozen", "trained") for i in range(COUNT)]


def ran(moved: frozenset[str]) -> RunResult:
    flags = {name: name.startswith("trained") for name in NAMES}
    none = frozenset[str]()
    return RunResult(
        moved=moved,
        planned=flags,
        final_flags=flags,
        toggled=none,
        replaced=none,
        vanished=none,
        renamed=none,
        empty=none,
        around={},
        counted=none,
        gradients={name: 1.0 for name in moved if flags[name]},
        updates={},
        evidence=moved,
        ran=none,
        losses=(1.0,),
        held=none,
        awake=none,
        step_seconds=1.0,
        memory_bytes=1,
        overhead_seconds=0.0,
        digests={},
    )


def test_twenty_thousand_tensors_of_each_kind_take_seconds_at_most():
    half = frozenset(name for name in NAMES if name.startswith("trained") and int(name[8:]) % 2)
    result, control = ran(half), ran(frozenset(NAMES[::2]))
    started = process_time()
    unchanged = unchanged_tensors(result)
    unproven, by_flag = without_evidence(result, control)
    found = why_moved(ModelUnderTest(nn.Linear(1, 1), None, torch.device("cpu")), result)
    assert process_time() - started < 5
    assert (len(unchanged), len(unproven), found) == (COUNT // 2, 0, [])
    assert {key: len(names) for key, names in by_flag.items()} == {"frozen_anyway": COUNT // 2, "cut_off": 0}
