"""The globals that a pickle names: of no consequence, known from attacks, or neither.

Of no consequence is what is on a list: what torch's `weights_only` allows and torch's own classes that hold
data (`torch_globals.py`, made by scripts/make_torch_globals.py from the installed torch), and what trainers
write (`known_globals.py`): only what runs no code, reaches no file and leads to nothing that does. A name
counts with all its dots: what torch itself imports, as in `torch` + `os.system`, is on no list.

All others torch.load would import, and run where the pickle calls them. Those known from attacks are marked:
what picklescan, modelscan and fickling publish, and the kinds that those miss. scripts/compare_scanners.py
tells which names in the installed scanners are not marked here.
"""

from __future__ import annotations

from collections.abc import Iterable

from freezetui.checkpoint.pickles import known_globals
from freezetui.checkpoint.pickles.known_globals import parsed
from freezetui.checkpoint.pickles.torch_globals import TORCH_GLOBALS
from freezetui.text import listed

_PYTHON_2 = {"__builtin__": "builtins", "copy_reg": "copyreg", "commands": "subprocess"}
_HARMLESS = frozenset((*parsed(known_globals.DATA), *parsed(TORCH_GLOBALS)))
_BAD = frozenset(parsed(known_globals.BAD_NAMES))
_BAD_MODULES = frozenset(known_globals.BAD_MODULES.split())
_BAD_INSIDE = frozenset((*known_globals.BAD_ANYWHERE.split(), *known_globals.LEADING.split()))
#: Names that are shown, of the known-bad ones and of the others.
MAX_FOREIGN = 100
#: No name on the list has more parts.
_MAX_PARTS = 6


def is_foreign(module: str, name: str) -> bool:
    """Whether a global is on no list of harmless ones: torch.load would import it, or run it."""
    # A class of TorchScript is defined by code inside the archive, and no module can be called that.
    if module.partition(".")[0] == "__torch__":
        return is_dangerous(f"{module}.{name}")
    return f"{_modern(module)}.{name}" not in _HARMLESS


def is_dangerous(qualified: str) -> bool:
    """Whether a global, "module.name", is known to run code or to reach files and the network."""
    module, _, rest = qualified.partition(".")
    qualified = f"{_modern(module)}.{rest}"
    if qualified in _HARMLESS:
        return False
    first, *inner = qualified.split(".")
    if first in _BAD_MODULES or not _BAD_INSIDE.isdisjoint(inner):
        return True
    beginnings, path = [], first
    for part in inner[:_MAX_PARTS]:
        path = f"{path}.{part}"
        beginnings.append(path)
    return not _BAD.isdisjoint(beginnings)


def marked(foreign: tuple[str, ...]) -> list[str]:
    """The globals for people, the known-bad ones first and marked."""
    bad = [f"{name} (DANGEROUS)" for name in foreign if is_dangerous(name)]
    return bad + [name for name in foreign if not is_dangerous(name)]


def together(named: Iterable[Iterable[str]]) -> tuple[str, ...]:
    """The globals that several pickles name, each once, the known-bad ones first; a bounded number."""
    names = dict.fromkeys(name for each in named for name in each)
    bad = [name for name in names if is_dangerous(name)]
    return (*bad[:MAX_FOREIGN], *[name for name in names if not is_dangerous(name)][:MAX_FOREIGN])


def danger(foreign: tuple[str, ...]) -> str:
    """The warning about known-bad globals; "" where there are none."""
    bad = [name for name in foreign if is_dangerous(name)]
    if not bad:
        return ""
    return (
        f"this file would import {listed(bad)} when loaded with torch.load: "
        "do not load it unless you trust it; freezetui does not execute it"
    )


def calls(called: Iterable[str]) -> str:
    """The warning about globals that are called, and of which nothing is known; "" where there are none."""
    unknown = [name for name in called if not is_dangerous(name)]
    if not unknown:
        return ""
    names = listed(unknown)
    return f"torch.load would run {names}: what that does is not known here; freezetui does not run it"


def _modern(module: str) -> str:
    first, dot, rest = module.partition(".")
    return _PYTHON_2.get(first, first) + dot + rest
