"""Pages that follow what happens: a timer that stops with the page and never piles up."""

from collections.abc import Awaitable, Callable
from typing import Final

from nicegui import context, ui

from cloudsdk.errors import CloudSdkError
from sim.cloud.errors import UnauthorizedError
from sim.cloud.web.routes import LOGIN_PATH

PERIOD: Final = 1.5  # seconds between two looks


def follow(
    look: Callable[[], Awaitable[None]],
    period: float = PERIOD,
    *,
    ended: Callable[[], object] = lambda: None,
) -> ui.timer:
    """Call `look` again and again while the browser is there; one that takes long delays the next.

    A `CloudSdkError` of it is passed over, but for a session that has ended: that leads to the log-in.
    `ended` is then called first, to end what the page has open whatever its browser does.
    """
    client = context.client

    async def tick() -> None:
        if not client.has_socket_connection:
            return
        try:
            await look()
        except UnauthorizedError:
            timer.deactivate()
            ended()
            ui.navigate.to(LOGIN_PATH)
        except CloudSdkError:
            return  # the next look may succeed; actions say what is wrong

    timer = ui.timer(period, tick, immediate=False)
    return timer
