"""The only file that uses transformers' private API: how `from_pretrained` renames, merges and drops.

transformers 5 renames while it loads, by lists of transforms in modules that PEFT imports too
(`conversion_mapping`, `core_model_loading`): they are run here on ghosts. transformers 4 has one private
method for that. If neither works, `from_pretrained` itself is run on ghosts and builds a second model.
"""

from __future__ import annotations

import copy
import re
import warnings
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any, NamedTuple

from torch import Tensor, nn

from freezetui.models.ghosts import Ghost, ghost_of, origins_of
from freezetui.models.live_names import ancestry, plain_path

#: The oldest and the newest version that the names were tested with.
TESTED = ("4.57", "5.24")


class Converted(NamedTuple):
    """What the library makes of a file.

    Attributes:
        made: live name -> what would be loaded there, a ghost if the file's are; includes names that the
            model lacks.
        dropped: a renamed tensor that matches one of these is dropped silently.
        filled: a parameter that matches one of these is computed, not loaded.
        note: what the user should know about how names were found; "" if as tested.
    """

    made: dict[str, Tensor]
    dropped: list[re.Pattern[str]]
    filled: list[re.Pattern[str]]
    note: str = ""


class _Lookup:
    """A proxy for the model in a conversion: finds parameters by their names without wrappers."""

    def __init__(self, core: Any, own: Mapping[str, Tensor]) -> None:
        self._core, self._own = core, own

    def get_parameter(self, name: str) -> Tensor:
        """Return the live tensor of this name; its shape decides how a tensor is split or transposed."""
        return self._own[name]

    get_parameter_or_buffer = get_parameter

    def __getattr__(self, name: str) -> Any:
        return getattr(self._core, name)


def is_pretrained_model(module: nn.Module) -> bool:
    """Whether transformers loads this module; it is then imported already."""
    return "PreTrainedModel" in ancestry(module)


def version() -> str:
    """Return the installed version, e.g. "5.24.0"."""
    return str(import_module("transformers").__version__)


