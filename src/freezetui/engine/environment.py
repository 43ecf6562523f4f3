"""What a check ran in: versions of Python, torch and the library that built the model, and the device."""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError, packages_distributions, version

import torch

#: Libraries whose distribution has the package's name.
_KNOWN = ("timm", "torchvision", "transformers")


def environment(architecture: str, device: torch.device) -> dict[str, str]:
    """Return what a receipt names, e.g. {"python": "3.11.7", "torch": "2.9.0", "transformers": "4.57.1"}."""
    found = {"python": platform.python_version(), "torch": str(torch.__version__)}
    package = architecture.partition(":")[0].partition(".")[0]
    if package and not architecture.partition(":")[0].endswith(".py"):
        found |= _versions(package)
    if device.type == "cuda":
        found["gpu"] = torch.cuda.get_device_name(device)
        found["cuda"] = str(torch.version.cuda)
    return found


def _versions(package: str) -> dict[str, str]:
    """Return distribution -> version of an installed package; nothing for a module of the user's own."""
    try:
        # The search reads the file list of everything installed: half a second in a full environment.
        found = [package] if package in _KNOWN else packages_distributions().get(package, [])
        return {name: version(name) for name in dict.fromkeys(found) if name != "torch"}
    except PackageNotFoundError:
        return {}
