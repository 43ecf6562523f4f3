"""Reads many files as one checkpoint: the shards that an index lists, or several files."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence, Set
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple, TypeVar

import msgspec

from freezetui import numbers
from freezetui.checkpoint.formats.detect import container
from freezetui.checkpoint.formats.reader import read_file
from freezetui.checkpoint.formats.safetensors import Entry, read_header, tensors_of
from freezetui.checkpoint.sources.base import OpenFile, Source, version_of
from freezetui.checkpoint.sources.urls import shown_source
from freezetui.checkpoint.state_dict.ordering import natural_order
from freezetui.checkpoint.types import Checkpoint, Part, StorageKey, TensorInfo
from freezetui.errors import CheckpointError, MissingFileError
from freezetui.text import listed, printable

#: Called with a few words on the progress.
Progress = Callable[[str], None]

T = TypeVar("T")

_MAX_THREADS = 16
#: No file has a longer name than this, and no model a larger index, in bytes.
_MAX_NAME, _MAX_INDEX = 1000, 2**28


class _Index(msgspec.Struct):
    """`NAME.index.json`: which shard holds which tensor."""

    weight_map: dict[str, str]


class _Shard(NamedTuple):
    """One file's contents: a safetensors header, or the Checkpoint in a pickle."""

    part: Part
    entries: dict[str, Entry]
    checkpoint: Checkpoint | None

    @property
    def names(self) -> Collection[str]:
        """The names of its tensors."""
        return self.entries if self.checkpoint is None else {t.name: None for t in self.checkpoint.tensors}


def read_index(index: OpenFile, directory: Source, key: str | None, progress: Progress) -> Checkpoint:
    """Return the shards that an index lists as one checkpoint, with a warning about missing ones.

    Raises:
        CheckpointError: the index or a shard is corrupt, the index names a file outside its directory, or no
            shard exists.
    """
    if index.size > _MAX_INDEX:
        raise CheckpointError(f"{index.name} is too large for a shard index.", "It may be malicious.")
    try:
        text = index.file.read(index.size).removeprefix(b"\xef\xbb\xbf")
        where = msgspec.json.decode(text, type=_Index).weight_map
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise CheckpointError(
            f"{index.name} is not a valid shard index: weight_map is malformed.", "Download the file again."
        ) from None
    names = natural_order(set(where.values()))
    for name in names:
        if not _is_inside(name) or len(name) > _MAX_NAME:
            raise CheckpointError(
                f"{index.name} names a shard outside its directory: {printable(name[:200])}.",
                "It may be malicious.",
            )
    read = _read_all([directory.child(name) for name in names], key, progress, must_exist=False)
    found = {name: shard for name, shard in zip(names, read, strict=True) if shard is not None}
    taken = _taken(found, where)
    shards = [_without_duplicates(shard, name, taken) for name, shard in found.items()]
    if not shards:
        raise CheckpointError(
            f"None of the {len(names):,} shards listed in {index.name} were found.", "Download them too."
        )
    kind = "safetensors" if shards[0].checkpoint is None else "pickle"
    missing = frozenset(name for name, shard in zip(names, read, strict=True) if shard is None)
    lost, warnings = _differences(shards, where, missing)
    warnings = (*_missing(missing, where), *warnings, *_duplicates(taken))
    lost |= {name for name, shard in where.items() if shard in missing} if missing else set()
    numbers_of = {name: number for number, name in enumerate(found)}
    del where, read, found  # a quarter of the memory, with a million tensors
    checkpoint = _merged(shards, f"{kind} in {numbers.plural(len(names), 'shard')}")
    tensors = checkpoint.tensors
    if taken:
        prefix = checkpoint.prefix
        tensors = tuple(_placed(tensor, prefix + tensor.name, taken, numbers_of) for tensor in tensors)
    absent = tuple(natural_order({name.removeprefix(checkpoint.prefix) for name in lost}))
    return msgspec.structs.replace(
        checkpoint, tensors=tensors, warnings=(*warnings, *checkpoint.warnings), absent=absent
    )


