"""What reading a pickle may cost in all."""

from __future__ import annotations

import io
import subprocess
import sys
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import pytest
import torch

from freezetui.checkpoint.open import open_checkpoint
from freezetui.checkpoint.pickles import budget
from freezetui.errors import CheckpointError
from support.checkpoint_samples import zipped

# Of the hash of tuples, in CPython since 3.8.
PRIME_1, PRIME_2, PRIME_5 = 11400714785074694791, 14029467366897019727, 2870177450012600261
WORD, MODULUS = 2**64, 2**61 - 1


def colliding() -> Iterator[tuple[int, int]]:
    """Pairs of integers below 2**61 that all have one hash."""
    wanted, inverse = 1 << 40, pow(PRIME_2, -1, WORD)
    first = 0
    while True:
        first += 1
        state = (PRIME_5 + first * PRIME_2) % WORD
        state = (state << 31 | state >> 33) % WORD * PRIME_1 % WORD
        second = (wanted - state) * inverse % WORD
        if second < MODULUS:
            yield first, second


def test_keys_that_collide_end_in_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pairs = list(islice(colliding(), 40_000))
    assert len({hash(pair) for pair in pairs[:100]}) == 1
    keys = (b"J%b\x8a\x08%b\x86N" % (a.to_bytes(4, "little"), b.to_bytes(8, "little")) for a, b in pairs)
    # In batches of a thousand, as picklers write them.
    batches = (b"(" + b"".join(batch) + b"u" for batch in iter(lambda: [*islice(keys, 1000)], []))
    path = zipped(b"\x80\x02}" + b"".join(batches) + b".", tmp_path / "collide.pth")
    monkeypatch.setattr(budget, "_BASE_SECONDS", 0.5)
    monkeypatch.setattr(budget, "_BYTES_PER_SECOND", 1e9)
    started = time.thread_time()
    with pytest.raises(CheckpointError, match="memory or time"):
        open_checkpoint(path)
    assert time.thread_time() - started < 10


def read_in_a_process(path: Path, base: int) -> tuple[str, int]:
    """Return what came of it and the growth of memory in bytes; `base` is allowed beside the share."""
    code = (
        "import re, sys\n"
        "from freezetui.checkpoint.formats import reader, torch_zip\n"
        "from freezetui.checkpoint.pickles import budget\n"
        "from freezetui.checkpoint.state_dict import assemble\n"
        "from freezetui.checkpoint.open import open_checkpoint\n"
        "from freezetui.errors import CheckpointError\n"
        "budget._BASE_BYTES = int(sys.argv[2])\n"
        # Not ru_maxrss, which a process inherits from the one that started it.
        "peak = lambda: int(re.search(r'VmHWM:\\s+(\\d+)', open('/proc/self/status').read())[1])\n"
        "before = peak()\n"
        "try: print(len(open_checkpoint(sys.argv[1]).tensors))\n"
        "except CheckpointError as error: print(error)\n"
        "print(1024 * (peak() - before))"
    )
    command = [sys.executable, "-c", code, path, str(base)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    message, grown = done.stdout.splitlines()
    return message, int(grown)


LINUX = pytest.mark.skipif(sys.platform != "linux", reason="memory is read from /proc")


@LINUX
def test_memory_stays_near_what_real_files_take(tmp_path: Path) -> None:
    size = 6_000_000
    path = zipped(b"\x80\x02)" + b"\x85" * size + b".", tmp_path / "chain.pth")
    message, grown = read_in_a_process(path, 0)
    assert "memory or time" in message
    # Beside what the budget sees lie copies of the pickle and what grows between two looks.
    assert grown < 50 * size


def test_the_bytes_come_through_unchanged() -> None:
    data = bytes(range(256)) * 1000
    assert (
        io.BufferedReader(
            budget.BudgetedReader([data[:1000], memoryview(data)[1000:1000], memoryview(data)[1000:]]),
            1 << 16,
        ).read()
        == data
    )


@LINUX
def test_real_checkpoints_are_far_from_the_limits(tmp_path: Path) -> None:
    model = torch.nn.ModuleList(torch.nn.Linear(2, 2) for _ in range(3000))
    optimizer = torch.optim.AdamW(model.parameters())
    sum(layer(torch.ones(2)).sum() for layer in model).backward()
    optimizer.step()
    path = tmp_path / "training.pth"
    torch.save({"model": model.state_dict(), "optimizer": optimizer.state_dict()}, path)
    message, grown = read_in_a_process(path, 0)  # without the base, which alone would be enough
    assert message == "6000"
    assert grown < budget._BYTES_PER_BYTE * path.stat().st_size
