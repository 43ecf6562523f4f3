"""A checkpoint among the files around it: which file of a folder it is, its shards, its `config.json`."""

from __future__ import annotations

import re
from collections.abc import Callable

import msgspec

from freezetui.checkpoint.formats.detect import container, is_index
from freezetui.checkpoint.formats.reader import read_file
from freezetui.checkpoint.sources.base import Source, version_of
from freezetui.checkpoint.sources.urls import shown_source
from freezetui.checkpoint.types import Checkpoint, Part
from freezetui.errors import CheckpointError, NoCheckpointError
from freezetui.text import listed

#: Of the files in a folder, what is taken first: safetensors before pickles, an index before its shards.
_PREFERRED = (
    r"(model|diffusion_pytorch_model)\.safetensors\.index\.json",
    r".+\.safetensors\.index\.json",
    r"(model|diffusion_pytorch_model)\.safetensors",
    r"(?!adapter_|training_|optimizer).+\.safetensors",
    r"adapter_model\.safetensors",
    r"pytorch_model\.bin\.index\.json",
    r".+\.index\.json",
    r"(pytorch_model|diffusion_pytorch_model|adapter_model)\.bin",
    r"(?!training_args|optimizer|scheduler|rng_state|scaler).+\.(bin|pth|pt|ckpt|pt2|tar)",
    r".+\.gguf",
)
#: What names the models of a pipeline: diffusers and sentence-transformers write them.
_PIPELINE = frozenset(("model_index.json", "modules.json"))
_PREFERENCES = [re.compile(pattern) for pattern in _PREFERRED]
_SHARD = re.compile(r"(?P<stem>.+?)[-_](?P<number>\d{1,6})-of-(?P<count>\d{1,6})(?P<end>\.\w+)")
#: Files that `save_pretrained` writes, so that a `config.json` beside them is about them.
_SAVED_WITH_CONFIG = re.compile(
    r"(model|pytorch_model|diffusion_pytorch_model|tf_model)([-.]\d+-of-\d+)?\.(safetensors|bin)(\.index\.json)?"
)


def read_source(source: Source, key: str | None, progress: Callable[[str], None]) -> Checkpoint:
    """The Checkpoint in a file; that of an index is in the shards that it names.

    Raises:
        CheckpointError: it is not a checkpoint.
    """
    with source.open() as opened:
        if not container(opened.head) and is_index(opened.head, opened.name):
            from freezetui.checkpoint.layouts.shards import read_index

            checkpoint = read_index(opened, source.parent(), key, progress)
        else:
            checkpoint = read_file(opened, key)
            part = Part(source.location, opened.size, version_of(opened.file))
            checkpoint = msgspec.structs.replace(checkpoint, size=part.size, parts=(part,))
    if _SAVED_WITH_CONFIG.fullmatch(re.split(r"[/\\]", source.location.partition("?")[0])[-1]):
        from freezetui.checkpoint.layouts.hf_config import described

        return described(checkpoint, source.parent())
    return checkpoint


def read_folder(folder: Source, key: str | None, progress: Callable[[str], None]) -> Checkpoint:
    """The Checkpoint in a folder, as Hugging Face or torch.distributed.checkpoint lay them out.

    Raises:
        CheckpointError: there is none, or there are several.
    """
    names = folder.files()
    if not _PIPELINE.isdisjoint(names):
        from freezetui.checkpoint.layouts.pipeline import read_pipeline

        pipeline = read_pipeline(folder, key, lambda part: _read_one(part, part.files(), None, progress))
        if pipeline is not None:
            return pipeline
    return _read_one(folder, names, key, progress)


def _read_one(
    folder: Source, names: list[str], key: str | None, progress: Callable[[str], None]
) -> Checkpoint:
    """The only checkpoint among the files in a folder."""
    name = shown_source(folder.location)
    problem: CheckpointError | None = None
    if ".metadata" in names:
        from freezetui.checkpoint.formats.dcp import read_dcp

        try:
            checkpoint = read_dcp(folder, key)
        except CheckpointError as error:
            problem = error  # unless something else lies beside it
        else:
            if checkpoint is not None:
                return checkpoint
    for preference in _PREFERENCES:
        found = [each for each in names if preference.fullmatch(each)]
        if len(found) == 1:
            return read_source(folder.child(found[0]), key, progress)
        if found and _are_all_shards(found):
            from freezetui.checkpoint.layouts.shards import read_several

            return read_several([folder.child(each) for each in found], key, progress)
        if found:
            raise CheckpointError(
                f"{name} holds several checkpoints: {listed(found, 8, 100)}.", "Pass one of them."
            )
    raise problem or NoCheckpointError(
        f"{name} is a folder without a checkpoint.",
        "Pass a folder with .safetensors, .bin, .pth or a .metadata file in it, or the file itself.",
    )


def _are_all_shards(names: list[str]) -> bool:
    """Whether these are shards of one checkpoint, whose index is not there."""
    matches = [_SHARD.fullmatch(name) for name in names]
    return len({(m["stem"], m["count"], m["end"]) if m else None for m in matches} - {None}) == 1 and all(
        matches
    )
