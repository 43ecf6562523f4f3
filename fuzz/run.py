"""Fuzz one target with atheris until the time is up or something is found: see docs/security.md."""

from __future__ import annotations

import argparse
import importlib
import os
import pkgutil
import resource
import sys
import tempfile
from pathlib import Path

import atheris

WATCHED = ("freezetui.checkpoint", "freezetui.config", "freezetui.freeze")

with atheris.instrument_imports(include=list(WATCHED)):
    # The readers are imported when they are needed, which would be too late to be watched.
    for package in map(importlib.import_module, WATCHED):
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            importlib.import_module(module.name)

    import targets

CORPUS = Path(__file__).resolve().parent / "corpus"
MAX_MEMORY = 4 << 30


def main() -> None:
    """Run atheris on seeds, the corpus and what earlier runs left in the working directory."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("target", choices=targets.TARGETS)
    parser.add_argument("--seconds", type=int, default=600)
    parser.add_argument("--keep", type=Path, help="a directory for what widens the coverage")
    options = parser.parse_args()
    keep = options.keep or Path(tempfile.mkdtemp())
    keep.mkdir(parents=True, exist_ok=True)
    for number, seed in enumerate(targets.seeds()[options.target]):
        (keep / f"seed-{number}").write_bytes(seed)
    resource.setrlimit(resource.RLIMIT_AS, (MAX_MEMORY, MAX_MEMORY))
    arguments = [
        sys.argv[0],
        f"-max_total_time={options.seconds}",
        "-max_len=8192",
        "-timeout=20",
        "-print_final_stats=1",
        f"-artifact_prefix={keep}/found-",
        str(keep),
        *filter(os.path.isdir, [str(CORPUS / options.target)]),
    ]
    atheris.Setup(arguments, lambda data: targets.attempt(options.target, data) and None)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
