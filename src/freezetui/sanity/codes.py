"""Makes findings from the tables of causes. Does not import torch."""

from __future__ import annotations

from collections.abc import Iterable

from freezetui.sanity import causes, change_causes, run_causes, training_causes
from freezetui.sanity.causes import Code
from freezetui.sanity.report import Finding


def _place(entry: Code) -> tuple[int, int]:
    return "MFSN".index(entry.code[0]), int(entry.code[1:])


#: Key -> code, those of a check before those of a run, in the order of the codes.
_TABLES = (change_causes, causes, training_causes, run_causes)
CODES = {entry.key: entry for entry in sorted((e for t in _TABLES for e in t.TABLE), key=_place)}


def finding(key: str, tensors: Iterable[str] = (), **values: str) -> Finding:
    """Return the finding of this key.

    Args:
        tensors: full names concerned.
        values: one for each name in braces in the message and the fix.

    Raises:
        KeyError: the key is unknown, or a value is missing.
    """
    entry = CODES[key]
    assert entry.severity is not None, key
    message, fix = entry.message.format_map(values), entry.fix.format_map(values)
    return Finding(entry.severity, entry.code, tuple(tensors), message, fix, key)
