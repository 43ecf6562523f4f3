"""How time and memory grow from 1,000 to 1,000,000 tensors: safetensors shards of 5,000, with an index.

`python benchmarks/run.py --only growth`; each size in processes of its own.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from statistics import median

from harness import Terminal
from make_inputs import CACHE
from startup import FREEZETUI

SIZES = (1_000, 10_000, 100_000, 1_000_000)
_SHARD = 5_000
_RUNS = 3
_STAGES = {
    "open": "opening",
    "tree": "tree",
    "toggle": "toggle all",
    "undo": "undo",
    "filter": "filter by a word",
    "pattern": "filter by a pattern",
    "cover": "rules: half of it",
    "alternate": "rules: every second",
    "save": "save",
}


def written(tensors: int) -> Path:
    """Write a sharded mixture of experts with so many tensors of 128 bytes, once; the data are holes."""
    folder = CACHE / f"growth-{tensors}"
    index = folder / "model.safetensors.index.json"
    if index.exists():
        return folder
    folder.mkdir(parents=True, exist_ok=True)
    shards = -(-tensors // _SHARD)
    where: dict[str, str] = {}
    for shard in range(shards):
        name = f"model-{shard + 1:05d}-of-{shards:05d}.safetensors"
        header, end = {}, 0
        for tensor in range(shard * _SHARD, min(tensors, (shard + 1) * _SHARD)):
            layer, rest = divmod(tensor, 10_000)
            key = f"model.layers.{layer}.mlp.experts.{rest // 2}.w{1 + rest % 2}.weight"
            header[key] = {"dtype": "F32", "shape": [4, 8], "data_offsets": [end, end + 128]}
            where[key], end = name, end + 128
        text = json.dumps(header).encode()
        with (folder / name).open("wb") as file:
            file.write(len(text).to_bytes(8, "little") + text)
            file.truncate(8 + len(text) + end)
    index.write_text(json.dumps({"metadata": {}, "weight_map": where}))
    return folder


def stages(folder: str) -> None:
    """Run every stage on a checkpoint; print its seconds and the most memory held, as JSON."""
    import gc
    import resource
    from time import perf_counter

    from freezetui.checkpoint.open import open_checkpoint
    from freezetui.config.codec import write_config
    from freezetui.config.schema import ModelSection
    from freezetui.config.sync import config_from_plan
    from freezetui.freeze.minimize import choose_rules
    from freezetui.freeze.patterns import Pattern
    from freezetui.freeze.plan import FreezePlan
    from freezetui.freeze.tree import ParamTree

    gc.disable()  # as the program itself does
    seconds: dict[str, float] = {}

    def timed(stage, work):
        started = perf_counter()
        result = work()
        seconds[stage] = perf_counter() - started
        return result

    checkpoint = timed("open", lambda: open_checkpoint(folder))
    tree = timed("tree", lambda: ParamTree(checkpoint.tensors))
    count = len(tree.tensors)
    plan = FreezePlan(tree)
    timed("toggle", lambda: plan.toggle([(0, count)]))
    timed("undo", plan.undo)
    timed("filter", lambda: sum("experts.7" in tensor.name for tensor in tree.tensors))
    timed("pattern", lambda: Pattern("**.experts.{0..9}.w1").spans(tree))
    half = bytes(count // 2) + b"\1" * (count - count // 2)
    timed("cover", lambda: choose_rules(tree, half))
    timed("alternate", lambda: choose_rules(tree, (b"\0\1" * count)[:count]))
    plan.replace(half)
    path = Path(folder).with_suffix(".freeze.yaml")
    timed("save", lambda: write_config(path, config_from_plan(plan, ModelSection())))
    path.unlink()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    print(json.dumps({**seconds, "peak": peak}))


def measure() -> None:
    """Print the table: seconds at each size, and microseconds and bytes per tensor at the largest."""
    columns: list[dict[str, float]] = []
    for size in SIZES:
        folder = written(size)
        command = [sys.executable, __file__, str(folder)]
        runs = [json.loads(subprocess.check_output(command)) for _ in range(_RUNS)]
        column = {stage: median(run[stage] for run in runs) for stage in runs[0]}
        screens, peaks = [], []
        for _ in range(_RUNS):
            terminal = Terminal((*FREEZETUI, str(folder)))
            screens.append(terminal.wait_for("layers"))
            terminal.settle()
            peaks.append(terminal.end())
        columns.append({**column, "screen": median(screens), "ui": median(peaks)})
    heads = [f"{size:,}" for size in SIZES]
    print(f"| seconds | {' | '.join(heads)} | µs per tensor at {heads[-1]} |")
    print("|---|" + "---|" * (len(SIZES) + 1))
    for stage, what in {**_STAGES, "screen": "whole process, to the first screen"}.items():
        cells = [f"{column[stage]:.3g}" for column in columns]
        print(f"| {what} | {' | '.join(cells)} | {columns[-1][stage] / SIZES[-1] * 1e6:.2g} |")
    for kind, what in (("peak", "peak memory of these stages, MB"), ("ui", "peak memory of the UI, MB")):
        cells = [f"{column[kind] / 1e6:,.0f}" for column in columns]
        print(f"| {what} | {' | '.join(cells)} | {columns[-1][kind] / SIZES[-1]:,.0f} bytes |")


if __name__ == "__main__":
    stages(sys.argv[1])
