"""The engine as a real process: fed, killed and starved."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import msgspec
import pytest
import torch
from torch import nn

from freezetui import bootstrap
from freezetui.config.schema import ConfigData
from freezetui.errors import CheckpointError, EngineError
from freezetui.freeze.rules import Rule
from freezetui.model_spec import ModelSpec
from freezetui.sanity import client
from freezetui.sanity.client import Engine, run_check
from freezetui.sanity.protocol import CheckRequest, Finished, Progress, Training
from freezetui.text import plain_lines
from support.forked import SUBPROCESS
from support.processes import alive, ends

SOUND = """
    import os, sys
    import torch
    from torch import nn

    class Loud(nn.Linear):
        def forward(self, x):
            print("hello from forward")
            print("hello from stderr", file=sys.stderr)
            os.write(1, b'{"type":"finished"}\\n')
            return super().forward(x)

    def build():
        print("hello from build", sys.stdin.read())
        return Loud(4, 3)
"""

BAD = """
    import ctypes, os, sys, threading, time

    def exits():
        os._exit(7)

    def segfaults():
        threading.Thread(target=time.sleep, args=(600,), daemon=True).start()
        ctypes.string_at(0)

    def killed():
        os.kill(os.getpid(), 9)

    def sleeps():
        time.sleep(600)

    def forks():
        child = os.fork()
        if child == 0:
            time.sleep(600)
        print("last words of the parent of", child, flush=True)
        os._exit(3)

    def holds_the_gil():
        ctypes.PyDLL(None).sleep(600)

    def talks():
        line = "x" * 9999
        for i in range(5000):
            print(line)
            print(line, file=sys.stderr)
        print("the end", flush=True)
        os._exit(4)

    def starves():
        import resource, torch
        from torch import nn

        class Hungry(nn.Linear):
            def forward(self, x):
                return super().forward(x) + torch.ones(2**33).sum()

        used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (used + 2**30,) * 2)
        return Hungry(4, 3)

    def batch():
        import torch
        return torch.ones(2, 4)

    def hoards():
        return [bytearray(2**62)]

    def raises():
        raise KeyError("\\033[31mred\\033[0m\\nline")

    def quits():
        sys.exit("enough")
"""

STUBBORN = """
    import ctypes, os, time

    def sleeps():
        time.sleep(600)

    def holds_the_gil():
        ctypes.PyDLL(None).sleep(600)

    def stops():
        os.kill(os.getpid(), 19)
        time.sleep(600)

    def forks_and_holds_the_gil():
        child = os.fork()
        if child == 0:
            os.closerange(0, 100)
            time.sleep(600)
        print("child", child, flush=True)
        ctypes.PyDLL(None).sleep(600)

    def moves_away():
        from torch import nn
        os.chdir("/")
        return nn.Linear(4, 3)

    def waits():
        os.wait()
