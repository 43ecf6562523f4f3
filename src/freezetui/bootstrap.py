"""The command that runs a module of freezetui in a child process, under this Python or the user's own.

freezetui need not be installed for that Python. The child gets freezetui's own directory as an argument,
loads the package from there with `importlib`, and puts it into `sys.modules`; its submodules are found
through its `__path__`. Nothing is added to `sys.path`, so whatever else is imported comes from the child's
own environment: the packages that are installed beside freezetui can never shadow those of the user.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from freezetui.errors import FreezeTuiError

#: Names the Python that the check and the describer run under; `--python` wins.
VARIABLE = "FREEZETUI_PYTHON"

# Without the "" entry a file called torch.py in the current directory is never imported by accident.
# It is run by Pythons of any version: it fails with one line, not with a SyntaxError.
_BOOT = """\
import sys
sys.path[:] = filter(None, sys.path)
import json
from importlib import import_module, util
directory, main, needs = sys.argv[1:4]
del sys.argv[1:4]
lacks = [name for name in needs.split(",") if util.find_spec(name) is None]
if lacks or sys.version_info < (3, 10):
    message = "%s lacks %s, which freezetui needs there." % (sys.executable, " and ".join(lacks))
    hint = "Run: %s -m pip install %s" % (sys.executable, " ".join(lacks))
    if not lacks:
        message, hint = "%s is older than Python 3.10." % sys.executable, "Choose a newer one with --python."
    print(json.dumps({"type": "failed", "message": message, "hint": hint}), flush=True)
    sys.exit(0)
start = directory + "/__init__.py"
spec = util.spec_from_file_location("freezetui", start, submodule_search_locations=[directory])
sys.modules["freezetui"] = module = util.module_from_spec(spec)
spec.loader.exec_module(module)
import_module(main).main()
"""
_DIRECTORY = str(Path(__file__).resolve().parent)
#: These would take another Python to the standard library or the packages of this one.
_OF_THIS_PYTHON = ("PYTHONHOME", "__PYVENV_LAUNCHER__")


def command(
    main: str, python: str = "", needs: Sequence[str] = ("msgspec", "torch"), arguments: Sequence[str] = ()
) -> list[str]:
    """Return the command line that calls `main()` of a module of freezetui.

    Args:
        main: the module, e.g. "freezetui.engine.main".
        python: the interpreter; "" for the one that runs this.
        needs: packages without which it cannot work. If one is missing, the child prints one JSON line of
            type "failed", with a message and a hint, and ends.
        arguments: what `main` finds in `sys.argv[1:]`.
    """
    return [python or sys.executable, "-c", _BOOT, _DIRECTORY, main, ",".join(needs), *arguments]


def environment(python: str, **changes: str) -> dict[str, str]:
    """Return the environment of a child: this one's, with changes, without what is only for this Python."""
    kept: Mapping[str, str] = os.environ
    if python:
        kept = {name: value for name, value in kept.items() if name not in _OF_THIS_PYTHON}
    return {**kept, **changes}


def interpreter(named: str | None) -> str:
    """Return the path of the Python that the user named, by option or else by `FREEZETUI_PYTHON`.

    Returns:
        "" if none is named.

    Raises:
        FreezeTuiError: it is not an executable file.
    """
    wanted = named or os.environ.get(VARIABLE, "")
    if not wanted:
        return ""
    import shutil  # only for what is named

    found = shutil.which(str(Path(wanted).expanduser()))
    if found is None:
        raise FreezeTuiError(
            f"{wanted!r} is not a Python interpreter.",
            "Pass the path of one, e.g. --python ~/env/bin/python.",
        )
    return found
