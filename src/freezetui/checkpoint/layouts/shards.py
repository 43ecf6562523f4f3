"""Many files as one checkpoint: the shards that an index names, or several files at once."""

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

#: Told in a few words how far the reading is.
Progress = Callable[[str], None]

T = TypeVar("T")

_AT_ONCE = 16
#: No file has a longer name than this, and no model a longer index, in bytes.
_MAX_NAME, _MAX_INDEX = 1000, 2**28


class _Index(msgspec.Struct):
    """`NAME.index.json`: which shard holds which tensor."""

    weight_map: dict[str, str]


class _Shard(NamedTuple):
    """What one file gave: a safetensors header, or the Checkpoint in a pickle."""

    part: Part
    entries: dict[str, Entry]
    checkpoint: Checkpoint | None

    @property
    def names(self) -> Collection[str]:
        """Of its tensors."""
        return self.entries if self.checkpoint is None else {t.name: None for t in self.checkpoint.tensors}


def read_index(index: OpenFile, folder: Source, key: str | None, progress: Progress) -> Checkpoint:
    """The shards that an index names, beside it; those that are missing are told, the rest is shown.

    Raises:
        CheckpointError: the index or a shard is damaged, names a file elsewhere, or no shard is there.
    """
    if index.size > _MAX_INDEX:
        raise CheckpointError(f"{index.name} is too large for an index.", "It may be malicious.")
    try:
        text = index.file.read(index.size).removeprefix(b"\xef\xbb\xbf")
        where = msgspec.json.decode(text, type=_Index).weight_map
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise CheckpointError(
            f"{index.name} is not a valid shard index: weight_map is malformed.", "Fetch the file again."
        ) from None
    names = natural_order(set(where.values()))
    for name in names:
        if not _is_inside(name) or len(name) > _MAX_NAME:
            raise CheckpointError(
                f"{index.name} names a shard outside its folder: {printable(name[:200])}.",
                "It may be hostile.",
            )
    read = _read_all([folder.child(name) for name in names], key, progress, must_be_there=False)
    there = {name: shard for name, shard in zip(names, read, strict=True) if shard is not None}
    taken = _taken(there, where)
    shards = [_without_doubles(shard, name, taken) for name, shard in there.items()]
    if not shards:
        raise CheckpointError(
            f"None of the {len(names):,} shards that {index.name} names is there.", "Fetch them as well."
        )
    kind = "safetensors" if shards[0].checkpoint is None else "pickle"
    missing = frozenset(name for name, shard in zip(names, read, strict=True) if shard is None)
    told = (*_missing(missing, where), *_differences(shards, where, missing), *_doubled(taken))
    numbers_of = {name: number for number, name in enumerate(there)}
    del where, read, there  # of a million tensors a quarter of the memory
    checkpoint = _merged(shards, f"{kind} in {len(names):,} shards")
    tensors = checkpoint.tensors
    if taken:
        prefix = checkpoint.prefix
        tensors = tuple(_placed(tensor, prefix + tensor.name, taken, numbers_of) for tensor in tensors)
    return msgspec.structs.replace(checkpoint, tensors=tensors, warnings=(*told, *checkpoint.warnings))


def _taken(there: Mapping[str, _Shard], where: Mapping[str, str]) -> dict[str, str]:
    """The tensors that are in several shards, and the shard that the index takes each from."""
    taken: dict[str, str] = {}
    for name, shard in there.items():
        for tensor in shard.names:
            other = where.get(tensor, name)
            if other != name and other in there and tensor in there[other].names:
                taken[tensor] = other
    return taken


def _without_doubles(shard: _Shard, name: str, taken: Mapping[str, str]) -> _Shard:
    """The shard without tensors that are taken from another."""
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
    """The tensor with the part that it is read from, where several hold one of its name."""
    if tensor.storage is not None or full not in taken:
        return tensor
    return msgspec.structs.replace(tensor, storage=StorageKey(f"{numbers_of[taken[full]]}/{full}"))


