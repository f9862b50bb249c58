"""The cloud as one object: what the operator does, and what devices cause."""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from cloudsdk.activation import Credentials
from sim.cloud.blobs import Blobs
from sim.cloud.datadir import DataDir
from sim.cloud.errors import BadMessageError
from sim.cloud.firmware import FirmwareRequest
from sim.cloud.logs import LogBook
from sim.cloud.messages import Outgoing, publish_prefix
from sim.cloud.model import activation, binding, campaigns, devices, library, task_review, transfers
from sim.cloud.model.audit import audit
from sim.cloud.model.sending import topics_of
from sim.cloud.model.tables import Setting
from sim.cloud.model.work import OPERATOR_CALLER, Caller
from sim.cloud.notices import News, Notice
from sim.cloud.operations import Core, Operations
from sim.cloud.shapes import Outcome
from sim.cloud.store import Store, sqlite_url

DEFAULT_PUBLIC_URL: Final = "http://127.0.0.1:8090"  # until a server has run on the data directory
_PUBLIC_URL: Final = "public_url"

MAX_DUE: Final = 100  # tasks that are looked at in one go

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Due:
    """What there is to publish now; more of it, or when something is next due, in seconds since 1970."""

    messages: list[Outgoing]
    more: bool
    next_at: int | None


class Service(Operations):
    """A cloud on a data directory; its own operations are the operator's.

    `clock` gives seconds since 1970. Use it from one thread at a time.
    """

    def __init__(self, data: DataDir, clock: Callable[[], float] = time.time) -> None:
        store = Store(sqlite_url(data.database))
        self.logs = LogBook(store)
        #: Hears of every `Notice`, in the thread that uses the service.
        self.tell: Callable[[Notice], object] = lambda _notice: None
        with store.transaction() as session:
            setting = session.get(Setting, _PUBLIC_URL)
        public_url = setting.value if setting else DEFAULT_PUBLIC_URL
        super().__init__(Core(store, Blobs(data), clock, public_url), OPERATOR_CALLER)

    @property
    def blobs(self) -> Blobs:
        return self.core.blobs

    def acting_as(self, caller: Caller) -> Operations:
        """The operations for `caller`."""
        return Operations(self.core, caller)

    def close(self) -> None:
        self.core.packers.close()
        self.core.store.close()

    def begin(self, public_url: str) -> None:
        """Take over after a stop or a kill: nobody is online, nothing is being transferred."""
        with self._work() as work:
            work.session.merge(Setting(key=_PUBLIC_URL, value=public_url))
            devices.everyone_offline(work)
            transfers.abort_running_transfers(work)
            task_review.forget_asking(work)
            kept = library.kept_blobs(work)
        self.core.blobs.clean(kept)
        self.core.public_url = public_url

    # Devices

    def activate(self, product_id: str, sn: str, signature: str, address: str = "") -> Credentials:
        """Activation by Sign (cloudsdk-protocol 1.2). Raises a `CloudError` for every refusal."""
        with self._work() as work:
            device = activation.activate(work, product_id, sn, signature, address)
            return Credentials(device.device_id, device.device_key)

    def hand_out(self, sn: str, address: str) -> tuple[str, Credentials]:
        """ProductID and credentials of the device that is being bound by this SN (cloudsdk-protocol 8).

        Raises `UnknownDeviceError` or `DeviceLimitError`.
        """
        with self._work() as work:
            device = binding.hand_out(work, sn, address)
            return device.product.product_id, Credentials(device.device_id, device.device_key)

    def audit_refusal(self, action: str, subject: str, code: str) -> None:
        """Note what a stranger was refused; `subject` is text from outside."""
        with self._work() as work:
            audit(work, action, subject if subject.isprintable() else "?", code)

    def login(self, device_id: str, password: bytes) -> str | None:
        """ProductID of the device if it may connect with this MQTT password, else None."""
        with self._work() as work:
            return activation.login(work, device_id, password)

    def logins(self) -> list[tuple[str, str]]:
        """DeviceID and MQTT password of every activated device."""
        with self._work() as work:
            return activation.logins(work)

    def device_connected(self, device_id: str, address: str) -> bool:
        """The device has logged in from `address`; it is online once it says so. False if it is unknown."""
        with self._work() as work:
            device = devices.device_by_id(work, device_id)
            if device is not None:
                activation.connected(work, device, address)
            return device is not None

    def device_disconnected(self, device_id: str) -> None:
        """The device's only connection ended, with or without a will."""
        with self._work() as work:
            device = devices.device_by_id(work, device_id)
            if device is None or not device.online:
                return
            campaigns.went_offline(work, device)
        self.tell(Notice(device_id, News.OFFLINE))

    def device_message(
        self, device_id: str, topic: str, payload: bytes, *, stale_will: bool = False
    ) -> list[Outgoing]:
        """Take in what a device published; returns the messages for it, in order.

        `stale_will`: the message is the will of a connection that a newer one has replaced. What is not a
        message, or not on the device's own topic, is dropped.
        """
        notices: list[Notice] = []
        with self._work() as work:
            device = devices.device_by_id(work, device_id)
            if device is None or not topic.startswith(publish_prefix(topics_of(device))):
                _log.debug("a message on a topic of no known device is dropped")
                return []
            try:
                answers = campaigns.handle_message(
                    work, self.core.public_url, device, payload, stale_will=stale_will, notices=notices
                )
            except BadMessageError as exc:
                _log.debug("device %s: %s", device_id, exc)
                return []
        for notice in notices:
            self.tell(notice)
        return answers

    # Tasks

    def due(self) -> Due:
        """Do what is due by now: start, expire, fail, stop, advance and end tasks."""
        with self._work() as work:
            tasks = task_review.due_tasks(work, MAX_DUE)
            for task in tasks:
                task_review.review(work, task)
            messages, more = task_review.queries(work)
            return Due(messages, more or len(tasks) == MAX_DUE, task_review.next_due(work))

    # Firmware

    def open_download(self, token: str, request: FirmwareRequest) -> transfers.OpenDownload:
        with self._work() as work:
            download = transfers.open_download(work, token, request)
        self.core.live.begin(download.transfer, download.task)
        return download

    def finish_transfer(self, transfer: int, bytes_sent: int, outcome: Outcome) -> None:
        with self._work() as work:
            transfers.finish_transfer(work, transfer, bytes_sent, outcome)
        self.core.live.end(transfer)
