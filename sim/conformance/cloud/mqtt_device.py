"""A scripted device on MQTT: it does what a case says, and keeps what it gets (cloudsdk-protocol 2)."""

import time
from collections import deque
from collections.abc import Callable
from typing import Final, TypeVar

from cloudsdk.activation import Credentials
from cloudsdk.cjson import Json, JsonError
from cloudsdk.datapoints import DataPoint, Received, Topics, envelope, received
from cloudsdk.mqtt.packets import (
    ConnAck,
    Connect,
    Decoder,
    Disconnect,
    Packet,
    PingReq,
    PingResp,
    Publish,
    ReturnCode,
    SubAck,
    Subscribe,
    Will,
    encode,
)
from sim.conformance.case import violated
from sim.conformance.scope import Scope
from sim.conformance.stream import Address, Stream

KEEPALIVE: Final = 30  # seconds (2.1)
ANSWER_TIMEOUT: Final = 5.0  # seconds that the original waits for CONNACK, SUBACK and PINGRESP
MAX_PACKET: Final = 2 * 1024 * 1024  # bytes that are looked at; what a device takes is for a case to say
MAX_KEPT: Final = 1000  # messages
_P = TypeVar("_P", ConnAck, SubAck, PingResp)


class MqttDevice:
    """One connection with the identity of `credentials`; `patience` is the seconds an answer may take."""

    def __init__(
        self,
        scope: Scope,
        address: Address,
        topics: Topics,
        credentials: Credentials,
        patience: float = ANSWER_TIMEOUT,
    ) -> None:
        self.topics = topics
        self.messages: list[Publish] = []
        self.acknowledged: list[int] = []  # packet ids of PUBACKs
        self.ended = False  # the server closed the connection
        self._scope = scope
        self._patience = patience
        self._credentials = credentials
        self._stream = Stream(scope, address)
        self._decoder = Decoder(MAX_PACKET)
        self._others: deque[Packet] = deque(maxlen=MAX_KEPT)
        self._points: deque[Received] = deque(maxlen=MAX_KEPT)

    # Sending

    def send(self, *packets: Packet) -> None:
        """In one piece. A connection that the server has closed counts as ended."""
        self.send_raw(b"".join(encode(packet) for packet in packets))

    def send_raw(self, data: bytes) -> None:
        try:
            self._stream.send(data)
        except (BrokenPipeError, ConnectionResetError):
            self.ended = True

    def hello(
        self, *, client_id: str | None = None, password: bytes | None = None, user: str | None = None
    ) -> ReturnCode | None:
        """CONNECT as the original's, with the fields given instead. None if the server closes without an
        answer."""
        device_id = self._credentials.device_id
        will = Will(
            self.topics.publish(DataPoint.ONLINE), envelope(device_id, DataPoint.ONLINE, False), qos=1
        )
        self.send(
            Connect(
                device_id if client_id is None else client_id,
                keepalive=KEEPALIVE,
                will=will,
                username=device_id if user is None else user,
                password=self._credentials.password.encode() if password is None else password,
            )
        )
        answer = self._wait_for(ConnAck)
        return answer.return_code if answer is not None else None

    def subscribe(self, topic_filter: str | None = None) -> int | None:
        """The code of the SUBACK; None if the connection ends instead."""
        self.send(Subscribe(1, ((topic_filter or self.topics.subscription, 0),)))
        answer = self._wait_for(SubAck)
        return answer.codes[0] if answer is not None else None

    def say(
        self,
        dp: DataPoint,
        value: Json,
        *,
        packet_id: int = 1,
        retain: bool = False,
        topic: str | None = None,
    ) -> None:
        """One data point, QoS 1."""
        payload = envelope(self._credentials.device_id, dp, value)
        self.send(Publish(topic or self.topics.publish(dp), payload, 1, retain, False, packet_id))

    def online(self) -> None:
        self.say(DataPoint.ONLINE, True)

    def report(self, version: str) -> None:
        self.say(DataPoint.VERSION, {"version": version})

    def ping(self) -> bool:
        """True if the server answers; what it sent before has been received then."""
        self.send(PingReq())
        return self._wait_for(PingResp) is not None

    def leave(self) -> None:
        """DISCONNECT, then the end of the connection."""
        self.send(Disconnect())
        self._stream.close()
        self.ended = True

    def vanish(self) -> None:
        """The end of the connection without DISCONNECT."""
        self._stream.close()
        self.ended = True

    # Receiving

    def point(self, dp: DataPoint, seconds: float | None = None) -> Received | None:
        """The next data point `dp`, passing over others; None if it does not come within `seconds`."""
        return self.any_point((dp,), seconds)

    def any_point(self, dps: tuple[DataPoint, ...], seconds: float | None = None) -> Received | None:
        def take() -> Received | None:
            while self._points:
                found = self._points.popleft()
                if found.dp in dps:
                    return found
            return None

        return self._until(take, seconds)

    def needs(self, dp: DataPoint, when: str) -> Received:
        """The next data point `dp`. Raises `ViolationError` if it does not come."""
        found = self.point(dp)
        if found is None:
            seen = [message.payload.decode(errors="replace") for message in self.messages[-3:]]
            violated(
                f"data point {int(dp)} {when}",
                seen or ("the end of the connection" * self.ended) or "nothing",
            )
        return found

    def count(self, dp: DataPoint) -> int:
        """Data points `dp` received so far."""
        return sum(point.dp == dp for message in self.messages for point in _points(message))

    def drain(self, seconds: float) -> None:
        """Receive for so long."""
        end = time.monotonic() + seconds
        while not self.ended and (left := end - time.monotonic()) > 0:
            self._receive(left)

    def until_end(self, seconds: float | None = None) -> bool:
        """True if the server ends the connection within `seconds`."""
        end = time.monotonic() + self._scope.at_most(self._patience if seconds is None else seconds)
        while not self.ended and (left := end - time.monotonic()) > 0:
            self._receive(left)
        return self.ended

    def _wait_for(self, kind: type[_P]) -> _P | None:
        def take() -> _P | None:
            for packet in self._others:
                if isinstance(packet, kind):
                    self._others.remove(packet)
                    return packet
            return None

        return self._until(take, None)

    def _until(self, take: "Callable[[], _T | None]", seconds: float | None) -> "_T | None":
        end = time.monotonic() + self._scope.at_most(self._patience if seconds is None else seconds)
        while (found := take()) is None:
            left = end - time.monotonic()
            if self.ended or left <= 0:
                return None
            self._receive(left)
        return found

    def _receive(self, seconds: float) -> None:
        try:
            data = self._stream.receive(seconds)
        except OSError:
            data = b""
        if data == b"":
            self.ended = True
        for packet in self._decoder.feed(data or b""):
            if isinstance(packet, Publish):
                self._keep(packet)
            else:
                self._others.append(packet)
                if (packet_id := getattr(packet, "packet_id", None)) is not None:
                    self.acknowledged.append(packet_id)

    def _keep(self, message: Publish) -> None:
        if len(self.messages) >= MAX_KEPT:
            violated(f"at most {MAX_KEPT} messages", "more")
        self.messages.append(message)
        self._points.extend(_points(message))


_T = TypeVar("_T")


def _points(message: Publish) -> list[Received]:
    try:
        return list(received(message.payload))
    except JsonError:
        return []
