"""What every cloud case works with: identities, requests, devices."""

import itertools
import secrets
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final, TypeVar

from cloudsdk.activation import Credentials, parse_response, request_body
from cloudsdk.cjson import Json, member
from cloudsdk.datapoints import DataPoint, Topics
from cloudsdk.mqtt.packets import SUBSCRIBE_FAILED, ReturnCode
from cloudsdk.ota.pack import pack
from sim.conformance.case import NotRunError, Suite, expect, expect_equal, violated
from sim.conformance.cloud.hook import AdminHook, LogHook, Product, ShellHook
from sim.conformance.cloud.http import Response, exchange, post_head
from sim.conformance.cloud.mqtt_device import ANSWER_TIMEOUT, MqttDevice
from sim.conformance.scope import Scope
from sim.conformance.stream import Address

SETTLE: Final = 0.5  # seconds in which what must not come would have come, unless told otherwise
_TIMESTAMP: Final = 1546300800  # of packages

SUITE: Final = Suite["CloudBench"]("cloud", "Cases for clouds")
_H = TypeVar("_H")


@dataclass(frozen=True, slots=True)
class Identity:
    product: Product
    sn: str

    @property
    def request(self) -> bytes:
        """The body of its activation."""
        return request_body(
            product_id=self.product.product_id, product_key=self.product.product_key, sn=self.sn
        )


@dataclass(slots=True)
class CloudTarget:
    """The cloud under test. `given` is a device that the cloud knows; `settle` is how many seconds are waited
    for what must not come, `patience` for what must."""

    activation: Address
    mqtt: Address
    given: Identity | None = None
    hook: AdminHook | None = None
    names: "itertools.count[int]" = field(default_factory=itertools.count)
    run: str = field(default_factory=lambda: secrets.token_hex(4))
    product: Product | None = None  # made by the hook, for all cases
    settle: float = SETTLE
    patience: float = ANSWER_TIMEOUT


