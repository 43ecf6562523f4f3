"""Check the name map by values on many architectures; `--write docs/name_map.md` writes the table.

Each model is small and random. Its library saves it, every tensor of the file is filled with a unique number,
the library loads the file, and the values of each live tensor are compared with what the name map says.
A model that cannot be made small here, or that the library cannot save or load, is not counted, but listed.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import signal
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any

os.environ["HF_HUB_OFFLINE"] = "1"
ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests"))

import msgspec  # noqa: E402
import timm  # noqa: E402
import torch  # noqa: E402
import torchvision  # noqa: E402
import transformers  # noqa: E402
from safetensors.torch import load_file, save_file  # noqa: E402
from torch import Tensor, nn  # noqa: E402

from freezetui.freeze.name_map import NameMap  # noqa: E402
from freezetui.models.name_map import map_names  # noqa: E402
from support import tiny_transformers  # noqa: E402
from support.name_values import Verdict, compare, marked, rotated  # noqa: E402
from support.shrunk_configs import model_classes, shrunk  # noqa: E402

_MAX_PARAMETERS = 30_000_000
_MAX_SECONDS = 180


class Row(msgspec.Struct):
    """One architecture's result.

    Attributes:
        library, name: what was loaded.
        tensors: in its file. placed: those with a place in the live model. renamed: those of another name.
        merged: live tensors made of several of the file.
        right: live tensors that hold just what the map says. wrong, lost: see `Verdict`.
        caught, moved: pairs called wrong in a map in which these were moved by one.
        remains: what has no place, and what is new, in words.
        error: why there is no result; the rest is empty then.
    """

    library: str
    name: str
    tensors: int = 0
    placed: int = 0
    renamed: int = 0
    merged: int = 0
    right: int = 0
    wrong: int = 0
    lost: int = 0
    caught: int = 0
    moved: int = 0
    remains: str = ""
    error: str = ""


Loaded = tuple[nn.Module, dict[str, Tensor], dict[str, float]]


def refill(directory: Path, change: Callable[[dict[str, Tensor]], dict[str, Tensor]] = dict) -> Loaded:
    """Fill the saved file with numbers; the model is loaded by the caller."""
    file = directory / "model.safetensors"
    filled, marks = marked(change(load_file(file)))
    save_file(filled, file, metadata={"format": "pt"})
    return nn.Module(), filled, marks


def small_enough(build: Callable[[], nn.Module]) -> bool:
    """Whether a model has few enough parameters to be filled here."""
    try:
        with torch.device("meta"):
            model = build()
    except NotImplementedError:  # its constructor looks at values
        model = build()
    return sum(parameter.numel() for parameter in model.parameters()) <= _MAX_PARAMETERS


def from_transformers(model_class: Any, config: Any, directory: Path, hub: bool = False) -> Loaded:
    """Save, fill and load a model of transformers."""
    if not small_enough(lambda: model_class(config)):
        raise ValueError("too large even when shrunk")
    torch.manual_seed(0)
    model_class(config).save_pretrained(directory)
    name = model_class.__name__
    _, filled, marks = refill(directory, (lambda t: tiny_transformers.hub_shaped(name, t)) if hub else dict)
    return model_class.from_pretrained(directory), filled, marks


def from_timm(name: str, directory: Path) -> Loaded:
    """Save, fill and load a model of timm, through its own filters."""
    from timm.models import _hub

    _hub.save_for_hf(timm.create_model(name, num_classes=7), directory, safe_serialization=True)
    _, filled, marks = refill(directory)
    return timm.create_model(f"local-dir:{directory}", pretrained=True), filled, marks


def from_torchvision(name: str) -> Loaded:
    """Fill and load a model of torchvision."""
    arguments = torchvision_arguments(name)
    if not small_enough(lambda: torchvision.models.get_model(name, **arguments)):
        raise ValueError("too large to be filled here")
    model = torchvision.models.get_model(name, **arguments)
    filled, marks = marked(model.state_dict())
    model.load_state_dict(filled)
    return model, filled, marks


def torchvision_arguments(name: str) -> dict[str, Any]:
    """Without weights, and without a download for the backbone."""
    detection = ("rcnn", "retinanet", "fcos", "ssd", "deeplab", "fcn", "lraspp")
    return {"weights": None} | ({"weights_backbone": None} if any(d in name for d in detection) else {})


def cases() -> Iterator[tuple[str, str, Callable[[Path], Loaded]]]:
    """(library, name, how to load it into an empty directory)."""
    for name, config in tiny_transformers.FAMILIES.items():
        model_class = getattr(transformers, name)
        yield (
            "transformers",
            name,
            lambda d, c=model_class, m=config: from_transformers(c, m(transformers), d),
        )
    for name in sorted(tiny_transformers.HUB):
        model_class, make = getattr(transformers, name), tiny_transformers.FAMILIES[name]
        what = f"{name}, as on the hub"
        yield (
            "transformers",
            what,
            lambda d, c=model_class, m=make: from_transformers(c, m(transformers), d, True),
        )
    for model_class in model_classes(transformers):
        if model_class.__name__ not in tiny_transformers.FAMILIES:
            make = model_class.config_class
            yield (
                "transformers",
                model_class.__name__,
                lambda d, c=model_class, m=make: from_transformers(c, shrunk(m), d),
            )
    for name in timm_names():
        yield "timm", name, lambda d, n=name: from_timm(n, d)
    for name in torchvision.models.list_models():
        if not name.startswith("quantized"):
            yield "torchvision", name, lambda d, n=name: from_torchvision(n)


def timm_names() -> Iterator[str]:
    """Yield the smallest model of each of timm's files."""
    for module in timm.list_modules():
        for name in sorted(timm.list_models(module=module), key=_timm_size):
            try:
                small = small_enough(lambda n=name: timm.create_model(n, num_classes=7))
            except Exception:
                continue
            if small:
                yield name
            break


