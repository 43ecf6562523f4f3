"""From what an archive holds to a Checkpoint: the state_dict chosen, prefixes off, the rest named."""

from __future__ import annotations

from collections.abc import Iterable

from freezetui.checkpoint.archives import Archive
from freezetui.checkpoint.candidates import Candidate, choose, find_candidates, labels, worthwhile
from freezetui.checkpoint.kinds import KindGuesser
from freezetui.checkpoint.modules import Named, is_script, module_tensors
from freezetui.checkpoint.passed import Summary
from freezetui.checkpoint.prefixes import common_prefix
from freezetui.checkpoint.standins import Mapping
from freezetui.checkpoint.tensors import Checkpoint, TensorInfo
from freezetui.checkpoint.text import printable
from freezetui.checkpoint.values import REBUILT, TensorReader
from freezetui.errors import CheckpointError


def lay_out(archive: Archive, source: str, container: str, key: str | None) -> Checkpoint:
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
        what = summary.what(archive.value)
        raise CheckpointError(f"{source} holds {what}, but no state_dict.", "Save model.state_dict().")
    chosen = choose(candidates, key, source)
    types: dict[str, str] = {}
    named = _named(chosen, types, source)
    prefix = common_prefix([name for name, _, _ in named])
    tensors = _tensors(named, len(prefix), live=not isinstance(chosen.value, dict))
    return Checkpoint(
        source=source,
        format=_label(chosen, container),
        tensors=tensors,
        key=chosen.key,
        prefix=prefix,
        choices=tuple(candidate.key for candidate in worthwhile(candidates)),
        passed_over=summary.passed_over(chosen),
        module_types={_stripped(path, prefix): name for path, name in types.items() if _below(path, prefix)},
        module_paths=_module_paths(chosen, prefix),
        foreign=archive.foreign,
        warnings=tuple(_warnings(candidates, chosen, len(named) - len(tensors))),
    )


def _named(chosen: Candidate, types: dict[str, str], source: str) -> list[Named]:
    if isinstance(chosen.value, dict):
        items = chosen.value.items()
        return [
            (name, item, "unknown") for name, item in items if type(item) in REBUILT and type(name) is str
        ]
    return list(module_tensors(chosen.value, types, source))


def _tensors(named: list[Named], cut: int, live: bool) -> tuple[TensorInfo, ...]:
    info = TensorReader(KindGuesser(name[cut:] for name, _, _ in named)).info
    found = [info(name[cut:], value, kind, live) for name, value, kind in named]
    return tuple([tensor for tensor in found if tensor is not None])


def _label(chosen: Candidate, container: str) -> str:
    if isinstance(chosen.value, dict):
        return f"{container} {'checkpoint' if chosen.key else 'state_dict'}"
    if is_script(chosen.value):
        return "TorchScript"
    return "pickled nn.Module" if container == "zip" else "legacy pickled nn.Module"


def _module_paths(chosen: Candidate, prefix: str) -> tuple[str, ...]:
    """Every module that `state_dict._metadata` names."""
    state = getattr(chosen.value, "state", None) if isinstance(chosen.value, Mapping) else None
    metadata = state.get("_metadata") if isinstance(state, dict) else None
    if not isinstance(metadata, dict):
        return ()
    return tuple(_stripped(path, prefix) for path in metadata if type(path) is str and _below(path, prefix))


def _below(path: str, prefix: str) -> bool:
    """Whether a module is the model, or a part of it, and no wrapper around it."""
    return f"{path}.".startswith(prefix)


def _stripped(path: str, prefix: str) -> str:
    return path[len(prefix) :] if prefix else path


def _warnings(candidates: list[Candidate], chosen: Candidate, unread: int) -> Iterable[str]:
    others = [candidate for candidate in worthwhile(candidates) if candidate is not chosen]
    if others:
        here = chosen.key or "the top level"
        more = f" and {len(others) - 8:,} more" if len(others) > 8 else ""
        names = ", ".join(labels(others)[:8])
        yield printable(f"several state_dicts: this is {here}; --key chooses {names}{more}")
    if unread:
        yield f"{unread:,} tensors are of a kind that is not read here and were left out"
