"""The class of a pickled nn.Module, as what builds one."""

from __future__ import annotations

from collections.abc import Mapping

#: Modules that cannot be imported, or whose classes do not build the model by themselves.
_USELESS = ("__main__", "__torch__", "torch")


def class_line(module_types: Mapping[str, str]) -> str:
    """Return the class of the whole model as "module:Class"; "" if the file knows none that can be imported.

    The file may name anything: it is for the user to read, and never to be imported unasked.
    """
    module, _, name = module_types.get("", "").rpartition(".")
    return f"{module}:{name}" if module and module.partition(".")[0] not in _USELESS else ""
