"""Asks for a new stage, and changes the stages that there are: name, order, length, learning rate."""

from __future__ import annotations

from collections.abc import Callable

from textual.app import App

from freezetui.session.session import Session
from freezetui.session.stage_plans import EVERYTHING
from freezetui.tui.screens.confirm import ConfirmScreen
from freezetui.tui.screens.prompt import PromptScreen

_EVERYTHING = f'A stage called "{EVERYTHING}" trains the whole model'
_FIRST = f"""\
What is chosen now becomes the first stage. Press + again for the next one.
{_EVERYTHING}."""
_NEXT = f"""\
{_EVERYTHING}; any other name starts like the stage that is shown.
[ and ] switch between stages and what they have in common."""
_MAX_EPOCHS = 1_000_000


async def ask_stage(app: App[int], session: Session) -> bool:
    """Ask for a name and add the stage; return whether one was added. Only for a Textual worker."""
    stages = session.stages
    if stages.names:
        title, body, name = "New stage", _NEXT, _next_name(session)
    else:
        title, body, name = "First stage", _FIRST, first_name(session)
    answer = await app.push_screen_wait(PromptScreen(title, body, name, refuse=stages.why_not_a_name))
    if answer is not None:
        stages.start(answer)
    return answer is not None


async def edit_stages(app: App[int], session: Session, changed: Callable[[], object]) -> None:
    """Show the stages until the user closes the dialog, and change them. Only for a Textual worker.

    Args:
        changed: called after each change, while the dialog is open.
    """
    from freezetui.tui.screens.stages import StagesScreen  # the first screen needs none

    stages, place = session.stages, session.stages.shown
    while True:
        answer = await app.push_screen_wait(StagesScreen(session, place))
        if answer is None:
            return
        what, place = answer[0], answer[1]
        if what == "new":
            await ask_stage(app, session)
            place = stages.shown
        elif what == "delete":
            if await _may_delete(app, place):
                stages.remove(place)
                place = stages.shown
        elif what == "rename":
            place = await _rename(app, session, place)
        elif what == "epochs":
            await _ask_epochs(app, session, place)
        elif what == "lr":
            await _ask_lr_scale(app, session, place)
        else:
            stages.show(place or None)
            return
        changed()


def first_name(session: Session) -> str:
    """Return a name for what is chosen now: the only part that trains, or that everything does."""
    tree, totals = session.tree, session.totals
    if not totals.frozen.tensors:
        return EVERYTHING
    trains = [n for n in tree.children(0) if session.plan.totals(*tree.span(n)).trainable.tensors]
    return tree.names[trains[0]] if len(trains) == 1 else "first"


def _next_name(session: Session) -> str:
    names = session.stages.names
    number = len(names) + 1
    while (name := f"stage {number}") in names:
        number += 1
    return name if EVERYTHING in names else EVERYTHING


async def _may_delete(app: App[int], stage: str) -> bool:
    options = [("n", "keep it"), ("y", "delete it")]
    body = "What it trains, its length and its learning rate go with it; u in the tree undoes that."
    return await app.push_screen_wait(ConfirmScreen(f"Delete the stage {stage}?", body, options)) == "y"


async def _rename(app: App[int], session: Session, stage: str) -> str:
    """Ask for another name, and return the name that the stage has then."""

    def refused(name: str) -> str:
        return "" if name == stage else session.stages.why_not_a_name(name)

    name = await app.push_screen_wait(
        PromptScreen("Rename the stage", "Its new name:", stage, refuse=refused)
    )
    if name is None or name == stage:
        return stage
    session.rename_stage(stage, name)
    return name


async def _ask_epochs(app: App[int], session: Session, stage: str) -> None:
    section = session.stages.sections[stage]
    value = "" if section.epochs is None else str(section.epochs)
    body = "How many epochs it lasts. Leave empty to let the script decide."
    answer = await app.push_screen_wait(
        PromptScreen(f"Epochs of {stage}", body, value, refuse=_why_no_epochs)
    )
    if answer is not None:
        session.stages.change(stage, int(answer) if answer else None, section.lr_scale)


async def _ask_lr_scale(app: App[int], session: Session, stage: str) -> None:
    section = session.stages.sections[stage]
    title, body = f"lr_scale of {stage}", "What the learning rate is multiplied by in this stage, e.g. 0.1."
    screen = PromptScreen(title, body, f"{section.lr_scale:g}", refuse=_why_no_scale)
    answer = await app.push_screen_wait(screen)
    if answer is not None:
        session.stages.change(stage, section.epochs, float(answer))


def _why_no_epochs(text: str) -> str:
    """Return why this is not a number of epochs; "" if it is, or is empty."""
    fine = not text or (text.isascii() and text.isdigit() and 1 <= int(text[:9]) <= _MAX_EPOCHS)
    return "" if fine and len(text) < 9 else f"Type a whole number from 1 to {_MAX_EPOCHS:,}, or nothing."


def _why_no_scale(text: str) -> str:
    """Return why this cannot multiply a learning rate; "" if it can."""
    try:
        fine = 0 <= float(text) <= 1e6
    except ValueError:
        fine = False
    return "" if fine else "Type a number that is not negative, such as 0.1."
