"""Hold the name map against values on many architectures; `--write docs/name_map.md` writes the table.

Each model is small and random. Its library saves it, every tensor of the file is filled with a number of its
own, the library loads the file, and what stands in each live tensor is compared with what the map says.
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
from typing import Any, NamedTuple

os.environ["HF_HUB_OFFLINE"] = "1"
ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests"))

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


class Row(NamedTuple):
    """One architecture's result.

    Attributes:
        library, name: what was loaded.
        names: the map. verdict: how it compares.
        missed: live tensors that are wrong in a map with all pairs moved by one, of those that were moved.
        error: why there is no result; the rest is empty then.
    """

    library: str
    name: str
    names: NameMap | None = None
    verdict: Verdict | None = None
    tensors: int = 0
    caught: tuple[int, int] = (0, 0)
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
    with torch.device("meta"):
        return sum(parameter.numel() for parameter in build().parameters()) <= _MAX_PARAMETERS


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
    model = torchvision.models.get_model(name, **torchvision_arguments(name))
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
        arguments = torchvision_arguments(name)
        if not name.startswith("quantized") and small_enough(
            lambda n=name, a=arguments: torchvision.models.get_model(n, **a)
        ):
            yield "torchvision", name, lambda d, n=name: from_torchvision(n)


def timm_names() -> Iterator[str]:
    """The smallest model of each of timm's files."""
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
    caught = (len(control.wrong), len(control.wrong) + control.right)
    return Row(library, name, names, verdict, len(filled), caught)


def markdown(rows: list[Row]) -> str:
    """The document: what was compared, the table, and what was not counted."""
    done = [row for row in rows if row.names is not None and row.verdict is not None]
    wrong = sum(len(row.verdict.wrong) for row in done if row.verdict)
    lost = sum(len(row.verdict.lost) for row in done if row.verdict)
    caught, moved = (sum(row.caught[i] for row in done) for i in (0, 1))
    versions = f"torch {torch.__version__.split('+')[0]}, transformers {transformers.__version__}"
    counts = ", ".join(
        f"{sum(row.library == library for row in done)} of {library}"
        for library in ("transformers", "timm", "torchvision")
    )
    right = sum(row.verdict.right for row in done if row.verdict)
    tensors = sum(row.tensors for row in done)
    lines = [
        "# The name map, held against values",
        "",
        "Written by `scripts/check_name_map.py`. Each model is small and random. Its library saves it, every",
        "tensor of the file is filled with a number of its own, the library loads the file, and what is in",
        "each live tensor is compared with what the name map says.",
        "",
        f"With {versions}, timm {timm.__version__}, torchvision {torchvision.__version__.split('+')[0]}:",
        f"{len(done)} architectures ({counts}), {tensors:,} tensors in files, {right:,} live ones right,",
        f"{wrong} wrong, {lost} that hold something of the file where the map names nothing. Control: of",
        f"{moved:,} pairs moved by one, {caught:,} were called wrong (the others: two made of one tensor).",
        "",
        "*Renamed*: tensors of the file with another live name. *Merged*: live tensors made of several. What",
        "remains: the file's tensors that the library drops or has no place for, and new live ones.",
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
    names, verdict = row.names, row.verdict
    assert names is not None and verdict is not None
    renamed = sum(file not in live for file, live in names.inverse.items())
    rest = []
    for what, found in (("dropped", names.dropped), ("no place", names.unplaced), ("new", names.missing)):
        if found:
            rest.append(f"{what}: {len(found)} ({found[0]})")
    rest += [f"unexplained: {line}" for line in (*verdict.wrong, *verdict.lost)[:2]]
    rest += names.notes
    numbers = (row.tensors, names.placed, renamed, len(names.merged), verdict.right, len(verdict.wrong))
    cells = (row.library, row.name, *numbers)
    return "| " + " | ".join(str(cell) for cell in (*cells, "; ".join(rest).replace("|", "/"))) + " |"


def main() -> None:
    """Check all, print as it goes, and write the document; 1 where something is wrong."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", default="", help="names or libraries that contain this")
    parser.add_argument("--write", type=Path, help="where the document goes")
    arguments = parser.parse_args()
    signal.signal(signal.SIGALRM, timed_out)
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    rows = []
    for library, name, load in cases():
        if arguments.only not in f"{library}:{name}":
            continue
        row = check(library, name, load)
        rows.append(row)
        print(f"{library}:{name} {row.error}" if row.error else _line(row), flush=True)
    if arguments.write:
        arguments.write.write_text(markdown(rows), "utf-8")
    done = [row for row in rows if row.verdict]
    bad = [row.name for row in done if row.verdict and (row.verdict.wrong or row.verdict.lost)]
    print(f"{len(done)} compared, {len(rows) - len(done)} not counted, wrong: {bad or 'none'}")
    sys.exit(bool(bad))


if __name__ == "__main__":
    main()
