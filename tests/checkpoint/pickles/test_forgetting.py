"""A long pickle whose memo is emptied on the way is read as without."""

from __future__ import annotations

import io
import random
import zipfile
from collections import OrderedDict
from typing import Any

import pytest
import torch

from freezetui.checkpoint.open import open_checkpoint
from freezetui.checkpoint.pickles import forgetting, opcodes, unpickle
from freezetui.checkpoint.pickles.unpickle import read_pickle
from freezetui.errors import CheckpointError


@pytest.fixture(autouse=True)
def short_batches(monkeypatch):
    monkeypatch.setattr(opcodes, "_BATCH", 2_000)


def saved(value: Any) -> bytes:
    """Return what torch.save writes of a value."""
    file = io.BytesIO()
    torch.save(value, file)
    return file.getvalue()


def pickled(value: Any) -> bytes:
    with zipfile.ZipFile(io.BytesIO(saved(value))) as archive:
        return archive.read(next(name for name in archive.namelist() if name.endswith("data.pkl")))


def state_dict(count: int) -> OrderedDict[str, torch.Tensor]:
    """Return tensors of which a dtype comes first after many others, with metadata, some of them tied."""
    tensors = OrderedDict((f"layers.{i}.w", torch.zeros(2, 3 + i % 2)) for i in range(count))
    tensors |= {f"late.{i}.w": torch.zeros(4, dtype=torch.float16) for i in range(count)}
    tensors["tied"] = tensors["layers.3.w"]
    tensors._metadata = {"": {"version": 1}, "layers": {"version": 1}}  # as torch does
    return tensors


def forgets(data: bytes) -> dict[int, bytes]:
    return forgetting.forgetting(data, 0, opcodes.walk(data))


def outcome(data: bytes, forgetful: bool) -> str:
    try:
        return repr(read_pickle(data, "x", forgetful=forgetful).value)
    except CheckpointError as error:
        return str(error)
    except forgetting.CannotForgetError:
        return outcome(data, False)


def test_a_long_state_dict_is_read_the_same(monkeypatch, tmp_path):
    data = pickled(state_dict(3_000))
    assert len(forgets(data)) > 3
    assert read_pickle(data, "x", forgetful=True).value == read_pickle(data, "x").value
    path = tmp_path / "long.pth"
    path.write_bytes(saved(state_dict(3_000)))
    found = open_checkpoint(path)
    monkeypatch.setattr(unpickle, "forgetting", lambda *_: {})
    assert found == open_checkpoint(path) and len(found.tensors) == 6_001


def test_what_was_forgotten_is_read_again(monkeypatch, tmp_path):
    monkeypatch.setattr(forgetting, "_LONG_GET", forgetting.re.compile(b"(?!)(.)"))
    value = state_dict(3_000)
    with pytest.raises(forgetting.CannotForgetError):
        read_pickle(pickled(value), "x", forgetful=True)
    path = tmp_path / "long.pth"
    path.write_bytes(saved(value))
    assert len(open_checkpoint(path).tensors) == 6_001


def test_a_pickle_that_counts_what_is_in_its_memo_is_read_as_it_is():
    data = pickled(state_dict(3_000))
    assert not forgets(data[:2] + b"]\x940" + data[2:])


def test_damaged_pickles_are_read_the_same():
    data, draw, forgot = pickled(state_dict(1_200)), random.Random(1), 0
    for _ in range(60):
        damaged = bytearray(data)
        for _ in range(draw.randint(1, 3)):
            damaged[draw.randrange(len(data))] = draw.choice(b"qrhjRtu(0NX}" + bytes([draw.randrange(256)]))
        changed = bytes(damaged)
        assert outcome(changed, True) == outcome(changed, False)
        try:
            forgot += bool(forgets(changed))
        except (EOFError, ValueError, unpickle.pickle.UnpicklingError):
            continue
    assert forgot > 20
