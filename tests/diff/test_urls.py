"""diff, stats and validate behind URLs: the same answer as of the files, with little memory."""

from __future__ import annotations

import importlib
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from freezetui.checkpoint.open import open_checkpoint
from freezetui.checkpoint.sources import remote_map
from freezetui.checkpoint.storage import open_weights
from freezetui.cli.main import run
from freezetui.diff.run import diff
from freezetui.diff.stats import tensor_stats
from freezetui.diff.validate import validate
from freezetui.errors import FreezeTuiError, NetworkError
from support.loopback import Served, served

State = dict[str, torch.Tensor]
remote = importlib.import_module("freezetui.checkpoint.sources.remote")


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Served]:
    monkeypatch.setattr(remote, "PAUSE_SECONDS", 0.01)
    with served(tmp_path) as state:
        yield state


def channels(scale: float) -> tuple[torch.Tensor, torch.Tensor, int]:
    return torch.full((4,), scale, dtype=torch.float64), torch.zeros(4, dtype=torch.int64), 0


def states() -> tuple[State, State]:
    """Tensors of several dtypes and layouts, and the same ones after a few changes."""
    generator = torch.Generator().manual_seed(0)

    def random(*shape: int) -> torch.Tensor:
        return torch.randn(shape, generator=generator)

    before = {
        "large.weight": random(700, 600),
        "large.bias": random(600).to(torch.bfloat16),
        "turned.weight": random(40, 30).T,
        "steps": torch.tensor(3),
        "sparse": torch.eye(5).to_sparse(),
        "words.weight": random(50, 20),
        "classes.weight": random(9, 20),
        "channels": torch._make_per_channel_quantized_tensor(random(4, 4).to(torch.int8), *channels(1.0)),
        **{f"blocks.{i}.norm.weight": random(8) for i in range(20)},
    }
    after = {name: value.clone() for name, value in before.items()}
    after["large.weight"][650, 3:9] += 1
    after["turned.weight"][2, 2] = float("nan")
    after["blocks.7.norm.weight"] *= 0.9
    after["steps"] += 1
    after["words.weight"] = torch.cat((before["words.weight"], random(2, 20)))
    after["words.weight"][7, 3] += 1
    after["classes.weight"] = before["classes.weight"][:5].clone()
    integers = before["channels"].int_repr()
    after["channels"] = torch._make_per_channel_quantized_tensor(integers, *channels(2.0))
    return before, after


def dense(state: State) -> State:
    return {
        name: value.contiguous()
        for name, value in state.items()
        if not (value.is_sparse or value.is_quantized)
    }


def write(path: Path, state: State) -> Path:
    """Write a file in the format of its name."""
    if path.suffix == ".safetensors":
        save_file(dense(state), path)
    else:
        torch.save(state, path, _use_new_zipfile_serialization=path.suffix == ".pth")
    return path


@pytest.mark.parametrize("suffix", [".pth", ".legacy", ".safetensors"])
def test_urls_give_the_same_as_files(tmp_path: Path, server: Served, suffix: str) -> None:
    before, after = states()
    one, other = write(tmp_path / f"a{suffix}", before), write(tmp_path / f"b{suffix}", after)
    urls = [open_checkpoint(f"{server.url}/{path.name}") for path in (one, other)]
    here = [open_checkpoint(path) for path in (one, other)]
    expected = diff(*here)
    assert sum(t.status == "changed" for t in expected.tensors) == 4 + (suffix != ".safetensors")
    assert {t.rows_changed for t in expected.tensors if t.status == "reshaped"} == {0, 1}
    for sides in (urls, [here[0], urls[1]], [urls[0], here[1]]):
        found = diff(*sides)
        assert found.tensors == expected.tensors
    assert validate(urls[1]).problems == validate(here[1]).problems
    assert any(problem.what == "NaN" for problem in validate(here[1]).problems)
    tensor = urls[0].tensors[0]
    with open_weights(urls[0], urls=True) as far, open_weights(here[0]) as near:
        stats, same = tensor_stats(far, tensor), tensor_stats(near, here[0].tensors[0])
        assert (stats.min, stats.max, stats.histogram) == (same.min, same.max, same.histogram)
        assert stats.std == pytest.approx(same.std)


