"""What wrappers such as DataParallel and torch.compile put in front of every name."""

from __future__ import annotations

_PREFIXES = ("module.", "_orig_mod.", "netG.")


def common_prefix(names: list[str]) -> str:
    """The wrappers' prefix that every name carries, e.g. "module._orig_mod."; "" for none."""
    prefix = ""
    while names:
        longer = next((prefix + p for p in _PREFIXES if names[0].startswith(prefix + p)), None)
        if longer is None or not all(name.startswith(longer) for name in names):
            break
        prefix = longer
    return prefix
