"""Callbacks of the cloud: in order for one client, plain functions and coroutines alike."""

import asyncio

import pytest

from sim.cloud.broker.delivery import Deliveries
from sim.cloud.broker.effects import Connected, Disconnected, Message


class MixedPolicy:
    """`on_connect` waits for `go`, the others answer at once."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.go = asyncio.Event()

    async def authenticate(self, client_id: str, username: str | None, password: bytes | None) -> bool:
        return True

    def may_publish(self, client_id: str, topic: str) -> bool:
        return True

    def may_subscribe(self, client_id: str, topic_filter: str) -> bool:
        return True

    async def on_connect(self, client_id: str, address: str) -> None:
        await self.go.wait()
        self.calls.append(f"{client_id} connected")

    def on_message(self, client_id: str, topic: str, payload: bytes, *, is_will: bool) -> None:
        self.calls.append(f"{client_id} {topic}")
        if topic == "explode":
            raise RuntimeError("handler failed")

    def on_disconnect(self, client_id: str) -> None:
        self.calls.append(f"{client_id} gone")


def message(client_id: str, topic: str) -> Message:
    return Message(client_id, topic, b"", False)


def test_plain_callback_is_done_at_once_unless_an_earlier_one_is_not() -> None:
    async def run() -> None:
        policy = MixedPolicy()
        room: list[str] = []
        deliveries = Deliveries(policy, room=1, on_room=room.append)
        assert deliveries.put(message("quick", "1")) == 0
        assert deliveries.put(Connected("slow", "192.0.2.1")) == 1
        assert deliveries.put(message("slow", "2")) == 2
        assert deliveries.put(Disconnected("slow")) == 3
        assert deliveries.put(message("quick", "3")) == 0
        assert policy.calls == ["quick 1", "quick 3"]
        policy.go.set()
        await deliveries.finish(10.0)
        assert policy.calls[2:] == ["slow connected", "slow 2", "slow gone"]
        assert deliveries.backlog("slow") == 0
        await asyncio.sleep(0)
        assert room == ["slow"]

    asyncio.run(run())


def test_failing_plain_callback_is_logged_and_the_next_one_runs(caplog: pytest.LogCaptureFixture) -> None:
    async def run() -> list[str]:
        policy = MixedPolicy()
        deliveries = Deliveries(policy, room=1, on_room=lambda _: None)
        assert deliveries.put(message("d", "explode")) == 0
        assert deliveries.put(message("d", "next")) == 0
        return policy.calls

    assert asyncio.run(run()) == ["d explode", "d next"]
    assert "callback for client 'd' failed" in caplog.text
