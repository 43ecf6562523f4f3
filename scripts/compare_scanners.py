"""Tells which globals the installed scanners know from attacks that are not marked here.

    pip install picklescan modelscan fickling && python scripts/compare_scanners.py

What it prints belongs into src/freezetui/checkpoint/pickles/known_globals.py, unless it is of no consequence.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from importlib import import_module
from typing import Any

from freezetui.checkpoint.pickles.globals import is_dangerous

#: Whole modules on fickling's list that hold what honest files have; names of theirs are marked one by one.
TOO_WIDE = frozenset(
    f"{module}.anything"
    for module in (
        "eval",
        "exec",
        "compile",
        "difflib",
        "builtins",
        "__builtin__",
        "__builtins__",
        "torch._dynamo",
        "torch.jit",
    )
)


def main() -> None:
    """Print what is missing, one name a line."""
    tables: list[tuple[str, Mapping[str, Any]]] = []
    tables.append(("picklescan", import_module("picklescan.scanner")._unsafe_globals))
    for table in import_module("modelscan.settings").DEFAULT_SETTINGS["scanners"].values():
        if isinstance(table, dict) and "unsafe_globals" in table:
            tables += [("modelscan", level) for level in table["unsafe_globals"].values()]
    tables.append(("fickling", dict.fromkeys(import_module("fickling.fickle").UNSAFE_IMPORTS, "*")))
    learned = import_module("fickling.analysis").UnsafeImportsML
    tables += [("fickling", learned.UNSAFE_IMPORTS), ("fickling", dict.fromkeys(learned.UNSAFE_MODULES, "*"))]
    for source, table in tables:
        for name in _names(table):
            if not is_dangerous(name) and name not in TOO_WIDE:
                print(f"{source}: {name}")


def _names(table: Mapping[str, Any]) -> Iterator[str]:
    for module, names in table.items():
        for name in ("anything",) if names == "*" else (names,) if isinstance(names, str) else names:
            yield f"{module}.{name}"


if __name__ == "__main__":
    main()
