"""How devices reach the cloud: the events a broker hands in, and the two brokers behind one protocol."""

import asyncio
import errno
import logging
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Protocol

from cloudsdk.datapoints import Topics
from sim.cloud.broker import EmbeddedBroker
from sim.cloud.broker.limits import BrokerLimits
from sim.cloud.errors import ListenError, PortInUseError
from sim.cloud.messages import Outgoing, publish_prefix, subscribe_prefix
from sim.cloud.service import Service
from sim.cloud.tls import ServerTls
from sim.cloud.worker import Worker

_log = logging.getLogger(__name__)


class DeviceBroker(Protocol):
    """A broker that devices connect to. `port` is valid after `start`."""

    @property
    def port(self) -> int: ...

    async def start(self, host: str, port: int) -> None:
        """Listen; port 0 takes any free one. Raises a `CloudError` when that is not possible."""
        ...

    async def stop(self) -> None: ...

    async def failed(self) -> None:
        """Return never, but raise a `CloudError` when the broker dies."""
        ...

    async def publish(self, message: Outgoing) -> None: ...

    def problem(self) -> str | None:
        """Why no device can be reached at present; None when all is well."""
        ...

    async def logins_changed(self) -> None:
        """Devices were activated: let them in from now on."""
        ...

    async def drop(self, device_ids: Sequence[str]) -> None:
        """Devices were deleted: end their connections, and let them in no more."""
        ...


class DeviceEvents:
    """What brokers report, carried to the service; answers go back out through `broker`."""

    def __init__(self, service: Service, worker: Worker) -> None:
        self._service = service
        self._worker = worker

    async def login(self, device_id: str, password: bytes) -> str | None:
        product_id = await self._worker.look(self._service.login, device_id, password)
        self._service.metrics.logins.labels("accepted" if product_id is not None else "refused").inc()
        return product_id

    async def connected(self, device_id: str, address: str) -> bool:
        """False for a device that was deleted while it logged in."""
        known = await self._worker.event(self._service.device_connected, device_id, address)
        self._service.metrics.connects.inc()
        return known

    async def disconnected(self, device_id: str) -> None:
        await self._worker.event(self._service.device_disconnected, device_id)

    async def message(
        self, broker: DeviceBroker, device_id: str, topic: str, payload: bytes, *, stale_will: bool
    ) -> None:
        answers = await self._worker.event(
            self._service.device_message, device_id, topic, payload, stale_will=stale_will
        )
        self._service.metrics.messages.labels("in").inc()
        for answer in answers:
            await broker.publish(answer)
            self._service.metrics.messages.labels("out").inc()


def drop_from(broker: DeviceBroker, loop: asyncio.AbstractEventLoop) -> Callable[[Sequence[str]], None]:
    """`Core.devices_gone` for a broker that runs in `loop`; to be called from any thread, does not wait."""

    def drop(device_ids: Sequence[str]) -> None:
        asyncio.run_coroutine_threadsafe(broker.drop(device_ids), loop).add_done_callback(_log_failure)

    return drop


def _log_failure(done: "Future[None]") -> None:
    if not done.cancelled() and (error := done.exception()) is not None:
        _log.error("deleted devices were not disconnected: %s", error)


def listen_error(host: str, port: int, option: str, cause: OSError) -> ListenError | PortInUseError:
    """The coded form of a failed bind; `option` names the command-line option to change."""
    if cause.errno == errno.EADDRINUSE:
        return PortInUseError(f"port {port} on {host} is already in use: choose another with {option}")
    return ListenError(f"cannot listen on {host} port {port}: {cause.strerror or cause}")


class EmbeddedLink:
    """The embedded broker, with the cloud as its policy (cloudsdk-protocol 9.2).

    Client id and user name are the DeviceID; a device uses nothing but its own topics.
    """

    def __init__(
        self, events: DeviceEvents, tls: ServerTls | None = None, limits: BrokerLimits | None = None
    ) -> None:
        self._events = events
        self._tls = tls
        self._broker = EmbeddedBroker(self, limits=limits)
        self._topics: dict[str, Topics] = {}

    @property
    def port(self) -> int:
        return self._broker.port

    async def start(self, host: str, port: int) -> None:
        context = self._tls.context() if self._tls is not None else None
        try:
            await self._broker.start(host, port, context)
        except OSError as exc:
            raise listen_error(host, port, "--mqtt-port", exc) from exc

    async def stop(self) -> None:
        await self._broker.stop()

    async def failed(self) -> None:
        await asyncio.Event().wait()

    async def publish(self, message: Outgoing) -> None:
        await self._broker.publish(message.topic, message.payload)

    def problem(self) -> str | None:
        """It lives and dies with the event loop."""
        return None

    async def logins_changed(self) -> None:
        """Nothing to do: every log-in asks the database."""

    async def drop(self, device_ids: Sequence[str]) -> None:
        for device_id in device_ids:
            self._broker.drop(device_id, "deleted")
            self._topics.pop(device_id, None)

    # BrokerPolicy

    async def authenticate(self, client_id: str, username: str | None, password: bytes | None) -> bool:
        if username != client_id or password is None:
            return False
        product_id = await self._events.login(client_id, password)
        if product_id is None:
            return False
        self._topics[client_id] = Topics(product_id, client_id)
        return True

    def may_publish(self, client_id: str, topic: str) -> bool:
        topics = self._topics.get(client_id)
        return topics is not None and topic.startswith(publish_prefix(topics))

    def may_subscribe(self, client_id: str, topic_filter: str) -> bool:
        topics = self._topics.get(client_id)
        return topics is not None and topic_filter.startswith(subscribe_prefix(topics))

    async def on_connect(self, client_id: str, address: str) -> None:
        if not await self._events.connected(client_id, address):
            await self.drop([client_id])

    async def on_message(self, client_id: str, topic: str, payload: bytes, *, is_will: bool) -> None:
        # 9.3: whoever is connected now is not the one whose will this is.
        stale = is_will and self._broker.is_connected(client_id)
        await self._events.message(self, client_id, topic, payload, stale_will=stale)

    async def on_disconnect(self, client_id: str) -> None:
        if not self._broker.is_connected(client_id):
            await self._events.disconnected(client_id)
