"""Check a freeze on many architectures; `--write docs/architectures.md` writes the table.

Each model is small and random. Its library saves it, the first half of its parameters is frozen, and it is
checked as on the command line: the model is built from the spec, an input is searched for, the weights are
loaded, and three steps are compared with three steps of the control run. Each has a process of its own.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import re
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Iterator
from multiprocessing import get_context
from pathlib import Path
from typing import Any

os.environ["HF_HUB_OFFLINE"] = "1"
ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests"))

import msgspec  # noqa: E402
import timm  # noqa: E402
import torch  # noqa: E402
import torchvision  # noqa: E402
import transformers  # noqa: E402
from torch import nn  # noqa: E402

from freezetui.checkpoint.open import open_checkpoint  # noqa: E402
from freezetui.config.schema import ConfigData  # noqa: E402
from freezetui.engine.check import check_model  # noqa: E402
from freezetui.engine.model_under_test import ModelUnderTest, load_model_under_test  # noqa: E402
from freezetui.freeze.rules import Rule  # noqa: E402
from freezetui.model_spec import ModelSpec  # noqa: E402
from freezetui.recognition.catalog import recognize  # noqa: E402
from freezetui.sanity.protocol import CheckRequest  # noqa: E402
from support import own_models, tiny_transformers  # noqa: E402
from support.more_transformers import MORE  # noqa: E402
from support.shrunk_configs import shrunk  # noqa: E402

_MAX_SECONDS = 240

#: Library -> the names of its models; those of transformers not in `tiny_transformers` or `more_transformers`
#: are made of shrunk configs.
LISTED = {
    library: names.split()
    for library, names in re.findall(
        r"^\[(\w+)\]$([^\[]*)", Path(__file__).with_name("architectures.txt").read_text("utf-8"), re.MULTILINE
    )
}
OWN = [
    name
    for name, value in vars(own_models).items()
    if isinstance(value, type) and issubclass(value, nn.Module) and not name.startswith("_")
]


class Row(msgspec.Struct):
    """One architecture's result.

    Attributes:
        library, name: what was checked.
        verdict: "held", "moved", "inconclusive" or "error".
        frozen, trainable: how many tensors.
        input: its shape, if all inputs have the same.
        reason: why it was not held.
        seconds: from the file to the verdict.
    """

    library: str
    name: str
    verdict: str
    frozen: int = 0
    trainable: int = 0
    input: str = ""
    reason: str = ""
    seconds: float = 0


class NotSaved(Exception):
    """The model could not be made small, or saved."""


def save_transformers(name: str, directory: Path) -> tuple[Path, ModelSpec]:
    """Save a tiny model by its library."""
    model_class = getattr(transformers, name)
    make = tiny_transformers.FAMILIES.get(name) or MORE.get(name)
    config = make(transformers) if make else shrunk(model_class.config_class)
    model_class(config).save_pretrained(directory)
    return directory, ModelSpec(f"transformers:{name}")


def save_torchvision(name: str, directory: Path) -> tuple[Path, ModelSpec]:
    """Save the state_dict; a quantized one is prepared for quantization-aware training, as its users do."""
    arguments: dict[str, Any] = {}
    if name.startswith("quantized_"):
        spec = ModelSpec(f"{ROOT / 'tests' / 'support' / 'quantized_models.py'}:{name}")
        from support import quantized_models

        model = getattr(quantized_models, name)()
        side = 299 if "inception" in name else 128
        model(torch.randn(2, 3, side, side))  # observers allocate per channel
    else:
        detection = ("rcnn", "retinanet", "fcos", "ssd", "deeplab", "fcn", "lraspp")
        none = {"weights_backbone": None} if any(word in name for word in detection) else {}
        if not none and not name.startswith("raft"):
            arguments = {"num_classes": 7}
        model = torchvision.models.get_model(name, weights=None, **none, **arguments)
        spec = ModelSpec(f"torchvision:{name}", arguments)
    torch.save(model.state_dict(), directory / f"{name}.pth")
    return directory / f"{name}.pth", spec


def save_timm(name: str, directory: Path) -> tuple[Path, ModelSpec]:
    """Save the state_dict."""
    torch.save(timm.create_model(name, num_classes=7).state_dict(), directory / f"{name}.pth")
    return directory / f"{name}.pth", ModelSpec("timm:create_model", {"model_name": name, "num_classes": 7})


def save_own(name: str, directory: Path) -> tuple[Path, ModelSpec]:
    """Save the state_dict; lazy layers after a first batch, as their users do."""
    model = getattr(own_models, name)()
    first = {"LazyNet": (2, 3, 20, 20), "MadeInForward": (2, 10), "ActNormFlow": (4, 6)}
    if name in first:
        model(torch.randn(first[name]))
    torch.save(model.state_dict(), directory / f"{name}.pth")
    return directory / f"{name}.pth", ModelSpec(f"{ROOT / 'tests' / 'support' / 'own_models.py'}:{name}")


SAVE = {
    "transformers": (save_transformers, LISTED["transformers"]),
    "torchvision": (save_torchvision, LISTED["torchvision"]),
    "timm": (save_timm, LISTED["timm"]),
    "own code": (save_own, OWN),
}


def frozen_half(under_test: ModelUnderTest) -> tuple[Rule, ...]:
    """Return rules that freeze the first half of the live parameters, by the file's names."""
    assert under_test.names is not None
    parameters = [t for t in under_test.names.live if t.kind == "parameter" and t.files]
    half = parameters[: max(1, len(parameters) // 2)]
    return tuple(Rule("freeze", name) for name in dict.fromkeys(name for t in half for name in t.files))


def held(library: str, name: str) -> Row:
    """Save, freeze and check one model."""
    save, _ = SAVE[library]
    with tempfile.TemporaryDirectory() as directory:
        try:
            torch.manual_seed(0)
            path, spec = save(name, Path(directory))
        except Exception as error:
            raise NotSaved(f"{type(error).__name__}: {error}") from error
        started = time.perf_counter()
        checkpoint = open_checkpoint(str(path))
        request = CheckRequest(checkpoint=str(path), model=spec, recognition=recognize(checkpoint.tensors))
        under_test = load_model_under_test(request, checkpoint, torch.device("cpu"), lambda phase: None)
        report = check_model(under_test, ConfigData(rules=frozen_half(under_test)))
    seconds = time.perf_counter() - started
    reason = ""
    if report.verdict != "held":
        reason = under_test.reason or "; ".join(
            f"{f.code} {f.message} {', '.join(f.tensors[:2])}"
            for f in report.findings
            if f.severity != "note"
        )
    shown = "x".join(map(str, report.input))
    return Row(
        library, name, report.verdict, report.frozen.tensors, report.trainable.tensors, shown, reason, seconds
    )


def child(library: str, name: str, pipe: Any, verbose: bool) -> None:
    """Send one row."""
    torch.set_num_threads(1)
    silent = contextlib.ExitStack()
    started = time.perf_counter()
    with silent:
        if not verbose:
            silent.enter_context(contextlib.redirect_stderr(io.StringIO()))
            silent.enter_context(contextlib.redirect_stdout(io.StringIO()))
        silent.enter_context(warnings.catch_warnings())
        warnings.simplefilter("ignore")
        try:
            row = held(library, name)
        except Exception as error:
            if verbose:
                traceback.print_exc()
            kind = "not saved" if isinstance(error, NotSaved) else "error"
            said = str(error) if isinstance(error, NotSaved) else f"{type(error).__name__}: {error}"
            row = Row(
                library,
                name,
                kind,
                reason=" ".join(said.split())[:200],
                seconds=time.perf_counter() - started,
            )
    pipe.send_bytes(msgspec.json.encode(row))


def check(library: str, name: str, verbose: bool) -> Row:
    """Check one model in a process of its own, which is ended when it takes too long."""
    context = get_context("fork")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=child, args=(library, name, sender, verbose))
    process.start()
    sender.close()
    try:
        if receiver.poll(_MAX_SECONDS):
            return msgspec.json.decode(receiver.recv_bytes(), type=Row)
        reason = f"more than {_MAX_SECONDS} s"
    except EOFError:
        reason = "the process died"
    finally:
        process.kill()
        process.join()
    return Row(library, name, "error", reason=reason, seconds=_MAX_SECONDS)


def markdown(rows: list[Row]) -> str:
    """Return the document: on how many the freeze held, what remains, and the table."""
    done = [row for row in rows if row.verdict != "not saved"]
    good = [row for row in done if row.verdict == "held"]
    per = Counter(row.library for row in good)
    total = Counter(row.library for row in done)
    counts = ", ".join(f"{library} {per[library]} of {total[library]}" for library in SAVE)
    lines = [
        "# Architectures that were checked",
        "",
        *(__doc__ or "").splitlines()[2:],
        "Written by `scripts/check_architectures.py` with torch "
        f"{torch.__version__.split('+')[0]}, transformers {transformers.__version__}, "
        f"timm {timm.__version__}, torchvision {torchvision.__version__.split('+')[0]}.",
        "",
        f"The freeze held on {len(good)} of {len(done)} ({counts}).",
        "",
        "## What remains",
        "",
        *(
            [f"- {r.library} {r.name}: {r.verdict}: {r.reason}" for r in done if r.verdict != "held"]
            or ["Nothing."]
        ),
        "",
        "## All",
        "",
        "| library | architecture | verdict | frozen | trains | seconds |",
        "|---|---|---|---|---|---|",
        *(
            f"| {' | '.join(map(str, (r.library, r.name, r.verdict, r.frozen, r.trainable)))} | "
            f"{r.seconds:.1f} |"
            for r in done
        ),
        "",
    ]
    return "\n".join(lines)


def cases(only: str) -> Iterator[tuple[str, str]]:
    """Yield (library, name)."""
    for library, (_, names) in SAVE.items():
        for name in names:
            if any(word in f"{library}:{name}" for word in only.split(",")):
                yield library, name


def main() -> None:
    """Check all, print as it goes, and write the document."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument(
        "--only", default="", help="names or libraries that contain one of these, with commas"
    )
    parser.add_argument("--write", type=Path, help="where the document goes")
    parser.add_argument("--results", type=Path, help="a file of JSON lines; what it has is not checked again")
    parser.add_argument("--verbose", action="store_true", help="show what the models print, and tracebacks")
    arguments = parser.parse_args()
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    known = {}
    if arguments.results and arguments.results.exists():
        read = [msgspec.json.decode(line, type=Row) for line in arguments.results.read_bytes().splitlines()]
        known = {(row.library, row.name): row for row in read}
    rows = []
    for library, name in cases(arguments.only):
        row = known.get((library, name)) or check(library, name, arguments.verbose)
        rows.append(row)
        if arguments.results and (library, name) not in known:
            with arguments.results.open("ab") as file:
                file.write(msgspec.json.encode(row) + b"\n")
        print(f"{row.verdict:12} {library}:{name} {row.seconds:.1f} s {row.input} {row.reason}", flush=True)
    if arguments.write:
        arguments.write.write_text(markdown(rows), "utf-8")
    print(Counter(row.verdict for row in rows))


if __name__ == "__main__":
    main()