"""


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("engine")
    torch.save(nn.Linear(4, 3).state_dict(), folder / "linear.pth")
    (folder / "sound.py").write_text(textwrap.dedent(SOUND))
    (folder / "bad.py").write_text(textwrap.dedent(BAD))
    (folder / "stubborn.py").write_text(textwrap.dedent(STUBBORN))
    return folder


def request(files: Path, factory: str = "", input: tuple[int, ...] = (), **changes: object) -> CheckRequest:
    changes = {"config": frozen("bias"), "device": "cpu", **changes}
    model = ModelSpec(str(files / factory) if factory else "", input=input)
    return CheckRequest(checkpoint=str(files / "linear.pth"), model=model, **changes)


def frozen(pattern: str) -> ConfigData:
    return ConfigData(rules=(Rule("freeze", pattern),))


def test_prints_of_the_models_code_reach_the_log_and_not_the_channel(files: Path) -> None:
    with Engine(request(files, "sound.py:build", input=(4,), steps=2)) as engine:
        *progress, last = engine.events()
        log = "\n".join(engine.log_tail(1000))
    assert isinstance(last, Finished)
    report = last.report
    assert (report.verdict, report.forward, report.steps) == ("held", True, 2)
    assert (report.frozen.held, report.trainable.moved, report.input) == (1, 1, (4,))
    assert report.architecture.endswith("sound.py:build")
    assert all(isinstance(event, Progress) and event.text for event in progress)
    assert [e.phase for e in progress] == [
        *("import", "build", "input", "load"),
        *("step", "step", "control", "control", "compare"),
    ]
    assert {"hello from build", "hello from forward", "hello from stderr"} <= set(log.split("\n"))


def test_without_an_architecture_the_bare_tensors_are_checked(files: Path, in_process: None) -> None:
    report = run_check(request(files))
    assert (report.verdict, report.forward, report.architecture) == ("inconclusive", False, "")
    assert (report.frozen.tensors, report.trainable.moved) == (1, 1)


def test_a_loss_that_is_no_number_is_a_finding(files: Path, in_process: None) -> None:
    state = nn.Linear(4, 3).state_dict()
    state["weight"][0, 0] = float("nan")
    torch.save(state, files / "nan.pth")
    asked = request(files, "sound.py:build", input=(4,))
    report = run_check(msgspec.structs.replace(asked, checkpoint=str(files / "nan.pth")))
    assert report.verdict == "inconclusive"
    assert report.losses == (None, None, None)
    assert "N4" in {finding.code for finding in report.findings}


ENDS = {
    "exits": "exit code 7",
    "segfaults": "signal 11.*Last log line: File .*ctypes.*in string_at",
    "killed": "signal 9.*memory",
    "forks": r"exit code 3.*last words of the parent of \d+",
    "starves": r"Out of memory: RuntimeError: .*can't allocate memory",
}


@pytest.mark.parametrize("factory", ENDS)
def test_every_end_is_one_clear_line(files: Path, factory: str, forked: None) -> None:
    training = Training(batch=f"{files / 'bad.py'}:batch")  # what runs then is the model of the check itself
    with pytest.raises(EngineError, match=ENDS[factory]) as caught:
        run_check(request(files, f"bad.py:{factory}", training=training), timeout=60)
    assert "\n" not in str(caught.value)
    assert "\x1b" not in str(caught.value)
    for child in re.findall(r"parent of (\d+)", str(caught.value)):
        assert ends(int(child))


@pytest.mark.parametrize(
    ("factory", "said"),
    [
        ("hoards", "MemoryError"),
        ("quits", r"raised SystemExit: enough\. Raised at .*bad.py, line \d+, in quits\."),
    ],
)
def test_what_the_models_code_raises_is_one_clear_line(
    files: Path, factory: str, said: str, in_process: None
) -> None:
    with pytest.raises(EngineError, match=said) as caught:
        run_check(request(files, f"bad.py:{factory}"))
    assert "\n" not in str(caught.value)


def test_the_log_of_what_a_user_can_act_on_holds_no_traceback_of_ours(files: Path, forked: None) -> None:
    with Engine(request(files, "bad.py:segfault")) as engine:
        with pytest.raises(EngineError, match=r"has no segfault\. Did you mean segfaults"):
            list(engine.events())
        assert engine.log_tail() == []
    with Engine(request(files, "bad.py:raises")) as engine:
        said = r"raised KeyError: .*red.*\. Raised at .*bad.py, line \d+, in raises\."
        with pytest.raises(EngineError, match=said) as caught:
            list(engine.events())
        assert "\n" not in str(caught.value)
        assert "\x1b" not in str(caught.value)
        log = engine.log_tail()
    assert log[0].startswith("Traceback")
    assert "freezetui" not in "\n".join(log)


def test_a_device_that_is_not_here_is_told_with_those_that_are(files: Path, in_process: None) -> None:
    with pytest.raises(EngineError, match=r"Device cuda:99 is not available\. Available: auto, cpu"):
        run_check(request(files, device="cuda:99"))


def test_a_hang_ends_with_the_timeout(files: Path, forked: None) -> None:
    started = time.monotonic()
    timed_out = pytest.raises(EngineError, match="timed out after 4 s")
    with Engine(request(files, "bad.py:holds_the_gil"), timeout=4) as engine, timed_out:
        list(engine.events())
    assert time.monotonic() - started < 8
    assert not alive(engine._process.pid)


def test_what_the_models_code_prints_is_bounded(files: Path, forked: None) -> None:
    with Engine(request(files, "bad.py:talks")) as engine:
        with pytest.raises(EngineError, match=r"exit code 4.*the end"):
            list(engine.events())
        assert engine.log_tail()[-1] == "the end"
        assert len(engine._log.text(ended=True)) <= client._TAIL_BYTES


def test_cancel_from_another_thread_ends_the_whole_group_at_once(files: Path, forked: None) -> None:
    with Engine(request(files, "bad.py:sleeps")) as engine:
        events = engine.events()
        next(events)
        threading.Timer(0.2, engine.cancel).start()
        started = time.monotonic()
        assert all(isinstance(event, Progress) for event in events)
        assert time.monotonic() - started < 5
    assert not alive(engine._process.pid)


UI = """
    import os, sys, time
    from freezetui.model_spec import ModelSpec
    from freezetui.sanity import client
    from freezetui.sanity.client import Engine
    from freezetui.sanity.protocol import CheckRequest
    if sys.argv[4:]:
        from support.forked import SUBPROCESS
        client.subprocess = SUBPROCESS
    engine = Engine(CheckRequest(checkpoint=sys.argv[1], model=ModelSpec(sys.argv[2])))
    for event in engine.events():
        if event.phase == "build":
            while sys.argv[3] not in "".join(engine.log_tail()):
                time.sleep(0.05)
            print(engine._process.pid, engine.log_tail(), flush=True)