def test_shards_behind_an_index_and_pieces(tmp_path: Path, server: Served) -> None:
    import fsspec
    import torch.distributed.checkpoint as dcp

    before, after = map(dense, states())
    write(tmp_path / "after.pth", after)
    here = open_checkpoint(tmp_path / "after.pth")
    names = sorted(before)
    index = {name: f"{number % 2}.safetensors" for number, name in enumerate(names)}
    for shard in set(index.values()):
        save_file({name: before[name] for name in names if index[name] == shard}, tmp_path / shard)
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps({"weight_map": index}))
    dcp.save(before, checkpoint_id=tmp_path / "dcp")
    fsspec.filesystem("memory").put(f"{tmp_path}/dcp", "/pieces", recursive=True)
    whole = write(tmp_path / "before.pth", before)
    expected = {(t.name, t.status, t.changed) for t in diff(open_checkpoint(whole), here).tensors}
    for source in (f"{server.url}/model.safetensors.index.json", "memory://pieces"):
        found = diff(open_checkpoint(source), here)
        assert {(t.name, t.status, t.changed) for t in found.tensors} == expected


def test_each_byte_is_fetched_once_and_little_is_kept(
    tmp_path: Path, server: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    state = {f"{i}.weight": torch.full((1 << 18,), float(i)) for i in range(12)}
    path = write(tmp_path / "a.pth", state)
    size = path.stat().st_size
    monkeypatch.setattr(remote_map, "KEPT", 1 << 20)
    monkeypatch.setattr(remote_map, "_MAX_REQUEST", 1 << 19)
    kept: list[int] = []
    keep = remote_map.RemoteFiles.keep

    def counted(self: remote_map.RemoteFiles, *args: object) -> None:
        keep(self, *args)  # type: ignore[arg-type]
        kept.append(len(self._kept) * remote_map.BLOCK)

    monkeypatch.setattr(remote_map.RemoteFiles, "keep", counted)
    url = open_checkpoint(f"{server.url}/a.pth")
    server.sent, server.requests = 0, []
    assert {t.status for t in diff(open_checkpoint(path), url).tensors} == {"identical"}
    assert server.sent < 1.1 * size + (1 << 19)
    assert max(kept) <= 1 << 20
    assert len(server.requests) < 60


def test_one_line_whatever_the_server_does(tmp_path: Path, server: Served) -> None:
    before, after = states()
    one, _ = write(tmp_path / "a.pth", before), write(tmp_path / "b.pth", after)
    here = open_checkpoint(one)

    def opened() -> object:
        server.tag, server.failures, server.breaks, server.ranges, server.status = '"1"', 0, False, True, 0
        return open_checkpoint(f"{server.url}/b.pth?token=secret")

    def failure(**change: object) -> str:
        url = opened()
        for name, value in change.items():
            setattr(server, name, value)
        with pytest.raises(FreezeTuiError) as error:
            diff(here, url)  # type: ignore[arg-type]
        assert "\n" not in str(error.value)
        assert "secret" not in str(error.value)
        return str(error.value)

    assert "does not exist" in failure(status=404)
    assert "cannot be read" in failure(failures=1000, breaks=True)
    assert "range-request" in failure(ranges=False)
    assert "has changed since it was opened" in failure(tag='"2"')
    # A broken answer is asked for again.
    url = opened()
    server.failures, server.breaks = 2, True
    assert len(diff(here, url).tensors) == len(here.tensors)  # type: ignore[arg-type]
    # In the middle, too.
    url = opened()
    with open_weights(url, urls=True) as weights:  # type: ignore[arg-type]
        server.tag = '"3"'
        with pytest.raises(NetworkError, match="has changed"):
            tensor_stats(weights, url.tensors[0])  # type: ignore[attr-defined]


def test_commands(
    tmp_path: Path, server: Served, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    before, after = map(dense, states())
    one = write(tmp_path / "a.pth", before)
    write(tmp_path / "b.safetensors", after)

    def call(*arguments: object) -> tuple[object, str, str]:
        monkeypatch.setattr("sys.argv", ["freezetui", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            run()
        return ended.value.code, *capsys.readouterr()

    url = f"{server.url}/b.safetensors"
    code, out, _ = call("diff", one, url)
    assert (code, "large" in out) == (1, True)
    assert call("diff", one, f"{server.url}/a.pth")[0] == 0
    code, out, _ = call("validate", url)
    assert (code, "NaN" in out) == (1, True)
    code, out, _ = call("stats", url, "large.weight")
    assert (code or 0, "large.weight" in out) == (0, True)
    code, out, err = call("diff", one, f"{server.url}/gone.pth")
    assert (code, out, "does not exist" in err) == (2, "", True)
