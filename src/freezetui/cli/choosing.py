"""What `freezetui plan` selects: a preset and rules, with the describer where they need it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from freezetui.cli.output import say
from freezetui.cli.progress import progress_line
from freezetui.errors import FreezeTuiError, PatternError
from freezetui.freeze.presets import STRUCTURAL, Choice
from freezetui.freeze.rules import Action, Rule

if TYPE_CHECKING:
    from freezetui.session.session import Session


def choose(
    session: Session, preset: Choice | None, rules: tuple[Rule, ...], default: Action = "train"
) -> None:
    """Replace the session's plan; describe the model first if the preset needs its head or its blocks.

    If a pattern matches nothing, a model of transformers is described, too: the name may be tied to one in
    the file.

    Raises:
        PatternError: a rule or the preset matches nothing in the model.
    """
    structural = preset is not None and preset.preset.name in STRUCTURAL
    problem = _describe(session) if structural else ""
    try:
        session.choose(preset, rules, default)
    except PatternError:
        may_tie = session.architecture.model.architecture.startswith("transformers:")
        if structural or not may_tie or _describe(session):
            raise
        session.choose(preset, rules, default)
    if problem:
        say(f"freezetui: the preset goes by names: {problem}")


def _describe(session: Session) -> str:
    """Describe the model; return why it is not known, "" if it is."""
    if not session.options.engine:
        return "the process that describes the model is off."
    if not session.describable:
        return "no known library builds this model."
    try:
        with progress_line() as progress:
            progress("building the model without weights")
            session.take_in(session.describe().result())
    except FreezeTuiError as error:
        return str(error)
    return ""