"""


@pytest.mark.parametrize(
    ("factory", "number"),
    [
        ("sleeps", signal.SIGTERM),  # nothing handles it: the kernel ends both in the same way
        ("holds_the_gil", signal.SIGKILL),
        ("stops", signal.SIGKILL),
        ("forks_and_holds_the_gil", signal.SIGKILL),
    ],
)
def test_the_engine_and_what_it_started_end_with_the_ui(files: Path, factory: str, number: int) -> None:
    wanted = "child" if factory.startswith("forks") else ""
    arguments = [str(files / "linear.pth"), f"{files / 'stubborn.py'}:{factory}", wanted]
    if factory != "holds_the_gil":  # one starts both from nothing
        arguments.append("forked")
    module = SUBPROCESS if arguments[3:] else subprocess
    ui = module.Popen([sys.executable, "-c", textwrap.dedent(UI), *arguments], stdout=module.PIPE, text=True)
    assert ui.stdout is not None
    told = ui.stdout.readline()
    pids = [int(number) for number in re.findall(r"\d+", told)]
    assert len(pids) == 1 + bool(wanted)
    time.sleep(0.3)  # until the factory does what it is called after
    assert all(map(alive, pids))
    ui.send_signal(number)
    ui.wait()
    ui.stdout.close()
    assert all(map(ends, pids))


def test_a_stopped_engine_can_be_cancelled(files: Path, forked: None) -> None:
    with Engine(request(files, "stubborn.py:stops")) as engine:
        assert next(engine.events())
        pid = engine._process.pid
        os.kill(pid, signal.SIGSTOP)
        engine.cancel()
    assert not alive(pid)


def test_an_engine_whose_ui_has_ended_before_it_began_ends(tmp_path: Path) -> None:
    boot = bootstrap.command("freezetui.engine.main", needs=client._NEEDS, arguments=[str(os.getppid())])
    done = subprocess.run(boot, input=b"", capture_output=True, timeout=60)
    assert done.returncode == 1
    assert done.stdout == b""


def test_code_that_changes_the_directory_breaks_no_relative_path(files: Path, monkeypatch, forked) -> None:
    monkeypatch.chdir(files)
    asked = msgspec.structs.replace(request(files, "stubborn.py:moves_away", (4,)), checkpoint="linear.pth")
    assert run_check(asked).verdict == "held"


@pytest.mark.parametrize("now", ["other names", "cut off", "gone"])
def test_a_checkpoint_that_was_replaced_is_told(
    files: Path, tmp_path: Path, now: str, in_process: None
) -> None:
    from freezetui.session.options import Options
    from freezetui.session.session import Session

    path = tmp_path / "linear.pth"
    torch.save(nn.Linear(4, 3).state_dict(), path)
    session = Session(Options(str(path), device="cpu"))
    session.plan.replace(b"\0\1")
    assert session.why_not_as_opened() == ""
    if now == "other names":
        torch.save({"other": torch.ones(2)}, path)
    elif now == "cut off":
        path.write_bytes(path.read_bytes()[:100])
    else:
        path.unlink()
    assert session.checkpoint_changed
    assert "has changed since it was opened" in session.why_not_as_opened()
    with pytest.raises(EngineError, match=r"linear\.pth has changed since it was opened"):
        run_check(session.request())


def test_new_values_under_the_same_names_are_checked(tmp_path: Path, in_process: None) -> None:
    from freezetui.session.options import Options
    from freezetui.session.session import Session

    path = tmp_path / "linear.pth"
    torch.save(nn.Linear(4, 3).state_dict(), path)
    session = Session(Options(str(path), device="cpu"))
    session.plan.replace(b"\0\1")
    torch.save(nn.Linear(4, 3).state_dict(), path)
    assert session.checkpoint_changed
    assert session.why_not_as_opened() == ""
    assert run_check(session.request()).verdict == "inconclusive"


def test_weights_of_another_file_than_the_header_are_refused(tmp_path: Path) -> None:
    from freezetui.checkpoint.open import open_checkpoint
    from freezetui.checkpoint.storage import open_weights

    path, other = tmp_path / "linear.pth", tmp_path / "other.pth"
    torch.save(nn.Linear(4, 3).state_dict(), path)
    torch.save(nn.Linear(4, 3).state_dict(), other)
    checkpoint = open_checkpoint(str(path))
    other.replace(path)  # as long as the first, byte for byte in its header
    with pytest.raises(CheckpointError, match="has changed since it was opened"), open_weights(checkpoint):
        pass


def test_the_models_code_meets_no_child_that_it_has_not_started(files: Path, forked: None) -> None:
    with pytest.raises(EngineError, match="ChildProcessError"):
        run_check(request(files, "stubborn.py:waits"))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"config": frozen("bais")}, "'bais' matches no parameter.*Closest: bias"),
        ({"checkpoint": "/nowhere/x.pth"}, "/nowhere/x.pth"),
        ({"model": ModelSpec("torchvision:resnet18")}, "does not fit"),
    ],
    ids=["pattern", "file", "weights"],
)
def test_what_cannot_be_checked_is_told_as_the_ui_would(
    files: Path, changes: dict[str, object], message: str, in_process: None
) -> None:
    with pytest.raises(EngineError, match=message):
        run_check(msgspec.structs.replace(request(files), **changes))


def test_a_file_in_the_current_folder_shadows_nothing(files: Path, tmp_path: Path, monkeypatch) -> None:
    (tmp_path / "torch.py").write_text("raise SystemExit('shadowed')")
    monkeypatch.chdir(tmp_path)
    assert run_check(request(files)).frozen.held == 1


def test_the_client_imports_no_torch() -> None:
    code = (
        "import sys, freezetui.sanity.client, freezetui.sanity.report;"
        "print(sorted({'torch', 'numpy', 'textual', 'rich'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("a\x1b[1;31mred\x1b[0m\n\n\x07b\r\nc\td", ["ared", "b", "c   d"]),
        ("\x1b]8;;http://x\x07link\x1b]8;;\x1b\\", ["link"]),
        ("x\u202ey", ["xy"]),
    ],
)
def test_foreign_text_loses_what_a_terminal_would_obey(text: str, lines: list[str]) -> None:
    assert plain_lines(text) == lines
