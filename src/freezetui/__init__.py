"""Choose which weights of a PyTorch model train, and prove that the frozen ones do not change."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from freezetui.checkpoint.open import open_checkpoint
    from freezetui.errors import FreezeTuiError
    from freezetui.training.config import FreezeConfig
    from freezetui.training.guard import FreezeGuard

__all__ = ["FreezeConfig", "FreezeGuard", "FreezeTuiError", "__version__", "open_checkpoint"]

_HOMES = {
    "FreezeConfig": "freezetui.training.config",
    "FreezeGuard": "freezetui.training.guard",
    "FreezeTuiError": "freezetui.errors",
    "open_checkpoint": "freezetui.checkpoint.open",
}


def __getattr__(name: str) -> Any:
    """Import public names when first used, so that `import freezetui` costs nothing (PEP 562)."""
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(home), name)
