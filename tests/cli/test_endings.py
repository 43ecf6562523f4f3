"""How the program ends: on a signal, after an error of its own, without its standard streams."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import termios
import time
from pathlib import Path

import pytest

from freezetui.session.options import Options
from freezetui.session.recovery_files import found, restore
from freezetui.session.session import Session
from support.command_line import Done
from support.pseudo_terminal import Terminal

SAMPLE = Path(__file__).resolve().parents[2] / "sample_ckpts" / "conv_digits_training.pt"
PROGRAM = f"{sys.executable} -m freezetui"


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkpoint in a directory of the test's own."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return Path(shutil.copy(SAMPLE, tmp_path / "model.pth"))


def shell(command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["sh", "-c", command], capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=120
    )


def is_cooked(descriptor: int) -> bool:
    return bool(termios.tcgetattr(descriptor)[3] & termios.ICANON)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_gives_the_terminal_back(path: Path, number: signal.Signals) -> None:
    terminal = Terminal(str(path))
    terminal.wait_for("running_mean")
    assert not is_cooked(terminal.child.child_fd)
    terminal.child.kill(number)
    terminal.child.expect("\x1b\\[\\?1049l")
    terminal.child.expect("\x1b\\[\\?25h")
    assert is_cooked(terminal.child.child_fd)
    assert terminal.exit_code() == 128 + number
    assert b"Traceback" not in terminal.written


def unsaved_of(path: Path) -> int:
    """Return how many frozen tensors the recovery file of an ended process holds."""
    session = Session(Options(str(path)))
    (each,) = found(session)
    restore(session, each.kept)
    return session.totals.frozen.tensors


@pytest.mark.parametrize("before", ["", "import signal; signal.signal(signal.SIGHUP, signal.SIG_IGN)"])
def test_a_terminal_that_goes_away_ends_the_program(path: Path, before: str) -> None:
    terminal = Terminal(str(path), before=before, FREEZETUI_ENGINE="0")
    terminal.wait_for("running_mean")
    terminal.child.send("a")
    terminal.wait_for("unsaved")
    process = terminal.child.pid
    terminal.child.ptyproc.fileobj.close()  # the line is cut: SIGHUP
    deadline = time.monotonic() + 20
    pid, status = 0, 0
    while not pid and time.monotonic() < deadline:
        pid, status = os.waitpid(process, os.WNOHANG)
        time.sleep(0.05)
    assert pid == process
    assert os.waitstatus_to_exitcode(status) == 129
    assert unsaved_of(path) > 0


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGTERM, signal.SIGKILL])
def test_what_is_unsaved_survives_every_end(path: Path, tmp_path: Path, number: signal.Signals) -> None:
    terminal = Terminal(str(path), FREEZETUI_ENGINE="0")
    terminal.wait_for("running_mean")
    terminal.child.send("a")
    terminal.wait_for("unsaved")
    if number == signal.SIGKILL:  # nothing can be written any more: a second after the key it has been
        deadline = time.monotonic() + 20
        while not list(tmp_path.rglob("recovery/*.json")) and time.monotonic() < deadline:
            time.sleep(0.05)
    terminal.child.kill(number)
    terminal.child.wait()
    assert unsaved_of(path) > 0


def test_a_crash_of_the_tui_is_one_line_and_not_exit_code_0(path: Path) -> None:
    before = """
from freezetui.tui.widgets.header import Header
from freezetui.tui.app import FreezeTuiApp
def boom(*_): raise ValueError("boom")
def mounted(app): Header.render = boom; app.set_interval(0.05, app.refresh)
FreezeTuiApp.on_mount = mounted
"""
    terminal = Terminal(str(path), before=before)
    assert terminal.exit_code() == 70
    after = terminal.written.rpartition(b"\x1b[?1004l")[2].decode()
    assert "freezetui: Unexpected error: ValueError: boom. Details: " in after
    assert after.count("\n") == 1
    assert b"Traceback" not in terminal.written


def test_ctrl_c_during_the_imports() -> None:
    done = shell(
        f"""{sys.executable} -c '
import sys
class Interrupts:
    def find_spec(self, name, *_):
        if name == "click":
            raise KeyboardInterrupt
sys.meta_path.insert(0, Interrupts())
from freezetui.__main__ import run
run()'"""
    )
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "")


def test_a_crash_of_a_command_is_one_line_and_not_exit_code_0(path: Path) -> None:
    code = (
        "import freezetui.formatting.tree as t; t.show_lines = 1; from freezetui.cli.main import run; run()"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, "show", path], capture_output=True, text=True, timeout=30
    )
    assert done.returncode == 70
    assert done.stderr.startswith("freezetui: Unexpected error: TypeError: ")
    assert done.stderr.count("\n") == 1
    log = Path(done.stderr.partition("Details: ")[2].strip())
    assert "Traceback" in log.read_text()


COMMANDS = [
    "show PATH",
    "show PATH --json",
    "PATH",
    "plan PATH --preset head",
    "stats PATH",
    "validate PATH",
    "diff PATH PATH",
    "check PATH --config none.yaml",
    "show none.pth",
    "--help",
    "--version",
    "",
    "--nonsense",
]


