"""The cloud as one object: every operation is one transaction. Use it from one thread at a time.

The operations of `Admin` return the dictionaries of `shapes`. `client.AdminClient` offers them over HTTP.
"""

import logging
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, Protocol

from cloudsdk.activation import Credentials
from cloudsdk.errors import UsageError
from cloudsdk.files import open_regular
from cloudsdk.ota.task import UpgradeMode
from sim.cloud import campaigns, library, registry
from sim.cloud.blobs import Blobs, Upload
from sim.cloud.datadir import DataDir
from sim.cloud.errors import BadMessageError
from sim.cloud.firmware import FirmwareRequest
from sim.cloud.logs import LogBook
from sim.cloud.messages import Outgoing, publish_prefix
from sim.cloud.notices import News, Notice
from sim.cloud.shapes import (
    DEFAULT_DEVICE_LIMIT,
    OPERATOR,
    AccountInfo,
    DeviceInfo,
    FirmwareInfo,
    Outcome,
    ProductInfo,
    TaskInfo,
    TransferInfo,
)
from sim.cloud.store import Setting, Store, sqlite_url

DEFAULT_PUBLIC_URL: Final = "http://127.0.0.1:8090"  # until a server has run on the data directory
_PUBLIC_URL: Final = "public_url"
_READ_SIZE: Final = 256 * 1024  # bytes

_log = logging.getLogger(__name__)


class Admin(Protocol):
    """What an operator does. A product is named by its ProductID or its name, a device by its SN."""

    def create_account(self, name: str, password: str) -> AccountInfo: ...

    def create_product(
        self,
        name: str,
        *,
        account: str = OPERATOR,
        kind: str = "",
        model: str = "",
        connection: str = "",
        description: str = "",
        device_limit: int = DEFAULT_DEVICE_LIMIT,
    ) -> ProductInfo:
        """The result holds the ProductKey."""
        ...

    def list_products(self) -> list[ProductInfo]: ...

    def show_product(self, product: str, *, keys: bool = False) -> ProductInfo: ...

    def add_device(
        self, product: str, sn: str, *, name: str = "", mac: str = "", description: str = ""
    ) -> DeviceInfo: ...

    def list_devices(self, product: str | None = None) -> list[DeviceInfo]: ...

    def show_device(self, sn: str, *, product: str | None = None, keys: bool = False) -> DeviceInfo: ...

    def upload_firmware(self, path: Path, product: str) -> FirmwareInfo: ...

    def list_firmware(self, product: str | None = None) -> list[FirmwareInfo]: ...

    def create_task(
        self,
        product: str,
        version: str | None,
        firmware_ids: Sequence[int],
        sns: Sequence[str],
        mode: UpgradeMode = UpgradeMode.FORCED,
    ) -> TaskInfo:
        """Firmwares are installed in the order given; without a version the task gets the next free one."""
        ...

    def list_tasks(self, product: str | None = None) -> list[TaskInfo]: ...

    def show_task(self, task_id: int) -> TaskInfo: ...

    def cancel_task(self, task_id: int) -> TaskInfo: ...

    def transfers(self, sn: str, *, product: str | None = None) -> list[TransferInfo]: ...


