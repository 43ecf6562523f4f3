"""Prints the table of measurements: `python benchmarks/run.py`. See README.md beside it."""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

import growth
import keys
import startup
from harness import Row
from make_inputs import CACHE, MANY_SAFETENSORS

import diff

HERE = Path(__file__).resolve().parent
PARTS = ("startup", "keys", "diff", "sanity")
ON_DEMAND = ("growth",)


def main() -> None:
    """Make the inputs if needed, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=5, help="counted runs of each case (default: 5)")
    parser.add_argument("--peers", metavar="PATH", help="where sft and safe-view are, instead of PATH")
    parser.add_argument("--only", choices=PARTS + ON_DEMAND, action="append", help="a part of the table")
    parser.add_argument("--device", default="cpu", help="device of the check (default: cpu)")
    options = parser.parse_args()
    parts = options.only or PARTS
    if "growth" in parts:
        growth.measure()
        return
    if not MANY_SAFETENSORS.exists():
        print(f"writing {CACHE}", file=sys.stderr)
        subprocess.run([sys.executable, HERE / "make_inputs.py"], check=True)
    rows: list[Row] = []
    if "startup" in parts:
        rows += startup.measure(options.runs, options.peers)
    if "keys" in parts:
        rows += keys.measure(4 * options.runs)
    if "diff" in parts:
        rows += diff.measure(options.runs, options.peers)
    print("| what | measured | budget |\n|---|---|---|")
    for row in rows:
        print(f"| {row.what} | {row.measured} | {row.budget} |", flush=True)
    if "sanity" in parts:
        # In a separate process, so that torch does not affect what is measured here.
        subprocess.run([sys.executable, HERE / "sanity.py", options.device], check=True)


if __name__ == "__main__":
    main()
