"""What the broker asks of the cloud."""

from collections.abc import Awaitable
from typing import Protocol


class TopicRules(Protocol):
    """Who may use which topic. Asked for every packet: answer at once and do not raise."""

    def may_publish(self, client_id: str, topic: str) -> bool:
        """Asked for each message of a client and for its will when that is published."""
        ...

    def may_subscribe(self, client_id: str, topic_filter: str) -> bool:
        """`topic_filter` is valid and may hold wildcards."""
        ...


class BrokerPolicy(TopicRules, Protocol):
    """The cloud behind the broker.

    The three `on_` callbacks of one client run one after another, in the order things happened; those of
    different clients run independently. An exception in a callback is logged and ends that call only.

    They are coroutine functions, or plain functions that answer at once and return None: those cost no task.
    """

    async def authenticate(self, client_id: str, username: str | None, password: bytes | None) -> bool:
        """True lets the client in. An exception answers "server unavailable" (CONNACK 3)."""
        ...

    def on_connect(self, client_id: str, address: str) -> Awaitable[None] | None:
        """The client has been sent CONNACK 0. `address` is its IP address."""
        ...

    def on_message(
        self, client_id: str, topic: str, payload: bytes, *, is_will: bool
    ) -> Awaitable[None] | None:
        """A message of the client that `may_publish` let through, its will included."""
        ...

    def on_disconnect(self, client_id: str) -> Awaitable[None] | None:
        """The connection ended, after its will. A takeover calls this before the new `on_connect`."""
        ...
