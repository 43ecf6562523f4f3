"""`freezetui diff` of two VGG16 files against reading them once, `torch.equal` and `sft diff --delta`.

Whole processes in turns, in a warm page cache. `diff.py read A B` is the measure: both files, a megabyte at a
time, into two buffers that are compared. The statistics are those of VGG16's largest tensor, in several
dtypes, in a process that has started already, as in the TUI.
"""

from __future__ import annotations

import re
import subprocess
import sys
import time
from pathlib import Path
from shutil import which
from statistics import median
from typing import NamedTuple

from harness import Row, measured_environment, take_turns
from make_inputs import CACHE, VGG_SAFETENSORS

HERE = Path(__file__).resolve()
LITTLE, ALL = CACHE / "vgg16-little.safetensors", CACHE / "vgg16-all.safetensors"
DTYPES = CACHE / "vgg16-dtypes.safetensors"
_CHUNK = 1 << 20


class Taken(NamedTuple):
    """Seconds of a whole process, and the most anonymous memory it was seen to hold, in bytes."""

    seconds: float
    anonymous: int


def read(one: str, other: str) -> None:
    """Read both files once, and compare them chunk by chunk."""
    here, there = bytearray(_CHUNK), bytearray(_CHUNK)
    different = 0
    with Path(one).open("rb", 0) as before, Path(other).open("rb", 0) as after:
        while before.readinto(here):
            after.readinto(there)
            different += here != there
    print(different)


def equal(one: str, other: str) -> None:
    """Load both files with torch's means, and compare every tensor."""
    import torch
    from safetensors.torch import load_file

    before, after = load_file(one), load_file(other)
    print(sum(not torch.equal(before[name], after[name]) for name in before))


def stats(path: str) -> None:
    """Print each tensor's dtype, and the seconds that its statistics take per 100 MB; the best of five."""
    from freezetui.checkpoint.open import open_checkpoint
    from freezetui.checkpoint.storage import open_weights
    from freezetui.diff.stats import tensor_stats

    checkpoint = open_checkpoint(path)
    with open_weights(checkpoint) as weights:
        for tensor in checkpoint.tensors:
            taken = []
            for _ in range(5):
                started = time.perf_counter()
                tensor_stats(weights, tensor)
                taken.append(time.perf_counter() - started)
            print(tensor.dtype, min(taken) / (tensor.bytes / 1e8))


def make() -> None:
    """Write two more VGG16, with 7 and with all of 32 tensors changed; the largest tensor in more dtypes."""
    script = (
        "import sys, torch\n"
        "from safetensors.torch import load_file, save_file\n"
        "state = load_file(sys.argv[1])\n"
        "last = ('classifier.6', 'features.28', 'features.26', 'classifier.3.bias')\n"
        "noisy = {n: t + 1e-3 * torch.randn_like(t) for n, t in state.items()}\n"
        "save_file({n: noisy[n] if n.startswith(last) else t for n, t in state.items()}, sys.argv[2])\n"
        "save_file(noisy, sys.argv[3])\n"
        "largest = max(state.values(), key=torch.numel)\n"
        "dtypes = torch.float32, torch.float16, torch.bfloat16, torch.float8_e4m3fn\n"
        "save_file({str(dtype): largest.to(dtype) for dtype in dtypes}, sys.argv[4])\n"
    )
    subprocess.run([sys.executable, "-c", script, VGG_SAFETENSORS, LITTLE, ALL, DTYPES], check=True)


def timed(*command: str | Path) -> Taken:
    """Run a process to its end; polled for its anonymous memory where there is /proc."""
    quiet = subprocess.DEVNULL
    started = time.perf_counter()
    process = subprocess.Popen(
        list(map(str, command)), stdout=quiet, stderr=quiet, env=measured_environment()
    )
    peak = 0
    status = Path(f"/proc/{process.pid}/status")
    while process.poll() is None:
        try:
            found = re.search(r"RssAnon:\s+(\d+)", status.read_text())
        except OSError:
            break
        peak = max(peak, int(found[1]) * 1024 if found else 0)
        time.sleep(0.01)
    process.wait()
    return Taken(time.perf_counter() - started, peak)


def measure(runs: int, path: str | None) -> list[Row]:
    """Return ratios of time, and memory."""
    if not DTYPES.exists():
        make()
    ours = (sys.executable, "-m", "freezetui", "diff")
    cases = {}
    for what, other in (("little", LITTLE), ("all", ALL)):
        cases[f"read {what}"] = lambda other=other: timed(
            sys.executable, HERE, "read", VGG_SAFETENSORS, other
        )
        cases[f"diff {what}"] = lambda other=other: timed(*ours, VGG_SAFETENSORS, other)
    cases["equal"] = lambda: timed(sys.executable, HERE, "equal", VGG_SAFETENSORS, LITTLE)
    sft = which("sft", path=path)
    if sft is None:
        print("sft is not installed: left out", file=sys.stderr)
    else:
        cases["sft"] = lambda: timed(sft, "diff", "--delta", VGG_SAFETENSORS, LITTLE)
    taken = take_turns(cases, runs)
    seconds = {what: median(each.seconds for each in given) for what, given in taken.items()}
    peaks = {what: max(each.anonymous for each in given) for what, given in taken.items()}
    rows = [
        Row(
            f"`diff`, two VGG16, {what}, of reading both once",
            f"{seconds[f'diff {case}'] / seconds[f'read {case}']:.2f} ×",
            budget,
        )
        for case, what, budget in (
            ("little", "7 of 32 tensors changed", "1.5 ×"),
            ("all", "all changed", "4 ×"),
        )
    ]
    most = max(peaks["diff little"], peaks["diff all"])
    rows.append(Row("`diff`, anonymous memory", f"{most / 1e6:.0f} MB", "100 MB"))
    ratio = seconds["equal"] / seconds["diff little"]
    rows.append(Row("loading both and `torch.equal`, of `freezetui diff`", f"{ratio:.1f} ×", ""))
    command = [sys.executable, str(HERE), "stats", str(DTYPES)]
    for line in subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines():
        dtype, per = line.split()
        rows.append(Row(f"statistics of a {dtype} tensor, per 100 MB", f"{float(per):.2f} s", "0.2 s"))
    if sft is not None:
        ratio = seconds["sft"] / seconds["diff little"]
        rows.append(Row("`sft diff --delta`, of `freezetui diff`", f"{ratio:.0f} ×", "at least 20 ×"))
    return rows


if __name__ == "__main__":
    {"read": read, "equal": equal, "stats": stats}[sys.argv[1]](*sys.argv[2:])