def _taken(found: Mapping[str, _Shard], where: Mapping[str, str]) -> dict[str, str]:
    """Return the tensors that are in several shards -> the shard that the index names."""
    taken: dict[str, str] = {}
    for name, shard in found.items():
        for tensor in shard.names:
            other = where.get(tensor, name)
            if other != name and other in found and tensor in found[other].names:
                taken[tensor] = other
    return taken


def _without_duplicates(shard: _Shard, name: str, taken: Mapping[str, str]) -> _Shard:
    """Return the shard without the tensors that are read from another one."""
    if taken.keys().isdisjoint(shard.names):
        return shard
    entries = {tensor: entry for tensor, entry in shard.entries.items() if taken.get(tensor, name) == name}
    checkpoint = shard.checkpoint
    if checkpoint is not None:
        kept = tuple(tensor for tensor in checkpoint.tensors if taken.get(tensor.name, name) == name)
        checkpoint = msgspec.structs.replace(checkpoint, tensors=kept)
    return shard._replace(entries=entries, checkpoint=checkpoint)


def _placed(
    tensor: TensorInfo, full: str, taken: Mapping[str, str], numbers_of: Mapping[str, int]
) -> TensorInfo:
    """Return the tensor with the part to read it from, if several parts contain its name."""
    if tensor.storage is not None or full not in taken:
        return tensor
    return msgspec.structs.replace(tensor, storage=StorageKey(f"{numbers_of[taken[full]]}/{full}"))


def _duplicates(taken: Mapping[str, str]) -> tuple[str, ...]:
    if not taken:
        return ()
    count = numbers.plural(len(taken), "tensor")
    return (f"{count} in several shards, read from the one that the index names: {_some(taken.keys())}",)


def read_several(sources: Sequence[Source], key: str | None, progress: Progress) -> Checkpoint:
    """Return several files as one checkpoint; no name may be in two of them.

    Raises:
        CheckpointError: one of them is not a checkpoint, or a name is in two.
    """
    shards = [shard for shard in _read_all(sources, key, progress, must_exist=True) if shard is not None]
    seen: dict[str, str] = {}
    for shard in shards:
        for name in shard.names:
            if seen.setdefault(name, shard.part.source) != shard.part.source:
                files = f"{shown_source(seen[name])} and in {shown_source(shard.part.source)}"
                raise CheckpointError(
                    f"{printable(name[:200])} is in {files}.",
                    "Open them one at a time.",
                )
    return _merged(shards, f"{len(sources):,} files")


def _read_all(
    sources: Sequence[Source], key: str | None, progress: Progress, must_exist: bool
) -> list[_Shard | None]:
    """Return the headers of all, read in parallel; None for missing files, unless `must_exist`."""

    def read(source: Source) -> _Shard | None:
        try:
            return _read(source, key)
        except MissingFileError:
            if must_exist:
                raise
            return None

    shards: list[_Shard | None] = []
    with ThreadPoolExecutor(_MAX_THREADS) as pool:
        try:
            for shard in pool.map(read, sources):
                shards.append(shard)
                progress(f"headers: {len(shards):,} of {len(sources):,} files")
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return shards


def _read(source: Source, key: str | None) -> _Shard:
    with source.open() as opened:
        part = Part(source.location, opened.size, version_of(opened.file))
        if container(opened.head) == "safetensors" and key is None:
            return _Shard(part, read_header(opened.file, opened.size, opened.name)[0], None)
        return _Shard(part, {}, read_file(opened, key))