def _timm_size(name: str) -> tuple[int, str]:
    words = (
        "test",
        "femto",
        "atto",
        "pico",
        "zepto",
        "nano",
        "xxs",
        "xx",
        "xs",
        "mini",
        "tiny",
        "lite",
        "_t",
        "s",
        "18",
    )
    return next((i for i, word in enumerate(words) if word in name), len(words)), name


def timed_out(_signal: int, _frame: FrameType | None) -> None:
    """Raise in the model that takes too long."""
    raise TimeoutError(f"more than {_MAX_SECONDS} s")


def check(library: str, name: str, load: Callable[[Path], Loaded]) -> Row:
    """Load one model and compare."""
    signal.alarm(_MAX_SECONDS)
    try:
        with (
            tempfile.TemporaryDirectory() as directory,
            warnings.catch_warnings(),
            contextlib.redirect_stderr(io.StringIO()),
            contextlib.redirect_stdout(io.StringIO()),
        ):
            warnings.simplefilter("ignore")
            model, filled, marks = load(Path(directory))
    except Exception as error:
        return Row(library, name, error=" ".join(f"{type(error).__name__}: {error}".split())[:120])
    finally:
        signal.alarm(0)
    headers = {n: (tuple(t.shape), str(t.dtype).removeprefix("torch.")) for n, t in filled.items()}
    names = map_names(model, headers)
    verdict = compare(model, names, marks)
    control = compare(model, rotated(names), marks)
    return Row(
        library,
        name,
        tensors=len(filled),
        placed=names.placed,
        renamed=sum(file not in live for file, live in names.inverse.items()),
        merged=len(names.merged),
        right=verdict.right,
        wrong=len(verdict.wrong),
        lost=len(verdict.lost),
        caught=len(control.wrong),
        moved=len(control.wrong) + control.right,
        remains=_remains(names, verdict),
    )