#: Runs each command in a fork of a process that has begun with the same streams: one start serves all. Where
#: a stream is open, what is written there goes to a file of the command's own.
EACH = """
import json, os, sys
import freezetui.session.session, freezetui.formatting.tree
from freezetui.cli.main import run
codes = []
for number, arguments in enumerate(json.loads(sys.argv[1])):
    pid = os.fork()
    if not pid:
        for stream in (1, 2):
            try:
                os.fstat(stream)
            except OSError:
                continue
            to = os.open(f"{sys.argv[2]}/{number}.{stream}", os.O_CREAT | os.O_WRONLY)
            os.dup2(to, stream)
            os.close(to)
        sys.argv = ["freezetui", *arguments]
        run()
    codes.append(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
open(f"{sys.argv[2]}/codes", "w").write(json.dumps(codes))
"""


def ends_of(path: Path, closed: str) -> dict[str, Done]:
    """Return how each command on a checkpoint ends, with these streams closed from the start."""
    for config in path.parent.glob("*.yaml"):  # what `plan` wrote changes what comes before it
        config.unlink()
    with tempfile.TemporaryDirectory() as directory:
        words = [command.replace("PATH", str(path)).split() for command in COMMANDS]
        done = shell(shlex.join([sys.executable, "-c", EACH, json.dumps(words), directory]) + f" {closed}")
        assert done.returncode == 0, done.stderr
        codes = json.loads(Path(directory, "codes").read_text())

        def written(number: int, stream: int) -> str:
            file = Path(directory, f"{number}.{stream}")
            return file.read_text() if file.exists() else ""

        return {
            command: Done(code, written(number, 1), written(number, 2))
            for number, (command, code) in enumerate(zip(COMMANDS, codes, strict=True))
        }


@pytest.fixture(scope="module")
def usual_ends(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Done]]:
    """A checkpoint, and how each command on it ends with all streams open."""
    path = Path(shutil.copy(SAMPLE, tmp_path_factory.mktemp("streams")))
    return path, ends_of(path, "")


@pytest.mark.parametrize("command", ["show PATH", "diff PATH PATH", "validate PATH", "diff PATH PATH --json"])
def test_a_reader_that_closes_the_pipe_gets_no_verdict(path: Path, command: str) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    words = command.replace("PATH", str(path)).split()
    with os.fdopen(writing, "wb") as stdout:
        done = subprocess.run(
            [sys.executable, "-m", "freezetui", *words], stdout=stdout, stderr=subprocess.PIPE
        )
    assert done.returncode == 141
    assert b"Error" not in done.stderr


@pytest.mark.parametrize("closed", ["0<&-", "2>&-", "0<&- 2>&-", "1>&-", "0<&- 1>&- 2>&-"])
def test_closed_streams(usual_ends: tuple[Path, dict[str, Done]], closed: str) -> None:
    path, usual_of = usual_ends
    for command, done in ends_of(path, closed).items():
        usual = usual_of[command]
        assert "Traceback" not in done.stderr, command
        assert "Unexpected" not in done.stderr, command
        if "1>&-" not in closed:
            assert done.stdout == usual.stdout, command
            assert done.returncode == usual.returncode, command
        elif usual.stdout:
            assert done.returncode == 2, command
            if "2>&-" not in closed:
                assert "Cannot write output" in done.stderr, command
    assert path.read_bytes() == SAMPLE.read_bytes()


@pytest.mark.parametrize("redirected", ["2>&-", "2>/dev/null"])
def test_the_tui_without_stderr(path: Path, redirected: str) -> None:
    terminal = Terminal(str(path))
    terminal.child.close(force=True)
    import pexpect

    child = pexpect.spawn(
        "sh",
        ["-c", f"{PROGRAM} {path} {redirected}"],
        env={**os.environ, "TERM": "xterm-256color"},
        timeout=30,
    )
    child.expect("running_mean")
    child.send("q")
    child.expect(pexpect.EOF)
    child.close()
    assert child.exitstatus == 0


@pytest.mark.parametrize("closed", ["0<&-", "1>&-"])
def test_the_tui_without_a_terminal_shows_the_tree_or_says_why_not(path: Path, closed: str) -> None:
    done = shell(f"{PROGRAM} {path} {closed}")
    assert ("running_mean" in done.stdout) == (closed == "0<&-")
    assert "Traceback" not in done.stderr


def test_a_terminal_that_cannot_show_every_character(path: Path) -> None:
    environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
    done = subprocess.run(
        [sys.executable, "-m", "freezetui", "show", path], capture_output=True, env=environment, timeout=30
    )
    assert done.returncode == 0
    assert b"running_mean" in done.stdout
    assert done.stderr == b""


def test_warnings_of_libraries_are_not_shown(path: Path) -> None:
    code = """
import warnings
import freezetui.formatting.tree as tree
original = tree.show_lines
def warned(*arguments):
    for kind in (FutureWarning, DeprecationWarning, UserWarning, RuntimeWarning):
        warnings.warn("noise", kind)
    return original(*arguments)
tree.show_lines = warned
from freezetui.cli.main import run; run()
"""
    done = subprocess.run([sys.executable, "-c", code, "show", path], capture_output=True, timeout=60)
    assert done.returncode == 0
    assert done.stderr == b""
    asked = [sys.executable, "-W", "always", "-c", code, "show", path]
    assert b"noise" in subprocess.run(asked, capture_output=True, timeout=60).stderr
