"""A broker in its own thread, a policy that records, and a raw MQTT client."""

import asyncio
import socket
import threading
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from cloudsdk.mqtt.packets import ConnAck, Connect, Decoder, Packet, encode
from sim.cloud.broker import BrokerLimits, EmbeddedBroker
from sim.cloud.tls import ServerTls

T = TypeVar("T")

PATIENCE = 10.0  # seconds until a condition that does not come fails the test


class RecordingPolicy:
    """Lets everybody in except password "wrong" and topics below `forbidden`; records what happens."""

    def __init__(self) -> None:
        self.calls: list[tuple[Any, ...]] = []
        self._changed = threading.Condition()
        self.blocked_topics: set[str] = set()
        self.unblock: asyncio.Event | None = None

    def _record(self, *call: Any) -> None:
        with self._changed:
            self.calls.append(call)
            self._changed.notify_all()

    async def authenticate(self, client_id: str, username: str | None, password: bytes | None) -> bool:
        if username == "explode":
            raise RuntimeError("the store is down")
        return password != b"wrong"

    def may_publish(self, client_id: str, topic: str) -> bool:
        return not topic.startswith("forbidden")

    def may_subscribe(self, client_id: str, topic_filter: str) -> bool:
        self._record("subscribe", client_id, topic_filter)
        return not topic_filter.startswith("forbidden")

    async def on_connect(self, client_id: str, address: str) -> None:
        self._record("connect", client_id, address)

    async def on_message(self, client_id: str, topic: str, payload: bytes, *, is_will: bool) -> None:
        self._record("will" if is_will else "message", client_id, topic, payload)
        if topic in self.blocked_topics:
            if self.unblock is None:
                self.unblock = asyncio.Event()
            await self.unblock.wait()
        if topic == "explode":
            raise RuntimeError("handler failed")

    async def on_disconnect(self, client_id: str) -> None:
        self._record("disconnect", client_id)

    def of(self, client_id: str) -> list[tuple[Any, ...]]:
        with self._changed:
            return [call for call in self.calls if call[1] == client_id]

    def wait_for(self, condition: Callable[[list[tuple[Any, ...]]], bool]) -> list[tuple[Any, ...]]:
        with self._changed:
            assert self._changed.wait_for(lambda: condition(self.calls), PATIENCE), self.calls
            return list(self.calls)

    def wait_for_call(self, *call: Any) -> None:
        self.wait_for(lambda calls: any(seen[: len(call)] == call for seen in calls))


class RunningBroker:
    """An `EmbeddedBroker` on a loop in another thread."""

    def __init__(
        self, policy: RecordingPolicy, limits: BrokerLimits | None, tls: ServerTls | None = None
    ) -> None:
        self.policy = policy
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self._thread.start()
        self.broker = EmbeddedBroker(policy, limits=limits)
        self.run(self.broker.start("127.0.0.1", 0, tls.context() if tls is not None else None))
        self.port = self.broker.port

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(PATIENCE)

    def publish(self, topic: str, payload: bytes, qos: int = 0) -> int:
        return self.run(self.broker.publish(topic, payload, qos))

    def is_connected(self, client_id: str) -> bool:
        async def ask() -> bool:
            return self.broker.is_connected(client_id)

        return self.run(ask())

    def unblock(self) -> None:
        assert self.policy.unblock is not None
        self.loop.call_soon_threadsafe(self.policy.unblock.set)

    def close(self) -> None:
        self.run(self.broker.stop())
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(PATIENCE)
        assert not self._thread.is_alive()
        self.loop.close()


@contextmanager
def running(limits: BrokerLimits | None = None, *, tls: ServerTls | None = None) -> Iterator[RunningBroker]:
    server = RunningBroker(RecordingPolicy(), limits, tls)
    try:
        yield server
    finally:
        server.close()


class RawClient:
    """A TCP connection that sends and expects packets, or any bytes."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE)
        self._decoder = Decoder(1 << 20)
        self._packets: list[Packet] = []

    def __enter__(self) -> "RawClient":
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def send(self, *packets: Packet) -> None:
        self.socket.sendall(b"".join(encode(packet) for packet in packets))

    def connect(self, client_id: str, **fields: Any) -> ConnAck:
        self.send(Connect(client_id, **fields))
        answer = self.receive()
        assert isinstance(answer, ConnAck)
        return answer

    def receive(self) -> Packet:
        while not self._packets:
            data = self.socket.recv(65536)
            assert data, "the broker closed the connection"
            self._packets += self._decoder.feed(data)
        return self._packets.pop(0)

    def expect(self, *packets: Packet) -> None:
        assert [self.receive() for _ in packets] == list(packets)

    def has_nothing(self) -> bool:
        """True if no byte is waiting right now."""
        self.socket.setblocking(False)
        try:
            return not self._packets and not self.socket.recv(1)
        except BlockingIOError:
            return True
        finally:
            self.socket.settimeout(PATIENCE)

    def at_end(self) -> bool:
        """True once the broker closes; False if it sends something more."""
        try:
            return not self._packets and not self.socket.recv(1)
        except ConnectionResetError:
            return True

    def abort(self) -> None:
        """End without DISCONNECT."""
        self.socket.close()
