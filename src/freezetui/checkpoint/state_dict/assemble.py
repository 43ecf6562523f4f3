"""From what an archive holds to a Checkpoint: the state_dict chosen, prefixes off, the rest named."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence, Set
from itertools import repeat
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
from freezetui.checkpoint.types import ITEMSIZE, UNKNOWN, Checkpoint, Kind, TensorInfo
from freezetui.errors import CheckpointError
from freezetui.text import listed, printable

#: Names in one warning.
_MAX_SHOWN = 8


def build_checkpoint(archive: Archive, source: str, container: str, key: str | None) -> Checkpoint:
    """The Checkpoint in an archive; `size` is left to the caller.

    Args:
        container: how the file is packed, for people: "zip" or "legacy pickle".
        key: the dict that the person wants; None chooses.

    Raises:
        CheckpointError: the object holds no state_dict, or none under `key`.
    """
    summary = Summary()
    candidates = find_candidates(archive.value)
    if not candidates:
        raise _without_tensors(archive, source, container, summary)
    chosen = choose(candidates, key, source)
    types: dict[str, str] = {}
    names, values, kinds = _columns(chosen, types, archive.declared, source)
    unwrapped = unwrap(names)
    reader = TensorReader(BufferDetector(unwrapped.names), archive.sizes)
    live = repeat(not isinstance(chosen.value, dict))
    tensors = tuple(map(reader.info, unwrapped.names, values, kinds, live))
    whole = partitioned(archive.value, tensors, unwrapped.prefix)
    if whole:
        tensors = whole
    incomplete, told = why_incomplete(chosen, source, container, bool(whole), reader.damaged)
    return Checkpoint(
        source=source,
        format=_label(chosen, container),
        tensors=tensors,
        key=chosen.key,
        prefix=unwrapped.prefix,
        wrappers=unwrapped.inside,
        choices=tuple(candidate.key for candidate in worthwhile(candidates)),
        skipped=summary.skipped(chosen),
        module_types={unwrapped.path(path): types[path] for path in _model_paths(types, unwrapped)},
        module_paths=_module_paths(chosen, unwrapped),
        foreign=archive.foreign,
        warnings=(*_warnings(archive, candidates, chosen, tensors), *told),
        incomplete=incomplete,
    )


def _without_tensors(archive: Archive, source: str, container: str, summary: Summary) -> CheckpointError:
    if isinstance(archive.value, dict) and not archive.value:
        return CheckpointError(f"{source} holds an empty dict: no tensors.", "Save model.state_dict().")
    what = summary.what(archive.value)
    if container == "pickle":
        return CheckpointError(
            f"{source} is a plain Python pickle of {what}, without tensors or NumPy arrays.",
            "Open the file that holds the weights: what torch.save wrote of model.state_dict().",
        )
    return CheckpointError(f"{source} holds {what}, but no state_dict.", "Save model.state_dict().")


def _columns(
    chosen: Candidate, types: dict[str, str], code: Declared, source: str
) -> tuple[list[str], Iterable[Any], Iterable[Kind]]:
    """Names, stubs and kinds of the tensors; no tuple for each, since there may be 100,000."""
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
    return list(held), held.values(), repeat("unknown")


def _entries(held: dict[Any, Any], kinds: Set[type]) -> Iterable[tuple[str, Any]]:
    """The tensors of a dict that holds other things too, those of quantized modules unpacked."""
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
    """Every module that `state_dict._metadata` names."""
    state = getattr(chosen.value, "state", None) if isinstance(chosen.value, OrderedDictStub) else None
    metadata = state.get("_metadata") if isinstance(state, dict) else None
    if not isinstance(metadata, dict):
        return ()
    paths = (path for path in metadata if type(path) is str)
    return tuple(dict.fromkeys(map(unwrapped.path, _model_paths(paths, unwrapped))))


def _model_paths(paths: Iterable[str], unwrapped: Unwrapped) -> Iterator[str]:
    """The paths of the model and of its parts, without those of the wrappers around it."""
    return (path for path in paths if f"{path}.".startswith(unwrapped.prefix))


def _warnings(
    archive: Archive, candidates: list[Candidate], chosen: Candidate, tensors: Sequence[TensorInfo]
) -> Iterable[str]:
    yield from filter(None, (danger(archive.foreign), calls(archive.called)))
    others = [candidate for candidate in worthwhile(candidates) if candidate is not chosen]
    if others:
        here = chosen.key or "the top level"
        names = listed(labels(others), _MAX_SHOWN)
        yield f"several state_dicts: this is {printable(here)}; --key chooses {names}"
    dtypes = {*map(attrgetter("dtype"), tensors)}
    if UNKNOWN in dtypes:
        unread = [t.name for t in tensors if t.dtype == UNKNOWN and t.packing and t.packing.what == UNKNOWN]
        yield from _told("of a kind that is not read here: only their names are known", unread)
    for dtype in sorted(dtypes.difference(ITEMSIZE, (UNKNOWN,)))[:_MAX_SHOWN]:
        unsized = [tensor.name for tensor in tensors if tensor.dtype == dtype]
        yield from _told(f"of the dtype {dtype}, which is not known here: their bytes do not count", unsized)


def _told(what: str, names: list[str]) -> Iterable[str]:
    if names:
        count = numbers.plural(len(names), "tensor")
        yield f"{count} {printable(what)} ({listed(names, _MAX_SHOWN, 100)})"


class Archive(NamedTuple):
    """What an archive holds.

    Attributes:
        value: the object, made of stubs.
        foreign: the foreign globals that its pickle names.
        called: those of them that it calls.
        sizes: the bytes of each storage in the file by its key, or in the order of keys 0, 1, 2 and on; None
            where that is not known.
        declared: of TorchScript, what its code declares of each class.
    """

    value: Any
    foreign: tuple[str, ...]
    called: tuple[str, ...] = ()
    declared: Declared = {}
    sizes: Sizes | None = None
