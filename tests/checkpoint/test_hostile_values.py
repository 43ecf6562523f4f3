"""What a pickle may put in the place of a shape, and files that shrink while they are read."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from freezetui.checkpoint.formats.reader import read_file
from freezetui.checkpoint.open import open_checkpoint
from freezetui.checkpoint.sources.local import open_file
from freezetui.errors import CheckpointError
from support.checkpoint_samples import CONTAINERS, zipped

#: Tuples in memo 0 to 60, each holding the one before twice: hashing the last takes 2**60 steps.
DOUBLING = (
    b"\x80\x02)q\0"
    + b"".join(b"h%ch%c\x86q%c" % (level, level, level + 1) for level in range(60))
    + b"q\x640"
)
#: Hashing it overflows the stack.
DEEP = b"\x80\x02)" + b"\x85" * 1_000_000 + b"q\x640"
STORAGE = b"(X\7\0\0\0storagectorch\nFloatStorage\nX\1\0\0\x000X\3\0\0\0cpuK\4tQ"


def state_dict(tensor: bytes, odd: bytes) -> bytes:
    """Return a good tensor beside an odd one."""
    good = b"ctorch._utils\n_rebuild_tensor_v2\n(" + STORAGE + b"K\0K\4\x85K\1\x85\x89NtR"
    return odd + b"}(X\4\0\0\0good" + good + b"X\3\0\0\0odd" + tensor + b"u."


ODD = {
    "shape": b"ctorch._utils\n_rebuild_tensor_v2\n(" + STORAGE + b"K\0hdhd\x89NtR",
    "stride": b"ctorch._utils\n_rebuild_tensor_v2\n(" + STORAGE + b"K\0K\4\x85hd\x89NtR",
    "rebuild": b"ctorch._tensor\n_rebuild_from_type_v2\n(hdN)NtR",
    "rebuild, a list": b"ctorch._tensor\n_rebuild_from_type_v2\n(]N)NtR",
    "storage": b"ctorch._utils\n_rebuild_tensor_v2\n(hdK\0K\4\x85K\1\x85\x89NtR",
}


@pytest.mark.parametrize("depth", ["doubling", "deep"])
@pytest.mark.parametrize("place", ODD)
def test_tuples_in_tuples_are_never_hashed(tmp_path: Path, place: str, depth: str) -> None:
    pickled = state_dict(ODD[place], DOUBLING if depth == "doubling" else DEEP)
    path = zipped(pickled, tmp_path / "odd.pth")
    # In a process of its own, which a crash or a hang would take with it.
    code = "import sys; from freezetui.checkpoint.open import *; print(open_checkpoint(sys.argv[1]))"
    done = subprocess.run([sys.executable, "-c", code, path], capture_output=True, text=True, timeout=30)
    assert done.returncode == 0, done.stderr
    assert "'good'" in done.stdout
    assert "1 tensor of an unsupported type (names only)" in done.stdout


class Shrinking:
    """A file that somebody truncates right before its n-th read."""

    def __init__(self, path: Path, reads: int, keep: int) -> None:
        self._file, self._path, self._reads, self._keep = path.open("rb", 0), path, reads, keep

    def fileno(self) -> int:
        return self._file.fileno()

    def seek(self, offset: int, /) -> object:
        return self._file.seek(offset)

    def read(self, size: int, /) -> bytes:
        self._reads -= 1
        if self._reads == 0:
            with self._path.open("r+b") as file:
                file.truncate(self._keep)
        return self._file.read(size) or b""


@pytest.mark.parametrize("kind", [*CONTAINERS, "safetensors"])
@pytest.mark.parametrize("reads", [1, 2, 3])
def test_a_file_that_shrinks_while_it_is_read(
    write: Callable[..., Path], tmp_path: Path, kind: str, reads: int
) -> None:
    tensors = {f"layers.{i}.weight": torch.ones(2) for i in range(3000)}
    path = tmp_path / "x.safetensors"
    if kind == "safetensors":
        save_file(tensors, path)
    else:
        path = write(tensors, kind)
    expected = open_checkpoint(path).tensors
    with open_file(str(path)) as whole:
        shrinking = Shrinking(path, reads, 50_000)
        try:
            found = read_file(whole._replace(file=shrinking), None)
        except CheckpointError as error:
            assert str(error).isprintable()
        else:
            assert found.tensors == expected  # it had read all it needed before


NO_PROTOCOL = {"doubling": DOUBLING[2:], "deep": DEEP[2:]}
KEYS = {
    "SETITEM": b"}hdNs",
    "SETITEMS": b"}(hdNu",
    "DICT": b"(hdNd",
    "a set": b"\x8f(hd\x90",
    "a frozenset": b"(hd\x91",
    "an OrderedDict": b"ccollections\nOrderedDict\n)RhdNs",
    "an OrderedDict of pairs": b"ccollections\nOrderedDict\n](hdN\x86e\x85R",
    "an OrderedDict of lists": b"ccollections\nOrderedDict\n](](hdNee\x85R",
    "a set that is called": b"c__builtin__\nset\n](hde\x85R",
    "attributes": b"ca\nb\n)R}hdNsb",
    "a framed one": b"\x95\x10\0\0\0\0\0\0\0}(hdNuNNNNNNNNNNNN000000000000",
}


#: One process opens them all; the timeout ends one that hashes for ever, whose path is the last printed.
OPENED = """
import sys
from freezetui.checkpoint.open import open_checkpoint
from freezetui.errors import CheckpointError
for path in sys.argv[1:]:
    print(path, flush=True)
    try:
        open_checkpoint(path)
    except CheckpointError as error:
        print(error, flush=True)
    else:
        sys.exit("opened")
"""


@pytest.mark.parametrize("depth", NO_PROTOCOL)
def test_keys_that_hash_for_ever_are_never_hashed(tmp_path: Path, depth: str) -> None:
    paths = [
        str(zipped(b"\x80\x04" + NO_PROTOCOL[depth] + keys + b".", tmp_path / f"{place}.pth"))
        for place, keys in KEYS.items()
    ]
    command = [sys.executable, "-c", OPENED, *paths]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=120)
    assert done.returncode == 0, done.stdout
    told = done.stdout.splitlines()
    assert told[::2] == paths
    assert all(Path(path).name in line for path, line in zip(paths, told[1::2], strict=True))


def test_keys_that_real_files_have_are_kept(write: Callable[..., Path]) -> None:
    saved = {"model": {"a": torch.ones(2)}, ("a", 1): 1, (("x", 2), 0.5): 2, 7: 3, None: 4, "set": {1, 2}}
    for protocol in (1, 2, 4):
        path = write(saved)
        torch.save(saved, path, pickle_protocol=protocol)
        checkpoint = open_checkpoint(path)
        assert [tensor.name for tensor in checkpoint.tensors] == ["a"]
        assert len(checkpoint.skipped) == 5