def _merged(shards: Sequence[_Shard], format: str) -> Checkpoint:
    """Return the tensors of all: safetensors in natural order, then those of pickles file by file."""
    entries: dict[str, Entry] = {}
    pickled: dict[str, TensorInfo] = {}
    for number, shard in enumerate(shards):
        entries.update(shard.entries)
        if shard.checkpoint is not None:
            tensors = shard.checkpoint.tensors
            named = (_numbered(tensor, number) for tensor in tensors) if len(shards) > 1 else tensors
            pickled.update((tensor.name, tensor) for tensor in named)
    inner = [shard.checkpoint for shard in shards if shard.checkpoint is not None]
    # If one of them is a pickle, the prefixes may differ.
    ordered, unwrapped = tensors_of(entries, [shard.entries for shard in shards], own_keys=bool(inner))
    prefixes = {checkpoint.prefix for checkpoint in inner} | ({unwrapped.prefix} if entries else set())

    def joined(each: Callable[[Checkpoint], Iterable[T]]) -> tuple[T, ...]:
        return tuple(dict.fromkeys(item for checkpoint in inner for item in each(checkpoint)))

    return Checkpoint(
        source="",
        format=format,
        tensors=(*ordered, *pickled.values()),
        key=inner[0].key if inner else "",
        prefix=prefixes.pop() if len(prefixes) == 1 else "",
        wrappers=tuple(dict.fromkeys((*unwrapped.inside, *joined(lambda checkpoint: checkpoint.wrappers)))),
        choices=inner[0].choices if inner else (),
        skipped=joined(lambda checkpoint: checkpoint.skipped),
        module_paths=joined(lambda checkpoint: checkpoint.module_paths),
        foreign=joined(lambda checkpoint: checkpoint.foreign),
        warnings=joined(lambda checkpoint: checkpoint.warnings),
        incomplete=next((checkpoint.incomplete for checkpoint in inner if checkpoint.incomplete), ""),
        size=sum(shard.part.size for shard in shards),
        parts=tuple(shard.part for shard in shards),
    )


def _numbered(tensor: TensorInfo, number: int) -> TensorInfo:
    """Return the tensor with a storage key that is unique among all parts."""
    if tensor.storage is None:
        return tensor
    storage = msgspec.structs.replace(tensor.storage, key=f"{number}/{tensor.storage.key}")
    return msgspec.structs.replace(tensor, storage=storage)


def _is_inside(name: str) -> bool:
    """Whether a shard's name stays in the index's directory."""
    parts = name.replace("\\", "/").split("/")
    return "" not in parts and ".." not in parts and ":" not in name and "\0" not in name


def _missing(missing: Set[str], where: Mapping[str, str]) -> tuple[str, ...]:
    if not missing:
        return ()
    tensors = sum(shard in missing for shard in where.values())
    return (
        f"missing: {_some(missing)}, with {numbers.plural(tensors, 'tensor')}; download the missing files",
    )


def _differences(
    shards: Sequence[_Shard], where: Mapping[str, str], missing: Set[str]
) -> tuple[set[str], tuple[str, ...]]:
    """Return names that no shard contains, and warnings about names only in the index, or only in shards.

    Args:
        missing: shards, whose names are not counted.
    """
    pickled = [shard.checkpoint for shard in shards if shard.checkpoint is not None]
    if any(checkpoint.prefix or checkpoint.wrappers for checkpoint in pickled):
        return set(), ()  # the index uses names with the wrappers' prefixes, the readers without
    absent, extra = set(where), set[str]()
    for shard in shards:
        absent.difference_update(shard.names)
        extra.update(name for name in shard.names if name not in where)
    absent = {name for name in absent if where[name] not in missing}
    warnings = []
    if absent:
        count = numbers.plural(len(absent), "tensor")
        warnings.append(f"the index lists {count} that no shard contains: {_some(absent)}")
    if extra:
        count = numbers.plural(len(extra), "tensor")
        warnings.append(f"the shards contain {count} that the index does not list: {_some(extra)}")
    return absent, tuple(warnings)


def _some(names: Set[str]) -> str:
    return listed(natural_order(names))
