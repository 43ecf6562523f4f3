"""Knows the files of adapters: their names, and the config beside PEFT's; imports nothing of PEFT."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from freezetui.checkpoint.sources.urls import is_url
from freezetui.freeze.peft_prefixes import added_prefix, is_added, owner
from freezetui.model_spec import ModelSpec
from freezetui.recognition.model_line import write_model_line

_NAME = "adapter_config.json"
_MAX_BYTES = 1_000_000
_MAX_TEXT = 500
#: More modules without an addition than an adapter's file has: a new head, embeddings.
_MAX_OTHERS = 8
#: The adapter's task -> PEFT's class that loads the base model and the adapter into it.
_CLASSES = {
    "CAUSAL_LM": "AutoPeftModelForCausalLM",
    "SEQ_2_SEQ_LM": "AutoPeftModelForSeq2SeqLM",
    "SEQ_CLS": "AutoPeftModelForSequenceClassification",
    "TOKEN_CLS": "AutoPeftModelForTokenClassification",
    "QUESTION_ANS": "AutoPeftModelForQuestionAnswering",
    "FEATURE_EXTRACTION": "AutoPeftModelForFeatureExtraction",
}


class Adapter(NamedTuple):
    """An adapter beside its config.

    Attributes:
        base: the base model as the config names it: a directory, or a name on a hub.
        is_local: whether that is a directory here.
        line: what builds the model, as `read_model_line` parses it; "" if PEFT has no class for its task.
    """

    base: str
    is_local: bool
    line: str


def adapter_of(source: str) -> Adapter | None:
    """Return the adapter that a local checkpoint is; None if no config of one is beside it.

    Args:
        source: the checkpoint, a file or a directory.
    """
    if is_url(source):
        return None
    directory = Path(source) if os.path.isdir(source) else Path(source).parent  # noqa: PTH112 (long names)
    config = _read(directory / _NAME)
    base = config.get("base_model_name_or_path")
    if not isinstance(base, str) or not 0 < len(base) < _MAX_TEXT:
        return None
    # A config with auto_mapping names a module that PEFT would import.
    name = "" if config.get("auto_mapping") else _CLASSES.get(str(config.get("task_type")), "")
    arguments: dict[str, Any] = {"pretrained_model_name_or_path": str(directory)}
    if "num_virtual_tokens" not in config:  # PEFT loads learned prompts only as not trainable
        arguments["is_trainable"] = True
    line = write_model_line(ModelSpec(f"peft:{name}.from_pretrained", arguments)) if name else ""
    return Adapter(base, os.path.isdir(base), line)  # noqa: PTH112 (long names)


def adapter_parts(names: Iterable[str]) -> tuple[str, ...]:
    """Return the parts of live names that an adapter's file holds, e.g. ".lora_"; () for other files.

    A part is in f".{name}." of what the file holds. A file that holds the base model as well, its adapted
    layers included, is not an adapter's. Biases may be in it: loralib saves those that train.

    Args:
        names: of the file's tensors, in order.
    """
    added: dict[str, None] = {}
    others: dict[str, None] = {}
    biases: dict[str, None] = {}
    owners: set[str] = set()
    for name in names:
        segments = name.split(".")
        if known := added_prefix(name):
            added[f".{known}"] = None
            owners.add(f".{owner(name)}.")
        elif "base_layer" in segments and "embed" not in name:  # embeddings are saved with an adapter
            return ()
        elif segments[-1] == "bias":
            biases[f".{name}."] = None
        else:
            others[f".{'.'.join(segments[:-1])}."] = None
            if len(others) > _MAX_OTHERS:
                return ()
    if not added or not owners.isdisjoint(others):
        return ()
    return (*added, *others, *(name for name in biases if f"{name[:-1].rpartition('.')[0]}." not in others))


def lacks_base(files: Collection[str], missing: Iterable[str]) -> bool:
    """Whether an adapter's file lacks the weights beside its additions: another file has the base model's.

    Args:
        files: its names.
        missing: the model's names that the file has nothing for; the model may have a prefix before them.
    """
    if not adapter_parts(files):
        return False
    owners = {path.rpartition(".")[2] for path in map(owner, filter(is_added, files)) if path}
    return any(not is_added(name) and not owners.isdisjoint(name.split(".")[:-1]) for name in missing)


def _read(path: Path) -> dict[str, Any]:
    """Return the config at `path`; {} if there is none that can be read."""
    try:
        with path.open("rb") as file:
            found = msgspec.json.decode(file.read(_MAX_BYTES))
    except (OSError, ValueError, msgspec.MsgspecError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}
