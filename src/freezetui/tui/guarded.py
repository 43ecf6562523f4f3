"""Guarded: what keeps an unexpected error in one handler from ending the whole app."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from textual.message import Message
from textual.message_pump import MessagePump

if TYPE_CHECKING:
    from freezetui.tui.host import Host


class Guarded(MessagePump):
    """Mixed into the app and into each screen and widget of ours, before Textual's class.

    Textual ends the task that runs the handlers of a widget once one of them raises, and then the app. Here
    the handler alone ends, and the app tells the user.
    """

    async def _dispatch_message(self, message: Message) -> None:
        try:
            await super()._dispatch_message(message)
        except Exception as error:
            host = cast("Host", self.app)
            host.tell_failure(error, f"handling {type(message).__qualname__}")
