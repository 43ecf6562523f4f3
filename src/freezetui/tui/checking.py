"""What to ask the user before a check: the architecture, and whether its code may be imported."""

from __future__ import annotations

from typing import Any

from textual.app import App

from freezetui.errors import FreezeTuiError
from freezetui.recognition.adapters import Adapter, adapter_of
from freezetui.recognition.model_line import read_model_line, write_model_line
from freezetui.recognition.pickled_class import class_line
from freezetui.session.session import Session
from freezetui.text import printable, shortened
from freezetui.tui.screens.confirm import ConfirmScreen
from freezetui.tui.screens.prompt import PromptScreen

_WHAT_BUILDS_IT = """\
Which callable builds the model? For example:
  torchvision:resnet18
  my_package.models:build --arg num_classes=10
  my/model.py:build --input 3,224,224
"""
_EMPTY = (
    "It runs in a separate process. Leave empty to check only the optimizer step: the result is then "
    "always inconclusive."
)


async def may_check(app: App[Any], session: Session) -> bool:
    """Ask for what the check needs: an architecture, or permission to import one named by the config.

    Only for a Textual worker.

    Returns:
        Whether the check can run now.
    """
    architecture = session.architecture
    if not architecture.model.architecture and not architecture.tensors_only:
        return await ask_architecture(app, session, "Architecture unknown")
    if architecture.trusted:
        return True
    body = f"{session.config_path.name} wants to import and run {architecture.model.architecture}."
    options = [("n", "cancel"), ("y", "import and run it")]
    if await app.push_screen_wait(ConfirmScreen("Run code named by the config?", body, options)) != "y":
        return False
    session.trust_architecture()
    return True


async def ask_architecture(
    app: App[Any], session: Session, title: str = "Architecture for the check"
) -> bool:
    """Ask for the architecture; return whether the user gave one. Only for a Textual worker."""
    line = write_model_line(session.architecture.model)
    text, adapter = _WHAT_BUILDS_IT, adapter_of(session.options.source)
    if adapter is not None:
        text = f"{_of_adapter(adapter)}\n"
        line = line or (adapter.line if adapter.is_local else "")
    elif pickled := class_line(session.checkpoint.module_types):
        text += f"The file holds a {printable(shortened(pickled))}: type that if you trust its code.\n"
    prompt = PromptScreen(title, text + _EMPTY, line, refuse=_why_not_read)
    answer = await app.push_screen_wait(prompt)
    if answer is None:
        return False
    session.name_architecture(read_model_line(answer))
    return True


def _of_adapter(adapter: Adapter) -> str:
    """Return what builds the model of an adapter, and what that needs."""
    base = printable(shortened(adapter.base))
    if adapter.line and adapter.is_local:
        return f"A PEFT adapter for the model in {base}: the line below builds both."
    where = "" if adapter.is_local else " (not a directory here)"
    if not adapter.line:
        return f"A PEFT adapter for {base}{where}: name a function that returns the PEFT model."
    return (
        f"A PEFT adapter for {base}{where}. With its base model downloaded, pass\n  {printable(adapter.line)}"
    )


def _why_not_read(line: str) -> str:
    """Return what is wrong with an architecture line; "" if nothing is."""
    try:
        read_model_line(line)
    except FreezeTuiError as error:
        return str(error)
    return ""
