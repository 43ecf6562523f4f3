"""Finds the checkpoint in a directory, and what belongs to it: its shards, its `config.json`."""

from __future__ import annotations

import re
from collections.abc import Callable
from itertools import islice
from pathlib import Path

import msgspec

from freezetui.checkpoint.formats.detect import METADATA, container, is_index
from freezetui.checkpoint.formats.reader import read_file
from freezetui.checkpoint.sources.base import Source, version_of
from freezetui.checkpoint.sources.urls import is_url, shown_source
from freezetui.checkpoint.state_dict.ordering import natural_order
from freezetui.checkpoint.types import Checkpoint, Found, Part
from freezetui.errors import CheckpointError, NoCheckpointError
from freezetui.text import listed, printable

#: Files whose name does not say that they are the model of the directory.
_ANY_NAME = (
    r"(?!adapter_|training_|optimizer).+\.safetensors",
    r"(?!training_args|optimizer|scheduler|rng_state|scaler).+\.(bin|pth|pt|ckpt|pt2|tar)",
    r".+\.gguf",
)
#: Which file of a directory to read, best first: safetensors before pickles, an index before its shards.
_PREFERRED = (
    r"(model|diffusion_pytorch_model)\.safetensors\.index\.json",
    r".+\.safetensors\.index\.json",
    r"(model|diffusion_pytorch_model)\.safetensors",
    _ANY_NAME[0],
    r"adapter_model\.safetensors",
    r"pytorch_model\.bin\.index\.json",
    r".+\.index\.json",
    r"(pytorch_model|diffusion_pytorch_model|adapter_model)\.bin",
    *_ANY_NAME[1:],
)
#: Files that are looked at in each level below a directory without one.
_MAX_FILES = 10_000
#: Files of diffusers and sentence-transformers that list the models of a pipeline.
_PIPELINE = frozenset(("model_index.json", "modules.json"))
_SHARD = re.compile(r"(?P<stem>.+?)[-_](?P<number>\d{1,6})-of-(?P<count>\d{1,6})(?P<end>\.\w+)")
#: Files written by `save_pretrained`: a `config.json` beside them describes them.
_SAVED_WITH_CONFIG = re.compile(
    r"(model|pytorch_model|diffusion_pytorch_model|tf_model)([-.]\d+-of-\d+)?\.(safetensors|bin)(\.index\.json)?"
)


def read_source(
    source: Source, key: str | None, progress: Callable[[str], None], found: Found | None = None
) -> Checkpoint:
    """Return the Checkpoint in a file, or in the shards that an index lists.

    Raises:
        CheckpointError: it is not a checkpoint.
    """
    with source.open() as opened:
        if not container(opened.head) and is_index(opened.head, opened.name):
            from freezetui.checkpoint.layouts.shards import read_index

            checkpoint = read_index(opened, source.parent(), key, progress)
        else:
            checkpoint = read_file(opened, key, found)
            part = Part(source.location, opened.size, version_of(opened.file))
            checkpoint = msgspec.structs.replace(checkpoint, size=part.size, parts=(part,))
    if _SAVED_WITH_CONFIG.fullmatch(re.split(r"[/\\]", source.location.partition("?")[0])[-1]):
        from freezetui.checkpoint.layouts.hf_config import with_architecture

        return with_architecture(checkpoint, source.parent())
    return checkpoint


def read_directory(directory: Source, key: str | None, progress: Callable[[str], None]) -> Checkpoint:
    """Return the Checkpoint in a directory as written by Hugging Face or torch.distributed.checkpoint.

    Raises:
        CheckpointError: there is none, or there are several.
    """
    names = directory.files()
    if not _PIPELINE.isdisjoint(names):
        from freezetui.checkpoint.layouts.pipeline import read_pipeline

        pipeline = read_pipeline(directory, key, lambda part: _read_one(part, part.files(), None, progress))
        if pipeline is not None:
            return pipeline
    return _read_one(directory, names, key, progress)


def _read_one(
    directory: Source, names: list[str], key: str | None, progress: Callable[[str], None]
) -> Checkpoint:
    """Return the only checkpoint in a directory."""
    name = shown_source(directory.location)
    problem: CheckpointError | None = None
    if METADATA in names:
        from freezetui.checkpoint.formats.dcp import read_dcp

        try:
            checkpoint = read_dcp(directory, key)
        except CheckpointError as error:
            problem = error  # raised only if nothing else is found
        else:
            if checkpoint is not None:
                return checkpoint
    for preference in _PREFERRED:
        found = [each for each in names if re.fullmatch(preference, each)]
        if len(found) == 1:
            checkpoint = read_source(directory.child(found[0]), key, progress)
            return _with_others_told(checkpoint, found[0], names) if preference in _ANY_NAME else checkpoint
        if found and _are_all_shards(found):
            from freezetui.checkpoint.layouts.shards import read_several

            return read_several([directory.child(each) for each in found], key, progress)
        if found:
            raise CheckpointError(
                f"{name} contains several checkpoints: {listed(found, 8, 100)}.", "Pass one of them."
            )
    if problem is not None:
        raise problem
    hint = (
        "Pass a directory with a .safetensors, .bin, .pth or .metadata file, or the path of the file itself."
    )
    if below := _with_checkpoints_below(directory):
        hint = f"Pass a directory below it: {listed(below, 8, 100)}."
    raise NoCheckpointError(f"{name} contains no checkpoint.", hint)


def _with_checkpoints_below(directory: Source) -> list[str]:
    """Return the directories below a local one that have a file named like a checkpoint."""
    if is_url(directory.location):
        return []
    top = Path(directory.location)
    is_named = re.compile("|".join((*_PREFERRED, re.escape(METADATA)))).fullmatch
    for level in ("*/*", "*/*/*"):
        files = islice(top.glob(level), _MAX_FILES)
        if found := {str(file.parent.relative_to(top)) for file in files if is_named(file.name)}:
            return natural_order(found)
    return []


def _with_others_told(checkpoint: Checkpoint, name: str, names: list[str]) -> Checkpoint:
    """Return the checkpoint in the file `name`, with a warning if others are beside it."""
    is_other = re.compile("|".join(_ANY_NAME)).fullmatch
    others = [each for each in names if each != name and is_other(each)]
    if not others:
        return checkpoint
    also = listed(others, 8, 100)
    warning = f"multiple checkpoints found; showing {printable(name)}; pass the path to open another: {also}"
    return msgspec.structs.replace(checkpoint, warnings=(*checkpoint.warnings, warning))


def _are_all_shards(names: list[str]) -> bool:
    """Whether these are the shards of one checkpoint whose index is missing."""
    matches = [_SHARD.fullmatch(name) for name in names]
    return len({(m["stem"], m["count"], m["end"]) if m else None for m in matches} - {None}) == 1 and all(
        matches
    )