def _remains(names: NameMap, verdict: Verdict) -> str:
    """Return what has no place in the live model, what is new there, and what is wrong."""
    rest = []
    for what, found in (("dropped", names.dropped), ("no place", names.unplaced), ("new", names.missing)):
        if found:
            rest.append(f"{what}: {len(found)} ({found[0]})")
    rest += [f"unexplained: {line}" for line in (*verdict.wrong, *verdict.lost)[:2]]
    return "; ".join([*rest, *names.notes])


def markdown(rows: list[Row]) -> str:
    """Return the document: what was compared, the table, and what was not counted."""
    done = [row for row in rows if not row.error]
    total = {key: sum(getattr(row, key) for row in done) for key in Row.__struct_fields__[2:11]}
    versions = f"torch {torch.__version__.split('+')[0]}, transformers {transformers.__version__}"
    counts = ", ".join(
        f"{sum(row.library == library for row in done)} from {library}"
        for library in ("transformers", "timm", "torchvision")
    )
    lines = [
        "# The name map, checked by values",
        "",
        "Written by `scripts/check_name_map.py`. Each model is small and random. Its library saves it, every",
        "tensor of the file is filled with a unique number, the library loads the file, and the values of",
        "each live tensor are compared with what the name map says.",
        "",
        f"With {versions}, timm {timm.__version__}, torchvision {torchvision.__version__.split('+')[0]}:",
        f"{len(done)} architectures ({counts}),",
        f"{total['tensors']:,} tensors in files, {total['right']:,} live ones right, {total['wrong']} wrong,",
        f"{total['lost']} with values from the file that the map does not name. Control: of",
        f"{total['moved']:,} pairs shifted by one, {total['caught']:,} were reported as wrong (the others",
        "are made from the same tensor).",
        "",
        "*Renamed*: tensors of the file with another live name. *Merged*: live tensors made of several.",
        "*What remains*: the file's tensors that the library drops or has no place for, and new live ones.",
        "",
        "| library | architecture | in the file | mapped | renamed | merged | right | wrong | what remains |",
        "|---|---|---|---|---|---|---|---|---|",
        *(_line(row) for row in done),
        "",
        "## Not counted",
        "",
        "What could not be built this small, saved or loaded by its own library here:",
        "",
        *(f"- {row.library} {row.name}: {row.error}" for row in rows if row.error),
        "",
    ]
    return "\n".join(lines)


def _line(row: Row) -> str:
    numbers = (row.tensors, row.placed, row.renamed, row.merged, row.right, row.wrong)
    cells = (row.library, row.name, *numbers, row.remains.replace("|", "/"))
    return f"| {' | '.join(map(str, cells))} |"


def main() -> None:
    """Check all, print as it goes, and write the document; 1 where something is wrong."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", default="", help="names or libraries that contain this")
    parser.add_argument("--write", type=Path, help="where the document goes")
    parser.add_argument("--results", type=Path, help="a file of JSON lines; what it has is not checked again")
    arguments = parser.parse_args()
    signal.signal(signal.SIGALRM, timed_out)
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    known = {}
    if arguments.results and arguments.results.exists():
        read = [msgspec.json.decode(line, type=Row) for line in arguments.results.read_bytes().splitlines()]
        known = {(row.library, row.name): row for row in read}
    rows = []
    for library, name, load in cases():
        if arguments.only not in f"{library}:{name}":
            continue
        row = known.get((library, name)) or check(library, name, load)
        rows.append(row)
        if arguments.results and (library, name) not in known:
            with arguments.results.open("ab") as file:
                file.write(msgspec.json.encode(row) + b"\n")
        print(f"{library}:{name} {row.error}" if row.error else _line(row), flush=True)
    if arguments.write:
        arguments.write.write_text(markdown(rows), "utf-8")
    done = [row for row in rows if not row.error]
    bad = [row.name for row in done if row.wrong or row.lost]
    print(f"{len(done)} compared, {len(rows) - len(done)} not counted, wrong: {bad or 'none'}")
    sys.exit(bool(bad))


if __name__ == "__main__":
    main()
