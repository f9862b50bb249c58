"""The cloud as one object: what the operator does, and what devices cause."""

import functools
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from sqlalchemy import URL, Connection

from cloudsdk.activation import Credentials
from sim.cloud.blobs import Blobs
from sim.cloud.database import database_url, is_sqlite, sqlite_url
from sim.cloud.datadir import DataDir, make_private
from sim.cloud.errors import BadMessageError, CloudError
from sim.cloud.firmware import FirmwareRequest
from sim.cloud.logs import LogBook
from sim.cloud.messages import Outgoing, publish_prefix
from sim.cloud.metrics import Metrics
from sim.cloud.model import activation, binding, campaigns, devices, history, library, task_review, transfers
from sim.cloud.model.audit import audit
from sim.cloud.model.keys import open_device_key
from sim.cloud.model.sending import topics_of
from sim.cloud.model.tables import Setting
from sim.cloud.model.vault import check_of, open_vault, seal_existing
from sim.cloud.model.work import OPERATOR_CALLER, Caller
from sim.cloud.notices import News, Notice
from sim.cloud.operations import Core, Operations
from sim.cloud.shapes import Outcome, TaskState
from sim.cloud.store import Store

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

    `clock` gives seconds since 1970. `database` is the URL of the database, by default the one that a server
    on this data directory used last, at first an SQLite file inside it. `vault_key` is the key file, if not
    the one in the data directory. Raises `VaultKeyError` when the key does not fit the database. Use it from
    one thread at a time.
    """

    def __init__(
        self,
        data: DataDir,
        clock: Callable[[], float] = time.time,
        *,
        database: str | None = None,
        vault_key: Path | None = None,
    ) -> None:
        self.metrics = Metrics()
        key_file = vault_key or data.vault_key

        def admit(connection: Connection) -> None:
            if (check := check_of(connection)) is not None:
                open_vault(key_file, check)

        store = Store(_database(data, database), self.metrics.transaction_seconds.observe, admit=admit)
        try:
            with store.transaction() as session:
                setting = session.get(Setting, _PUBLIC_URL)
                check = check_of(session.connection())
                vault = open_vault(key_file, check)
                if check is None:
                    seal_existing(session.connection(), vault)
        except CloudError:
            store.close()
            raise
        public_url = setting.value if setting else DEFAULT_PUBLIC_URL
        super().__init__(Core(store, Blobs(data), clock, public_url, vault), OPERATOR_CALLER)
        #: Hears of every `Notice`, in the thread that uses the service.
        self.tell: Callable[[Notice], object] = lambda _notice: None

    @property
    def logs(self) -> LogBook:
        return self.core.logs

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

    # Monitoring

    def count_rows(self) -> None:
        """Bring the metrics that the database knows up to date. Only reads."""
        with self._look() as work:
            devices_by_state, tasks_by_state = history.device_counts(work), history.task_counts(work)
        for state, count in devices_by_state.items():
            self.metrics.devices.labels(state).set(count)
        for state in TaskState:
            self.metrics.tasks.labels(state).set(tasks_by_state.get(state, 0))

    def sample_online(self, thinned: int) -> None:
        """Note how many devices are online; `thinned` is up to when the history has been thinned out."""
        with self._work() as work:
            history.sample(work)
            history.thin(work, thinned)

    # Devices

    def activate(self, product_id: str, sn: str, signature: str, address: str = "") -> Credentials:
        """Activation by Sign (cloudsdk-protocol 1.2). Raises a `CloudError` for every refusal."""
        with self._work() as work:
            device = activation.activate(work, product_id, sn, signature, address)
            return Credentials(device.device_id, open_device_key(work, device))

    def hand_out(self, sn: str, address: str) -> tuple[str, Credentials]:
        """ProductID and credentials of the device that is being bound by this SN (cloudsdk-protocol 8).

        Raises `UnknownDeviceError` or `DeviceLimitError`.
        """
        with self._work() as work:
            device = binding.hand_out(work, sn, address)
            return device.product.product_id, Credentials(device.device_id, open_device_key(work, device))

    def audit_refusal(self, action: str, subject: str, code: str) -> None:
        """Note what a stranger was refused; `subject` is text from outside."""
        with self._work() as work:
            audit(work, action, subject if subject.isprintable() else "?", code)

    def login(self, device_id: str, password: bytes) -> str | None:
        """ProductID of the device if it may connect with this MQTT password, else None. Only reads."""
        with self._look() as work:
            return activation.login(work, device_id, password)

    def logins(self) -> list[tuple[str, str]]:
        """DeviceID and MQTT password of every activated device."""
        with self._look() as work:
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
        self._tell([Notice(device_id, News.OFFLINE)])

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
        self._tell(notices)
        return answers

    def _tell(self, notices: Sequence[Notice]) -> None:
        for notice in notices:
            self.core.store.after_commit(functools.partial(self.tell, notice))

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


def _database(data: DataDir, database: str | None) -> URL:
    text = database or data.database_url()
    url = database_url(text) if text is not None else sqlite_url(data.database)
    if is_sqlite(url):
        make_private(Path(str(url.database)))
    return url
