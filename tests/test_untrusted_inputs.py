"""Every generated input from a stranger comes to the outcome that is right, and what it plants never runs."""

from __future__ import annotations

import json
import pickle
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

import pytest

from freezetui.checkpoint.open import open_checkpoint
from freezetui.checkpoint.storage import open_weights
from freezetui.errors import CheckpointError
from support import command_line
from support.untrusted import directories, pickles, tables, texts
from support.untrusted.inputs import Input, Opens, Refused
from support.untrusted.writers import Call, Global, pickled

#: What planted code would leave, in the working directory.
TRACE = "planted_code_ran"
#: What a stranger's code does first; `pickle.find_class` is raised where a global is really looked up.
WATCHED = frozenset(
    ("os.system", "os.exec", "os.posix_spawn", "subprocess.Popen", "pickle.find_class", "ctypes.dlopen")
)
#: Seconds of CPU time for one command; and of the regular expressions of one config together.
MAX_SECONDS, REGEX_SECONDS = 2.0, 2.0

INPUTS = list(
    chain(
        pickles.honest(),
        pickles.foreign(f"touch {TRACE}"),
        pickles.corrupt(),
        pickles.archives(),
        pickles.bombs(),
        tables.honest(),
        tables.headers(),
        tables.metadata(),
        directories.pieces(f"touch {TRACE}"),
        directories.shards(),
        directories.pipelines(),
        directories.config_json(),
        texts.configs(),
        texts.patterns(),
    )
)
#: Those that ask for far more memory than they are long.
GREEDY = [*pickles.bombs(), *pickles.archives(), *tables.headers(), *tables.metadata()]

happened: list[str] = []
watching = False


def _note(event: str, _: object) -> None:
    if watching and event in WATCHED:
        happened.append(event)


sys.addaudithook(_note)


@pytest.fixture
def _nothing_planted_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The working directory is where planted code would leave its trace, or be imported from."""
    global watching
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "canary_module.py").write_text(f"open({TRACE!r}, 'w').close()\n")
    happened.clear()
    watching = True
    yield
    watching = False
    assert happened == []
    assert "canary_module" not in sys.modules
    assert not (tmp_path / TRACE).exists()


def run(*arguments: str, seconds: float = MAX_SECONDS) -> command_line.Done:
    """Run the program in this process, within a time."""
    started = time.process_time()
    done = command_line.run(*arguments)
    assert time.process_time() - started < seconds
    return done


def commands(given: Input, path: Path) -> list[list[str]]:
    """Return the commands that open an input; only the first may refuse it."""
    show = ["show", str(path), "--json"]
    if given.arguments[:1] == ("plan",):
        return [["plan", str(path), *given.arguments[1:], "-o", "c.yaml"], [*show, "--config", "c.yaml"]]
    return [[*show, *given.arguments], ["show", str(path), *given.arguments]]


def test_there_are_many_and_each_has_a_name() -> None:
    assert len({given.name for given in INPUTS}) == len(INPUTS) > 300


@pytest.mark.usefixtures("_nothing_planted_runs")
@pytest.mark.parametrize("given", INPUTS, ids=lambda given: given.name)
def test_an_input_comes_to_its_outcome(given: Input, tmp_path: Path) -> None:
    path = given.write(tmp_path / "given") if given.opened == "." else given.write(tmp_path)
    first, second = commands(given, path)
    seconds = MAX_SECONDS + (REGEX_SECONDS if "re:" in given.name else 0)
    code, out, err = run(*first, seconds=seconds)
    if isinstance(given.outcome, Refused):
        assert (code, out) == (2, "")
        assert re.search(given.outcome.said, err, re.DOTALL)
        assert err.startswith("freezetui: ")
        assert err.endswith("\n")
        assert err[:-1].isprintable()
        assert len(err) < 1_500 + 2 * len(str(path))
        return
    assert code == 0, err
    again, more, more_err = run(*second, seconds=seconds)
    assert again == 0
    assert all(line.isprintable() for line in f"{out}\n{err}\n{more}\n{more_err}".splitlines())
    check_opened(json.loads(more if first[0] == "plan" else out), given.outcome, path)


def check_opened(told: dict, outcome: Opens, path: Path) -> None:
    """Compare what `show --json` printed, and whether the weights can be loaded."""
    assert {tensor["name"]: tuple(tensor["shape"]) for tensor in told["tensors"]} == dict(outcome.tensors)
    assert len(told["warnings"]) == len(outcome.warnings)
    for warning, pattern in zip(told["warnings"], outcome.warnings, strict=True):
        assert re.search(pattern, warning)
    if outcome.frozen is not None:
        assert {tensor["name"] for tensor in told["tensors"] if tensor["frozen"]} == outcome.frozen
    try:
        with open_weights(open_checkpoint(path)):
            is_checkable = True
    except CheckpointError as error:
        assert str(error).isprintable()
        is_checkable = False
    assert is_checkable == outcome.checkable


def test_greedy_inputs_take_no_memory(tmp_path: Path) -> None:
    """All in one process, which is looked at from outside of Python's own count."""
    paths = [given.write(tmp_path / str(number)) for number, given in enumerate(GREEDY)]
    code = (
        "import re, sys\n"
        "from freezetui.checkpoint.open import open_checkpoint\n"
        "from freezetui.errors import CheckpointError\n"
        "peak = lambda: int(re.search(r'VmHWM:\\s+(\\d+)', open('/proc/self/status').read())[1])\n"
        "before = peak()\n"
        "for path in sys.argv[1:]:\n"
        "    try: open_checkpoint(path)\n"
        "    except CheckpointError: pass\n"
        "print(peak() - before)"
    )
    done = subprocess.run([sys.executable, "-c", code, *paths], capture_output=True, text=True, check=True)
    assert int(done.stdout) < 300_000
    assert done.stderr == ""


def test_what_is_planted_would_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pickle itself runs it, and that is noticed."""
    global watching
    monkeypatch.chdir(tmp_path)
    happened.clear()
    watching = True
    try:
        pickle.loads(pickled(Call(Global("os", "system"), (f"touch {TRACE}",))))
    finally:
        watching = False
    assert set(happened) == {"os.system", "pickle.find_class"}
    assert (tmp_path / TRACE).exists()


@pytest.mark.torch
@pytest.mark.parametrize("given", list(pickles.honest()), ids=lambda given: given.name)
def test_torch_itself_reads_what_is_honest(given: Input, tmp_path: Path) -> None:
    import torch

    loaded = torch.load(given.write(tmp_path), weights_only=False)
    state = loaded.get("model", loaded)
    assert isinstance(given.outcome, Opens)
    assert {name: tuple(value.shape) for name, value in state.items()} == dict(given.outcome.tensors)
