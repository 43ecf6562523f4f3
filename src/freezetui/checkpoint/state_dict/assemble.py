"""build_checkpoint: an archive's contents -> Checkpoint; chooses the state_dict and strips prefixes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence, Set
from itertools import islice
from operator import attrgetter
from typing import Any, NamedTuple

from freezetui import numbers
from freezetui.checkpoint.pickles.checked_dict import OrderedDictStub
from freezetui.checkpoint.pickles.globals import calls, danger
from freezetui.checkpoint.state_dict.arrays import ARRAYS
from freezetui.checkpoint.state_dict.buffers import BufferDetector
from freezetui.checkpoint.state_dict.incomplete import why_incomplete
from freezetui.checkpoint.state_dict.modules import Declared, is_script, module_tensors
from freezetui.checkpoint.state_dict.partitioned import partitioned
from freezetui.checkpoint.state_dict.quantized import is_packed, packed_tensors
from freezetui.checkpoint.state_dict.search import Candidate, choose, find_candidates, labels, worthwhile
from freezetui.checkpoint.state_dict.skipped import Summary
from freezetui.checkpoint.state_dict.tensor_reader import REBUILT, Sizes, TensorReader
from freezetui.checkpoint.state_dict.wrappers import Unwrapped, unwrap
from freezetui.checkpoint.types import ITEMSIZE, UNKNOWN, Checkpoint, Found, Kind, TensorInfo
from freezetui.errors import CheckpointError
from freezetui.text import listed, printable

_SAVE_STATE_DICT = "Save the weights with torch.save(model.state_dict(), FILE)."
#: Names to list in one warning.
_MAX_SHOWN = 8
#: Tensors that `Found` receives at a time.
_TOLD_AT_ONCE = 4096


def build_checkpoint(
    archive: Archive, source: str, container: str, key: str | None, found: Found | None = None
) -> Checkpoint:
    """Return the Checkpoint in an archive, whose tensors are taken out; the caller sets `size`.

    Args:
        container: the container format for display: "zip" or "legacy pickle".
        key: key of the dict to read; None chooses the most likely one.
        found: see `Found`.

    Raises:
        CheckpointError: the object contains no state_dict, or none under `key`.
    """
    summary = Summary()
    candidates = find_candidates(archive.value)
    if not candidates:
        raise _without_tensors(archive, source, container, summary)
    chosen = choose(candidates, key, source)
    skipped = summary.skipped(chosen)
    types: dict[str, str] = {}
    names, values, kinds = _columns(chosen, types, archive.declared, source)
    unwrapped = unwrap(names)
    reader = TensorReader(BufferDetector(unwrapped.names), archive.sizes)
    live = not isinstance(chosen.value, dict)
    tensors = _told(reader.infos(unwrapped.names, values, kinds, live), found)
    whole = partitioned(archive.value, tensors, unwrapped.prefix)
    if whole:
        tensors = whole
    incomplete, reasons = why_incomplete(chosen, source, container, bool(whole), reader.corrupt)
    return Checkpoint(
        source=source,
        format=_label(chosen, container),
        tensors=tensors,
        key=chosen.key,
        prefix=unwrapped.prefix,
        wrappers=unwrapped.inside,
        choices=tuple(candidate.key for candidate in worthwhile(candidates)),
        skipped=skipped,
        module_types={unwrapped.path(path): types[path] for path in _model_paths(types, unwrapped)},
        module_paths=_module_paths(chosen, unwrapped),
        foreign=archive.foreign,
        warnings=(*_warnings(archive, candidates, chosen, tensors), *reasons),
        incomplete=incomplete,
    )


def _told(infos: Iterator[TensorInfo], found: Found | None) -> tuple[TensorInfo, ...]:
    """Return all tensors; report them to `found` as they come."""
    if found is None:
        return tuple(infos)
    tensors: list[TensorInfo] = []
    while some := list(islice(infos, _TOLD_AT_ONCE)):
        found(some)
        tensors += some
    return tuple(tensors)


def _without_tensors(archive: Archive, source: str, container: str, summary: Summary) -> CheckpointError:
    if isinstance(archive.value, dict) and not archive.value:
        return CheckpointError(f"{source} contains an empty dict, no tensors.", _SAVE_STATE_DICT)
    what = summary.what(archive.value)
    if container == "pickle":
        return CheckpointError(
            f"{source} is a plain Python pickle without tensors or NumPy arrays ({what}).",
            "Pass the file with the weights, as torch.save(model.state_dict(), FILE) writes it.",
        )
    return CheckpointError(f"{source} contains no state_dict ({what}).", _SAVE_STATE_DICT)


def _columns(
    chosen: Candidate, types: dict[str, str], code: Declared, source: str
) -> tuple[list[str], Iterable[Any], Iterable[Kind] | None]:
    """Return names, stubs and kinds of the tensors as columns: 100,000 tuples would be slow.

    The kinds are None if the file does not say.
    """
    held = chosen.value
    if not isinstance(held, dict):
        named = list(module_tensors(held, types, code, source))
        return (
            [name for name, _, _ in named],
            [value for _, value, _ in named],
            [kind for _, _, kind in named],
        )
    if not chosen.pure:
        held = dict(_entries(held, ARRAYS if chosen.arrays else REBUILT))
    names = list(held)
    return names, map(held.pop, names), None  # freed one by one: the stubs take more memory than all else


def _entries(held: dict[Any, Any], kinds: Set[type]) -> Iterable[tuple[str, Any]]:
    """Yield the tensors of a dict with other entries too; those of quantized modules are unpacked."""
    for name, item in held.items():
        if type(name) is not str:
            continue
        if type(item) in kinds:
            yield name, item
        elif is_packed(name, item):
            yield from packed_tensors(name, item)


def _label(chosen: Candidate, container: str) -> str:
    if isinstance(chosen.value, dict):
        return f"{container} {'checkpoint' if chosen.key else 'state_dict'}"
    if is_script(chosen.value):
        return "TorchScript"
    return "legacy pickled nn.Module" if container == "legacy pickle" else "pickled nn.Module"


def _module_paths(chosen: Candidate, unwrapped: Unwrapped) -> tuple[str, ...]:
    """Return every module path in `state_dict._metadata`."""
    state = getattr(chosen.value, "state", None) if isinstance(chosen.value, OrderedDictStub) else None
    metadata = state.get("_metadata") if isinstance(state, dict) else None
    if not isinstance(metadata, dict):
        return ()
    paths = (path for path in metadata if type(path) is str)
    return tuple(dict.fromkeys(map(unwrapped.path, _model_paths(paths, unwrapped))))


def _model_paths(paths: Iterable[str], unwrapped: Unwrapped) -> Iterator[str]:
    """Yield the paths of the model and its modules, without those of the wrappers around it."""
    return (path for path in paths if f"{path}.".startswith(unwrapped.prefix))


def _warnings(
    archive: Archive, candidates: list[Candidate], chosen: Candidate, tensors: Sequence[TensorInfo]
) -> Iterable[str]:
    yield from filter(None, (danger(archive.foreign), calls(archive.called)))
    others = [candidate for candidate in worthwhile(candidates) if candidate is not chosen]
    if others:
        here = chosen.key or "the top level"
        names = listed(labels(others), _MAX_SHOWN)
        found = f"multiple state_dicts found; showing {printable(here)}"
        yield f"{found}; --key (K in the TUI) chooses another: {names}"
    dtypes = {*map(attrgetter("dtype"), tensors)}
    if UNKNOWN in dtypes:
        unread = [t.name for t in tensors if t.dtype == UNKNOWN and t.packing and t.packing.what == UNKNOWN]
        yield from _counted("of an unsupported type (names only)", unread)
    for dtype in sorted(dtypes.difference(ITEMSIZE, (UNKNOWN,)))[:_MAX_SHOWN]:
        unsized = [tensor.name for tensor in tensors if tensor.dtype == dtype]
        yield from _counted(f"of the unknown dtype {dtype}, not counted in the byte totals", unsized)


def _counted(what: str, names: list[str]) -> Iterable[str]:
    if names:
        count = numbers.plural(len(names), "tensor")
        yield f"{count} {printable(what)}: {listed(names, _MAX_SHOWN, 100)}"


class Archive(NamedTuple):
    """The contents of an archive.

    Attributes:
        value: the object, made of stubs.
        foreign: the foreign globals that its pickle names.
        called: those of them that it calls.
        sizes: the bytes of each storage in the file by its key, or in the order of keys 0, 1, 2 and so on;
            None if unknown.
        declared: for TorchScript, what its code declares for each class.
    """

    value: Any
    foreign: tuple[str, ...]
    called: tuple[str, ...] = ()
    declared: Declared = {}
    sizes: Sizes | None = None