class Service(Admin):
    """The operations on a data directory. `clock` gives seconds since 1970."""

    def __init__(self, data: DataDir, clock: Callable[[], float] = time.time) -> None:
        self._store = Store(sqlite_url(data.database))
        self.logs = LogBook(self._store)
        #: Hears of every `Notice`, in the thread that uses the service.
        self.tell: Callable[[Notice], object] = lambda _notice: None
        self._clock = clock
        self.blobs = Blobs(data)
        with self._store.transaction() as session:
            setting = session.get(Setting, _PUBLIC_URL)
            self._public_url = setting.value if setting else DEFAULT_PUBLIC_URL

    def close(self) -> None:
        self._store.close()

    def _now(self) -> int:
        return int(self._clock())

    # What a server does when it starts

    def begin(self, public_url: str) -> None:
        """Take over after a stop or a kill: nobody is online, nothing is being transferred."""
        with self._store.transaction() as session:
            session.merge(Setting(key=_PUBLIC_URL, value=public_url))
            registry.everyone_offline(session)
            library.abort_running_transfers(session, self._now())
        self._public_url = public_url

    # Admin

    def create_account(self, name: str, password: str) -> AccountInfo:
        with self._store.transaction() as session:
            return registry.create_account(session, self._now(), name, password)

    def create_product(
        self,
        name: str,
        *,
        account: str = OPERATOR,
        kind: str = "",
        model: str = "",
        connection: str = "",
        description: str = "",
        device_limit: int = DEFAULT_DEVICE_LIMIT,
    ) -> ProductInfo:
        with self._store.transaction() as session:
            return registry.create_product(
                session,
                self._now(),
                name,
                account=account,
                kind=kind,
                model=model,
                connection=connection,
                description=description,
                device_limit=device_limit,
            )

    def list_products(self) -> list[ProductInfo]:
        with self._store.transaction() as session:
            return registry.list_products(session)

    def show_product(self, product: str, *, keys: bool = False) -> ProductInfo:
        with self._store.transaction() as session:
            return registry.product_info(session, registry.find_product(session, product), keys=keys)

    def add_device(
        self, product: str, sn: str, *, name: str = "", mac: str = "", description: str = ""
    ) -> DeviceInfo:
        with self._store.transaction() as session:
            return registry.add_device(
                session, self._now(), product, sn, name=name, mac=mac, description=description
            )

    def list_devices(self, product: str | None = None) -> list[DeviceInfo]:
        with self._store.transaction() as session:
            return registry.list_devices(session, product)

    def show_device(self, sn: str, *, product: str | None = None, keys: bool = False) -> DeviceInfo:
        with self._store.transaction() as session:
            return registry.device_info(registry.find_device(session, sn, product), keys=keys)

    def upload_firmware(self, path: Path, product: str) -> FirmwareInfo:
        with self.blobs.receive() as upload:
            try:
                with open_regular(path) as file:
                    while piece := file.read(_READ_SIZE):
                        upload.write(piece)
            except OSError as exc:
                raise UsageError(f"cannot read {path}: {exc.strerror}") from exc
            upload.flush()
            return self.add_firmware(upload, library.inspect_package(upload.path), product)

    def add_firmware(self, upload: Upload, facts: library.PackageFacts, product: str) -> FirmwareInfo:
        """Keep an inspected upload. The blob is durable before the row names it."""
        self.show_product(product)  # an unknown product leaves no blob behind
        self.blobs.keep(upload)
        with self._store.transaction() as session:
            return library.add_firmware(session, self._now(), product, facts, upload.sha256)

    def list_firmware(self, product: str | None = None) -> list[FirmwareInfo]:
        with self._store.transaction() as session:
            return library.list_firmware(session, product)

    def create_task(
        self,
        product: str,
        version: str | None,
        firmware_ids: Sequence[int],
        sns: Sequence[str],
        mode: UpgradeMode = UpgradeMode.FORCED,
    ) -> TaskInfo:
        with self._store.transaction() as session:
            return campaigns.create_task(
                session,
                self._now(),
                self._public_url,
                product,
                version=version,
                firmware_ids=firmware_ids,
                sns=sns,
                mode=mode,
            )

    def list_tasks(self, product: str | None = None) -> list[TaskInfo]:
        with self._store.transaction() as session:
            return campaigns.list_tasks(session, product)

    def show_task(self, task_id: int) -> TaskInfo:
        with self._store.transaction() as session:
            return campaigns.task_info(campaigns.find_task(session, task_id))

    def cancel_task(self, task_id: int) -> TaskInfo:
        with self._store.transaction() as session:
            return campaigns.cancel_task(session, self._now(), task_id)

    def transfers(self, sn: str, *, product: str | None = None) -> list[TransferInfo]:
        with self._store.transaction() as session:
            return library.transfers_of(session, registry.find_device(session, sn, product))

    # Devices

    def activate(self, product_id: str, sn: str, signature: str) -> Credentials:
        """Activation by Sign (cloudsdk-protocol 1.2). Raises a `CloudError` for every refusal."""
        with self._store.transaction() as session:
            device = registry.activate(session, self._now(), product_id, sn, signature)
            return Credentials(device.device_id, device.device_key)

    def audit_refusal(self, action: str, subject: str, code: str) -> None:
        """Note what a stranger was refused; `subject` is text from outside."""
        with self._store.transaction() as session:
            registry.audit(session, self._now(), action, subject if subject.isprintable() else "?", code)

    def login(self, device_id: str, password: bytes) -> str | None:
        """ProductID of the device if it may connect with this MQTT password, else None."""
        with self._store.transaction() as session:
            return registry.login(session, device_id, password)

    def logins(self) -> list[tuple[str, str]]:
        """DeviceID and MQTT password of every activated device."""
        with self._store.transaction() as session:
            return registry.logins(session)

    def device_connected(self, device_id: str, address: str) -> None:
        """The device has logged in from `address`; it is online once it says so."""
        with self._store.transaction() as session:
            device = registry.device_by_id(session, device_id)
            if device is not None:
                device.last_login_ip = address

    def device_disconnected(self, device_id: str) -> None:
        """The device's only connection ended, with or without a will."""
        with self._store.transaction() as session:
            device = registry.device_by_id(session, device_id)
            if device is None or not device.online:
                return
            campaigns.went_offline(self._now(), device)
        self.tell(Notice(device_id, News.OFFLINE))

    def device_message(
        self, device_id: str, topic: str, payload: bytes, *, stale_will: bool = False
    ) -> list[Outgoing]:
        """Take in what a device published; returns the messages for it, in order.

        `stale_will`: the message is the will of a connection that a newer one has replaced. What is not a
        message, or not on the device's own topic, is dropped.
        """
        notices: list[Notice] = []
        with self._store.transaction() as session:
            device = registry.device_by_id(session, device_id)
            if device is None or not topic.startswith(publish_prefix(campaigns.topics_of(device))):
                _log.debug("a message on a topic of no known device is dropped")
                return []
            try:
                answers = campaigns.handle_message(
                    session,
                    self._now(),
                    self._public_url,
                    device,
                    payload,
                    stale_will=stale_will,
                    notices=notices,
                )
            except BadMessageError as exc:
                _log.debug("device %s: %s", device_id, exc)
                return []
        for notice in notices:
            self.tell(notice)
        return answers

    def queries_for_task(self, task_id: int) -> list[Outgoing]:
        with self._store.transaction() as session:
            return campaigns.queries_for_task(session, task_id)

    def open_download(self, token: str, request: FirmwareRequest) -> library.OpenDownload:
        with self._store.transaction() as session:
            return library.open_download(session, self._now(), token, request)

    def finish_transfer(self, transfer: int, bytes_sent: int, outcome: Outcome) -> None:
        with self._store.transaction() as session:
            library.finish_transfer(session, self._now(), transfer, bytes_sent, outcome)