def convert(core: Any, tensors: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> Converted:
    """Return what `from_pretrained` would load where, without changing the model.

    Args:
        core: a model of transformers, without wrappers.
        tensors: ghosts or real ones, by the file's names.
        own: the model's tensors by names without wrappers.
    """
    dropped, filled = _ignored(core)
    major = int(version().split(".")[0])
    try:
        made = _renamed(core, tensors, own) if major < 5 else _transformed(core, tensors, own)
        return Converted(made, dropped, filled)
    except Exception as error:  # private: any version may have changed it in any way
        what = f"{type(error).__name__}: {error}"
        tested = f"tested with {TESTED[0]} to {TESTED[1]}"
        why = f"transformers {version()} loads weights in an unknown way ({tested}; {what})"
    try:
        made = from_pretrained(core, tensors)
    except Exception as error:
        note = f"{why}; names are compared unchanged, since from_pretrained failed: {error}."
        return Converted(dict(tensors), dropped, filled, " ".join(note.split()))
    return Converted(made, dropped, filled, f"{why}; the names were read from a second model.")


def _transformed(core: Any, tensors: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Run the loop of `convert_and_load_state_dict_in_model` of transformers 5."""
    loading = import_module("transformers.core_model_loading")
    plan = import_module("transformers.conversion_mapping").get_model_conversion_mapping(core)
    for transform in plan:
        if getattr(transform, "scope_prefix", None):
            transform.scope_prefix = plain_path(transform.scope_prefix)
    renamings = [t for t in plan if isinstance(t, loading.WeightRenaming)]
    converters = [t for t in plan if isinstance(t, loading.WeightConverter)]
    by_pattern = {pattern: c for c in converters for pattern in c.source_patterns}
    base = core.base_model_prefix
    made: dict[str, Tensor] = {}
    jobs: dict[str, Any] = {}
    for name in sorted(tensors, key=loading.dot_natural_key):  # renamings in groups depend on the order
        live, pattern = loading.rename_source_key(name, renamings, converters, base, own)
        if live not in own and name in own:
            live, pattern = loading.rename_source_key(name, [], [], base, own)
        if pattern is None or live not in own:
            if live not in own or live not in made:
                made[live] = tensors[name]
        else:
            if live not in jobs:
                jobs[live] = copy.deepcopy(by_pattern[pattern])
            jobs[live].add_tensor(live, name, pattern, tensors[name])
    real = not any(isinstance(tensor, Ghost) for tensor in tensors.values())
    for live, job in jobs.items():
        made |= _converted(core, live, job, own, real)
    return made


def _converted(core: Any, live: str, job: Any, own: Mapping[str, Tensor], real: bool) -> dict[str, Tensor]:
    """Return the results of one conversion: several tensors into one, one into several, or a new shape.

    Ghosts may get lost in it, or fail for want of values; the names of inputs and outputs are known anyway.
    """
    names = frozenset(name for names in job.layer_targets.values() for name in names)
    targets = list(job.target_patterns)
    try:
        result = job.convert(live, model=_Lookup(core, own), config=core.config)
        result = result[0] if isinstance(result, tuple) else result  # 5.0: and a dict of errors
    except Exception:  # it needs values
        if real:
            raise
        result = {live.replace(targets[0], target): None for target in targets}
    made: dict[str, Tensor] = {}
    for target, value in result.items():
        value = value[0] if isinstance(value, list) else value
        if isinstance(value, Ghost) or (real and isinstance(value, Tensor)):
            made[target] = value
        elif target in own and not real:
            made[target] = ghost_of(names, own[target])
    return made


def _renamed(core: Any, tensors: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Rename as transformers 4 does: names only; the base model's prefix is stripped or added for all."""
    prefix = core.base_model_prefix
    stored = bool(prefix) and any(name.startswith(prefix) for name in tensors)
    expected = bool(prefix) and hasattr(core, prefix)
    task, base = stored and not expected, expected and not stored
    names = core._get_key_renaming_mapping(list(tensors), _legacy_mapping(core), task, base)
    return {names[name]: tensors[name] for name in tensors if name in names}


def from_pretrained(core: Any, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors of a second model of this class after loading these.

    Tensors that the file lacks take real memory. Fails if the file contains a tied tensor twice.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = type(core).from_pretrained(
            None,
            config=copy.deepcopy(core.config),
            state_dict=dict(tensors),
            ignore_mismatched_sizes=True,
        )
    own = [*model.named_parameters(remove_duplicate=False), *model.named_buffers(remove_duplicate=False)]
    if not any(isinstance(tensor, Ghost) for tensor in tensors.values()):
        return dict(own)
    return {name: ghost_of(origins_of(tensor), tensor) for name, tensor in own if origins_of(tensor)}


def _ignored(core: Any) -> tuple[list[re.Pattern[str]], list[re.Pattern[str]]]:
    """Return the patterns that `_adjust_missing_and_unexpected_keys` removes from both lists."""
    dropped = list(getattr(core, "_keys_to_ignore_on_load_unexpected", None) or ())
    buffers = [name for name, _ in core.named_buffers()]
    if any(name.endswith("rotary_emb.inv_freq") for name in buffers):
        dropped.append(r"rotary_emb\.inv_freq")
    if any(name.endswith("position_ids") for name in buffers):
        dropped.append(r"(^|\.)position_ids$")
    filled = getattr(core, "_keys_to_ignore_on_load_missing", None) or ()
    return [re.compile(p) for p in dropped], [re.compile(p) for p in filled]


def meta_ties(core: Any) -> dict[str, str]:
    """Return the ties that a model built on meta will have once it is loaded.

    Returns:
        name -> the first name of the same tensor; empty if nothing is on meta.
    """
    if not any(parameter.is_meta for parameter in core.parameters()):
        return {}
    exact = getattr(core, "all_tied_weights_keys", None)  # since 5.0
    if isinstance(exact, Mapping):
        return dict(exact)
    twin = copy.deepcopy(core)
    twin.tie_weights()
    first: dict[int, str] = {}
    ties = {}
    for name, parameter in twin.named_parameters(remove_duplicate=False):
        if first.setdefault(id(parameter), name) != name:
            ties[name] = first[id(parameter)]
    return ties


def saved(core: Any, ghosts: Mapping[str, Ghost]) -> dict[str, Ghost]:
    """Return what `save_pretrained` would write for these: file name -> ghost of live names.

    Args:
        ghosts: by live names without wrappers, each tied tensor once.

    Raises:
        Exception: whatever the library raises if it fails.
    """
    ignored = [re.compile(p) for p in getattr(core, "_keys_to_ignore_on_save", None) or ()]
    kept = {name: g for name, g in ghosts.items() if not any(p.search(name) for p in ignored)}
    if int(version().split(".")[0]) >= 5:
        loading = import_module("transformers.core_model_loading")
        result: dict[str, Ghost] = loading.revert_weight_conversion(core, kept)
        return result
    backwards = {new: old for old, new in (_legacy_mapping(core) or {}).items()}
    return {_backwards(name, backwards): g for name, g in kept.items()}


def _legacy_mapping(core: Any) -> dict[str, str] | None:
    """Return the renamings of a class in transformers 4, which uses them for a list of families only."""
    library = import_module("transformers.modeling_utils")
    names = [cls.__name__.lower() for cls in type(core).__mro__[:-1]]
    allowed = any(family in name for name in names for family in library.VLMS)
    mapping: dict[str, str] | None = core._checkpoint_conversion_mapping if allowed else None
    return mapping


def _backwards(name: str, mapping: Mapping[str, str]) -> str:
    """Return one name as transformers 4's `save_pretrained` spells it."""
    for pattern, target in mapping.items():
        plain = re.sub(r"\(.*\)", "", target.lstrip("^"))  # without the lookaheads
        name, hits = re.subn(pattern, plain, name)
        if hits:
            break
    return name


def tied_away(core: Any) -> Callable[[str], bool]:
    """Return a test for names that a save leaves out because the class ties them to another."""
    exact = getattr(core, "all_tied_weights_keys", None)  # since 5.0, by name
    if isinstance(exact, Mapping):
        return exact.__contains__
    patterns = [re.compile(p) for p in getattr(core, "_tied_weights_keys", None) or ()]
    return lambda name: any(pattern.search(name) for pattern in patterns)