def _doubled(taken: Mapping[str, str]) -> tuple[str, ...]:
    if not taken:
        return ()
    count = numbers.plural(len(taken), "tensor")
    return (f"{count} in several shards, taken from the one that the index names: {_some(taken.keys())}",)


def read_several(sources: Sequence[Source], key: str | None, progress: Progress) -> Checkpoint:
    """Several files as one checkpoint; no name may be in two of them.

    Raises:
        CheckpointError: one of them is not a checkpoint, or a name is in two.
    """
    shards = [shard for shard in _read_all(sources, key, progress, must_be_there=True) if shard is not None]
    seen: dict[str, str] = {}
    for shard in shards:
        for name in shard.names:
            if seen.setdefault(name, shard.part.source) != shard.part.source:
                files = f"{shown_source(seen[name])} and in {shown_source(shard.part.source)}"
                raise CheckpointError(
                    f"{printable(name[:200])} is in {files}.",
                    "Open one of them at a time.",
                )
    return _merged(shards, f"{len(sources):,} files")


def _read_all(
    sources: Sequence[Source], key: str | None, progress: Progress, must_be_there: bool
) -> list[_Shard | None]:
    """The headers of all, several at once: a server or a disk answers more than one question at a time.

    Those that are not there are None, unless they must be.
    """

    def read(source: Source) -> _Shard | None:
        try:
            return _read(source, key)
        except MissingFileError:
            if must_be_there:
                raise
            return None

    shards: list[_Shard | None] = []
    with ThreadPoolExecutor(_AT_ONCE) as pool:
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
    """The tensors of all: safetensors in natural order, those of pickles file by file behind them."""
    entries: dict[str, Entry] = {}
    pickled: dict[str, TensorInfo] = {}
    for number, shard in enumerate(shards):
        entries.update(shard.entries)
        if shard.checkpoint is not None:
            tensors = shard.checkpoint.tensors
            named = (_numbered(tensor, number) for tensor in tensors) if len(shards) > 1 else tensors
            pickled.update((tensor.name, tensor) for tensor in named)
    inner = [shard.checkpoint for shard in shards if shard.checkpoint is not None]
    # Where one of them is a pickle, no prefix need be that of all.
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
    """The tensor with a storage key that is unique among all the parts."""
    if tensor.storage is None:
        return tensor
    storage = msgspec.structs.replace(tensor.storage, key=f"{number}/{tensor.storage.key}")
    return msgspec.structs.replace(tensor, storage=storage)


def _is_inside(name: str) -> bool:
    """Whether a shard's name stays in the index's folder."""
    parts = name.replace("\\", "/").split("/")
    return "" not in parts and ".." not in parts and ":" not in name and "\0" not in name


def _missing(missing: Set[str], where: Mapping[str, str]) -> tuple[str, ...]:
    if not missing:
        return ()
    tensors = sum(shard in missing for shard in where.values())
    return (f"missing: {_some(missing)}, with {numbers.plural(tensors, 'tensor')}; fetch what is missing",)


def _differences(shards: Sequence[_Shard], where: Mapping[str, str], missing: Set[str]) -> tuple[str, ...]:
    """Names that the index has and the shards have not, and the other way round."""
    pickled = [shard.checkpoint for shard in shards if shard.checkpoint is not None]
    if any(checkpoint.prefix or checkpoint.wrappers for checkpoint in pickled):
        return ()  # the index names them with what wrappers added, the readers without
    absent, extra = set(where), set[str]()
    for shard in shards:
        absent.difference_update(shard.names)
        extra.update(name for name in shard.names if name not in where)
    absent = {name for name in absent if where[name] not in missing}
    told = []
    if absent:
        told.append(
            f"the index names {numbers.plural(len(absent), 'tensor')} that no shard holds: {_some(absent)}"
        )
    if extra:
        count = numbers.plural(len(extra), "tensor")
        told.append(f"the shards hold {count} that the index does not name: {_some(extra)}")
    return tuple(told)


def _some(names: Set[str]) -> str:
    return listed(natural_order(names))
