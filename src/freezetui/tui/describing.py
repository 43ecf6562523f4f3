"""Brings a description of the live model into a running TUI: asks for it, waits for it, takes it in."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import Future
from typing import TYPE_CHECKING, NamedTuple

from textual.message import Message

from freezetui.errors import FreezeTuiError
from freezetui.session.loading import run_in_thread
from freezetui.session.session import Session

if TYPE_CHECKING:
    from textual.screen import Screen

    from freezetui.description.types import Description
    from freezetui.freeze.tree import ParamTree
    from freezetui.model_spec import ModelSpec

#: Seconds after the first screen: until then the terminal has more to do.
DELAY = 1.0
_WAITING = "Building the model without weights…"


class Described(Message):
    """A description has arrived, or why there is none."""


class Arrival(NamedTuple):
    """A description, and the tree in the order that it gives."""

    description: Description
    tree: ParamTree


class Describing:
    """At most one request for the description of a session's model.

    Attributes:
        arrived: a description that is to be taken in, as soon as nothing is in the way, with its tree.
    """

    def __init__(self, screen: Screen[None], session: Session) -> None:
        self._screen, self._session = screen, session
        self._asked: tuple[ModelSpec, Future[Arrival]] | None = None
        self.arrived: Arrival | None = None

    def start(self) -> None:
        """Ask for a description a second from now, where that is allowed and enough memory is free then."""
        if self._session.options.engine and self._session.describable:
            self._screen.set_timer(DELAY, self._ask_with_room)

    def _ask_with_room(self) -> None:
        from freezetui.description.memory import has_room

        if self._session.description is None and has_room():
            self.ask()

    def ask(self) -> Future[Arrival]:
        """Ask for a description in a thread, once for each architecture."""
        model = self._session.architecture.model
        if self._asked is None or self._asked[0] != model or self._failed():
            answer: Future[Arrival] = Future()
            answer.add_done_callback(self._done)
            self._asked = model, answer
            run_in_thread(answer, self._described)
        return self._asked[1]

    def _described(self) -> Arrival:
        """Wait for the description and make its tree, which takes long for a large model."""
        description = self._session.describe().result()
        return Arrival(description, self._session.tree_of(description))

    def _done(self, _: Future[Arrival]) -> None:
        """Tell the screen, from the thread of the answer."""
        self._screen.call_later(self._settle)

    def _settle(self) -> None:
        self.settle()
        self._screen.post_message(Described())

    def _failed(self) -> bool:
        return self._asked is not None and self._asked[1].done() and self._asked[1].exception() is not None

    def settle(self) -> None:
        """Note what has arrived, if it is still about the session's architecture."""
        if self._asked is None or not self._asked[1].done():
            return
        model, answer = self._asked
        if model != self._session.architecture.model:
            return
        error = answer.exception()
        if error is None:
            if self._session.description is not answer.result().description:
                self.arrived = answer.result()
        elif isinstance(error, FreezeTuiError):
            self._session.undescribed = str(error)

    async def wait(self) -> str:
        """Wait for a description, with a way out; only for a Textual worker.

        Returns:
            why there is none; "" where there is one, or the user has given up waiting.
        """
        from freezetui.tui.screens.busy import wait_with_busy_screen

        try:
            found = await wait_with_busy_screen(self._screen.app, _WAITING, self.ask())
        except FreezeTuiError as error:
            return str(error)
        if found is not None:
            self.settle()
        return ""


def layers_in_file(session: Session) -> dict[int, str]:
    """Return, per module of the tree whose class the file knows, its name: that of a pickled nn.Module."""
    tree, types = session.tree, session.checkpoint.module_types
    nodes = ((tree.find(path) if path else 0, kind.rpartition(".")[2]) for path, kind in types.items())
    return {node: name for node, name in nodes if node >= 0 and not tree.leaf[node]}


def layers_of(description: Description, session: Session) -> Mapping[int, str]:
    """Return per module of the tree that the live model has, its class and numbers."""
    tree, found = session.tree, layers_in_file(session)
    for module in description.modules:
        if module.file is not None:
            node = tree.find(module.file) if module.file else 0
            if node >= 0 and not tree.leaf[node]:
                found[node] = module.layer
    return found