@dataclass(frozen=True, slots=True)
class CloudBench:
    """One case at work on `target`."""

    scope: Scope
    target: CloudTarget

    @property
    def settle(self) -> float:
        return self.target.settle

    # Identities

    def new_name(self, prefix: str) -> str:
        """A name that the cloud does not know."""
        return f"{prefix}{self.target.run}{next(self.target.names)}"

    def identity(self) -> Identity:
        """A device that the cloud knows: a new one if there is a hook, else the given one."""
        if self.target.hook is None:
            if self.target.given is None:
                raise NotRunError("needs a device or an admin hook")
            return self.target.given
        if self.target.product is None:
            self.target.product = self.new_product()
        return self.add_device(self.target.product)

    def new_product(self) -> Product:
        return self.hook(AdminHook).make_product(self.new_name("conform-"))  # type: ignore[type-abstract]

    def add_device(self, product: Product) -> Identity:
        sn = self.new_name("CONF")
        self.hook(AdminHook).add_device(product.product_id, sn)  # type: ignore[type-abstract]
        return Identity(product, sn)

    def hook(self, kind: type[_H]) -> _H:
        if not isinstance(self.target.hook, kind):
            raise NotRunError("needs an admin hook that can do this")
        return self.target.hook

    @property
    def admin(self) -> AdminHook:
        return self.hook(AdminHook)  # type: ignore[type-abstract]

    @property
    def shell(self) -> ShellHook:
        return self.hook(ShellHook)  # type: ignore[type-abstract]

    @property
    def log(self) -> LogHook:
        return self.hook(LogHook)  # type: ignore[type-abstract]

    # Activation

    def post(self, body: bytes) -> Response:
        """An activation request with this body; head and body are sent apart, as the original does."""
        address = self.target.activation
        return exchange(self.scope, address, post_head(address, len(body)), body)

    def activate(self, identity: Identity) -> Credentials:
        response = self.post(identity.request)
        expect_equal(response.status, 200, "activation with HTTP status")
        return parse_response(response.body)

    # MQTT

    def dial(self, identity: Identity, credentials: Credentials) -> MqttDevice:
        """A TCP connection to the broker, nothing sent."""
        topics = Topics(identity.product.product_id, credentials.device_id)
        return MqttDevice(self.scope, self.target.mqtt, topics, credentials, self.target.patience)

    def connected(self, identity: Identity, credentials: Credentials | None = None) -> MqttDevice:
        """A device that is connected and has subscribed."""
        device = self.dial(identity, credentials or self.activate(identity))
        expect_equal(device.hello(), ReturnCode.ACCEPTED, "CONNACK with return code")
        code = device.subscribe()
        expect(code is not None and code != SUBSCRIBE_FAILED, "the own topics granted", code)
        return device

    def serving(self, identity: Identity, credentials: Credentials | None = None) -> MqttDevice:
        """A device that is online and has been asked for its version."""
        device = self.connected(identity, credentials)
        device.online()
        device.needs(DataPoint.VERSION_QUERY, "after 1000 true")
        return device

    def offered(
        self, identity: Identity, version: str = "0.0", credentials: Credentials | None = None
    ) -> "tuple[MqttDevice, Task]":
        """A device that comes online, reports `version` and gets its task."""
        device = self.serving(identity, credentials)
        device.report(version)
        return device, self.task_of(device)

    def task_of(self, device: MqttDevice) -> "Task":
        return Task.read(device.needs(DataPoint.OTA_TASK, "for an open task after 1011").value)

    def without_task(self, device: MqttDevice, when: str) -> None:
        """Raises `ViolationError` if a task comes."""
        device.drain(self.settle)
        expect_equal(device.count(DataPoint.OTA_TASK), 0, f"task messages {when}:")

    def new_task(
        self, identities: Sequence[Identity], packages: Iterable[bytes], version: str = "1.1"
    ) -> str:
        product_id = identities[0].product.product_id
        firmware = [self.admin.upload(product_id, package) for package in packages]
        return self.admin.create_task(product_id, version, firmware, [identity.sn for identity in identities])

    def fresh(self) -> Identity:
        """A device of a product of its own, so that firmware versions do not meet."""
        return self.add_device(self.new_product())


@dataclass(frozen=True, slots=True)
class TaskFirmware:
    type: str
    version: str
    url: str
    size: int


@dataclass(frozen=True, slots=True)
class Task:
    """A task message that a device can take. `read` raises `ViolationError` for others (3.1)."""

    version: str
    firmware: tuple[TaskFirmware, ...]

    @classmethod
    def read(cls, value: Json) -> "Task":
        version = _text(value, "version", 23)
        items = member(value, "firmwares")
        if not isinstance(items, list) or not items:
            violated("an array `firmwares` that is not empty", items)
        return cls(version, tuple(_firmware(item) for item in items))


def _firmware(item: Json) -> TaskFirmware:
    size, mode = member(item, "file_size"), member(item, "upgrade_mode")
    if not isinstance(size, int) or isinstance(size, bool) or size <= 0:
        violated("a `file_size` of the package in bytes", size)
    expect(mode in (1, 2, 3), "an `upgrade_mode` of 1, 2 or 3", mode)
    url = _text(item, "file_url", 255)
    expect(url.startswith(("http://", "https://")), "an http `file_url`", url)
    return TaskFirmware(_text(item, "type", 19), _text(item, "file_version", 23), url, size)


def _text(value: Json, name: str, longest: int) -> str:
    found = member(value, name)
    if not isinstance(found, str) or not 0 < len(found.encode()) <= longest:
        violated(f"`{name}` as a string of 1 to {longest} bytes", found)
    return found


def package(
    name: str = "app", version: str = "2.0.0", size: int = 5000, timestamp: int = _TIMESTAMP
) -> bytes:
    """A sound package of `size` raw bytes, unpadded and unencrypted."""
    raw = bytes((index * 7 + index // 251) & 0xFF for index in range(size))
    return pack(raw, name=name, version=version, timestamp=timestamp)
