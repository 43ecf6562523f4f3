"""What the settings `norm_statistics` and `frozen_modules` mean, in full and in brief."""

from __future__ import annotations

from freezetui.session.session import Session

_IN_FULL = {
    "freeze": "freeze (frozen norms stay in eval and keep their statistics)",
    "update": "update (frozen norms follow train mode, and their statistics change)",
}
_OF_FROZEN = {"freeze": "statistics of frozen norms stay", "update": "statistics of frozen norms change"}
_MODULES = {
    "train": "train (dropout in frozen modules stays random in train mode)",
    "eval": "eval (wholly frozen modules stay in eval: their dropout is off)",
}


def norms_text(session: Session) -> str:
    """Return what `norm_statistics` is and means, and whether it has an effect here."""
    text = _IN_FULL[session.norm_statistics]
    return (
        text if session.has_statistics else f"{text}; no effect here: the checkpoint has no such statistics"
    )


def norms_brief(session: Session) -> str:
    """Return the same in few words."""
    effect = (
        _OF_FROZEN[session.norm_statistics] if session.has_statistics else "no effect here: no statistics"
    )
    return f"norm_statistics: {session.norm_statistics}; {effect}"


def modules_text(session: Session) -> str:
    """Return what `frozen_modules` is and means."""
    return _MODULES[session.stages.settings.frozen_modules]
