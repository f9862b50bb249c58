"""A real Mosquitto as the cloud's broker: configuration, life and death of the process, the cloud's own
connection to it.

Device logins go into a password file that is rewritten and reloaded (SIGHUP) when devices are activated;
topic rules are patterns on the user name, which is the DeviceID. Mosquitto drops a connection that uses
packet id 0 (cloudsdk-protocol 2.3); the embedded broker does not.
"""

import asyncio
import base64
import contextlib
import hashlib
import logging
import os
import re
import secrets
import shutil
import signal
import socket
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion

from sim.cloud.datadir import write_private
from sim.cloud.errors import MosquittoFailedError, MosquittoMissingError
from sim.cloud.links import DeviceEvents, listen_error
from sim.cloud.messages import Outgoing
from sim.cloud.service import Service
from sim.cloud.tls import ServerTls
from sim.cloud.worker import Worker

START_TIMEOUT: Final = 10.0  # seconds until Mosquitto must listen
RELOAD_TIMEOUT: Final = 5.0  # seconds until it must have read the password file
STOP_TIMEOUT: Final = 5.0  # seconds between SIGTERM and SIGKILL
MAX_PACKET: Final = 65_536  # bytes
MAX_QUEUED: Final = 100_000  # messages it keeps for the cloud while a fleet comes online at once
OWN_HOST: Final = "127.0.0.1"  # of the cloud's own connection where devices need certificates
KEEPALIVE: Final = 30  # seconds, of the cloud's own connection
QUEUE: Final = 1000  # messages of devices that wait for the database; then Mosquitto keeps them

_ADMIN_DIRS: Final = "/usr/sbin:/usr/local/sbin:/sbin"  # where Debian installs it, not in every PATH
_HASH_ROUNDS: Final = 101  # Mosquitto's own number; the passwords are digests of 128-bit random keys
_DEVICE_LEVEL: Final = 3  # in "", cloud, ProductID, DeviceID, rest

_CONNECTED: Final = re.compile(r"New client connected from (\S+):\d+ as (\S+) \(")
_GONE: Final = re.compile(r"Client (\S+) (?:disconnected|closed its connection|has exceeded timeout)")
_ERROR: Final = re.compile(r"(?:\d+: )?(Error.*)")  # with a time stamp until the configuration is read
_RELOADING: Final = "Reloading config."
_RUNNING: Final = re.compile(r"mosquitto version \S+ running")

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Published:
    topic: str
    payload: bytes


@dataclass(frozen=True, slots=True)
class _Came:
    device_id: str
    address: str


@dataclass(frozen=True, slots=True)
class _Went:
    device_id: str


def find_mosquitto() -> str:
    """Path of the program. Raises `MosquittoMissingError`."""
    found = shutil.which("mosquitto") or shutil.which("mosquitto", path=_ADMIN_DIRS)
    if found is None:
        raise MosquittoMissingError(
            "the program mosquitto is not installed: apt-get install mosquitto, or use --broker embedded"
        )
    return found


def password_line(user: str, password: str, salt: bytes) -> str:
    """One line of a Mosquitto 2 password file: PBKDF2-HMAC-SHA512, written as `user:$7$rounds$salt$hash`."""
    digest = hashlib.pbkdf2_hmac("sha512", password.encode(), salt, _HASH_ROUNDS)
    encoded = (base64.b64encode(part).decode() for part in (salt, digest))
    return f"{user}:$7${_HASH_ROUNDS}${'$'.join(encoded)}\n"


def access_rules(cloud_user: str) -> str:
    """The ACL file: the cloud everything of the protocol, each device its own topics (9.2).

    The ProductID is not checked here but where messages come in; a DeviceID is unique over all products.
    """
    return (
        f"user {cloud_user}\ntopic read /cloud/#\ntopic write /device/#\n"
        "pattern write /cloud/+/%u/#\npattern read /device/+/%u/#\n"
    )


def configuration(
    host: str, port: int, directory: Path, tls: ServerTls | None = None, own_port: int | None = None
) -> str:
    """The configuration file. `directory` holds the password and ACL files.

    With `tls`, the cloud itself connects to `own_port` of this machine, which needs no certificates.
    """
    lines = [
        f"listener {port} {host}",
        *(_tls_lines(tls) if tls is not None else ()),
        *((f"listener {own_port} {OWN_HOST}",) if own_port is not None else ()),
        "use_username_as_clientid true",
        "allow_anonymous false",
        "allow_zero_length_clientid false",
        f"password_file {directory / 'passwords'}",
        f"acl_file {directory / 'acl'}",
        "persistence false",
        f"max_packet_size {MAX_PACKET}",
        f"max_queued_messages {MAX_QUEUED}",
        "sys_interval 0",
        "log_dest stderr",
        "log_type error",
        "log_type warning",
        "log_type notice",
        "log_type information",  # says when it is ready
        "log_timestamp false",
        "connection_messages true",
    ]
    if os.geteuid() == 0:
        # It would become another user, who cannot read the private files, and lose its death signal.
        lines.append("user root")
    return "\n".join(lines) + "\n"


def _tls_lines(tls: ServerTls) -> list[str]:
    lines = [
        f"certfile {tls.certificate.absolute()}",
        f"keyfile {tls.key.absolute()}",
        "tls_version tlsv1.2",  # the oldest
    ]
    if tls.client_ca is not None:
        lines += [f"cafile {tls.client_ca.absolute()}", "require_certificate true"]
    return lines


class MosquittoLink:
    """A `DeviceBroker` that is a Mosquitto process with its files in `directory`."""

    def __init__(
        self,
        directory: Path,
        events: DeviceEvents,
        service: Service,
        worker: Worker,
        tls: ServerTls | None = None,
    ) -> None:
        self._directory = directory
        self._events = events
        self._service = service
        self._worker = worker
        self._user = f"cloud-{secrets.token_hex(8)}"
        self._password = secrets.token_hex(16)
        self._lines: dict[str, str] = {}  # password lines by DeviceID
        self._tls = tls
        self._port = 0
        self._process: asyncio.subprocess.Process | None = None
        self._client: paho.Client | None = None
        self._happened: asyncio.Queue[_Published | _Came | _Went] = asyncio.Queue(QUEUE)
        self._log_reader: asyncio.Task[None] | None = None
        self._handler: asyncio.Task[None] | None = None
        self._running = asyncio.Event()
        self._reloaded = asyncio.Event()
        self._reloading = asyncio.Lock()
        self._first_error = ""
        self._connected: set[str] = set()

    @property
    def port(self) -> int:
        return self._port

    async def start(self, host: str, port: int) -> None:
        program = find_mosquitto()
        self._port = _free_port(host, port)
        own_port = None
        if self._tls is not None:
            self._tls.context()  # says what is wrong with a file more exactly than Mosquitto
            own_port = _free_port(OWN_HOST, 0)
        await self._write_logins()
        write_private(self._directory / "acl", access_rules(self._user).encode())
        config = self._directory / "mosquitto.conf"
        text = configuration(host, self._port, self._directory, self._tls, own_port)
        write_private(config, text.encode())
        guard = (sys.executable, "-I", str(Path(__file__).with_name("orphan.py")), str(os.getpid()))
        self._process = await asyncio.create_subprocess_exec(
            *guard, program, "-c", str(config), stderr=asyncio.subprocess.PIPE, start_new_session=True
        )
        try:
            self._log_reader = asyncio.create_task(self._read_log())
            self._handler = asyncio.create_task(self._handle_events())
            await self._until(self._running, START_TIMEOUT, "does not start")
            await self._connect(*((host, self._port) if own_port is None else (OWN_HOST, own_port)))
        except BaseException:
            await self.stop()
            raise

    async def stop(self) -> None:
        if self._client is not None:
            client, self._client = self._client, None
            client.disconnect()
            await asyncio.to_thread(client.loop_stop)
        process = self._process
        if process is not None and process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.terminate()
            try:
                await asyncio.wait_for(process.wait(), STOP_TIMEOUT)
            except TimeoutError:
                process.kill()
                await process.wait()
        tasks = [task for task in (self._log_reader, self._handler) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def failed(self) -> None:
        if self._process is None:
            raise MosquittoFailedError("mosquitto was not started")
        await self._process.wait()
        raise await self._failure("died")

    async def publish(self, message: Outgoing) -> None:
        if self._client is not None:
            self._client.publish(message.topic, message.payload, qos=0)

    async def logins_changed(self) -> None:
        async with self._reloading:
            if await self._write_logins() and self._process is not None:
                self._reloaded.clear()
                # Mosquitto handles nothing else while it reloads: after this line the new logins hold.
                self._process.send_signal(signal.SIGHUP)
                await self._until(self._reloaded, RELOAD_TIMEOUT, "does not reload its password file")

    async def drop(self, device_ids: Sequence[str]) -> None:
        """Mosquitto itself ends the connections of those who are not in its password file any more."""
        await self.logins_changed()

    async def _write_logins(self) -> bool:
        """Write the password file if it has to change. Hashes are made once per device."""
        logins = await self._worker.run(self._service.logins)
        known = self._lines
        self._lines = {
            user: known.get(user) or password_line(user, password, secrets.token_bytes(12))
            for user, password in [(self._user, self._password), *logins]
        }
        if known == self._lines:
            return False
        content = "".join(self._lines.values()).encode()
        await asyncio.to_thread(write_private, self._directory / "passwords", content)
        return True

    async def _until(self, event: asyncio.Event, patience: float, problem: str) -> None:
        """Wait for `event`. Raises `MosquittoFailedError` when the process ends first or takes too long."""
        if self._process is None:
            raise MosquittoFailedError("mosquitto was not started")
        waits = [asyncio.create_task(event.wait()), asyncio.create_task(self._process.wait())]
        try:
            await asyncio.wait(waits, timeout=patience, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()
        if not event.is_set():
            raise await self._failure(problem)

    async def _failure(self, problem: str) -> MosquittoFailedError:
        if (
            self._process is not None
            and self._process.returncode is not None
            and self._log_reader is not None
        ):
            await self._log_reader  # its last words may still be on the way
        return MosquittoFailedError(f"mosquitto {problem}: {self._first_error or 'it gives no reason'}")

    # What Mosquitto tells about itself

    async def _read_log(self) -> None:
        if self._process is None or self._process.stderr is None:
            return
        async for raw in self._process.stderr:
            line = raw.decode(errors="replace").strip()
            _log.debug("mosquitto: %s", line)
            if _RUNNING.match(line):
                self._running.set()
            elif line == _RELOADING:
                self._reloaded.set()
            elif error := _ERROR.match(line):
                self._first_error = self._first_error or error[1]
            else:
                await self._track(line)

    async def _track(self, line: str) -> None:
        """Who comes and goes. A takeover logs no departure, so the set follows the newest connection."""
        if match := _CONNECTED.match(line):
            address, device_id = match.groups()
            if device_id in self._lines and device_id != self._user:
                self._connected.add(device_id)
                await self._happened.put(_Came(device_id, address))
        elif match := _GONE.match(line):
            device_id = match[1]
            if device_id in self._connected:
                self._connected.discard(device_id)
                await self._happened.put(_Went(device_id))

    # The cloud's own connection

    async def _connect(self, host: str, port: int) -> None:
        loop = asyncio.get_running_loop()
        ready = asyncio.Event()

        def on_connect(client: paho.Client, _data: Any, _flags: Any, reason: Any, _properties: Any) -> None:
            if not reason.is_failure:
                client.subscribe("/cloud/#", qos=1)

        def on_subscribe(
            _client: paho.Client, _data: Any, _mid: int, _reasons: Any, _properties: Any
        ) -> None:
            loop.call_soon_threadsafe(ready.set)

        def on_message(_client: paho.Client, _data: Any, message: paho.MQTTMessage) -> None:
            # 2.3: what is delivered as retained is of some earlier time.
            if not message.retain:
                queued = asyncio.run_coroutine_threadsafe(
                    self._happened.put(_Published(message.topic, bytes(message.payload))), loop
                )
                queued.result()  # a full queue holds up the network thread, and thereby Mosquitto

        client = paho.Client(CallbackAPIVersion.VERSION2, client_id=self._user)
        client.username_pw_set(self._user, self._password)
        client.on_connect = on_connect
        client.on_subscribe = on_subscribe
        client.on_message = on_message
        self._client = client
        try:
            await asyncio.to_thread(client.connect, host, port, KEEPALIVE)
        except OSError as exc:
            raise MosquittoFailedError(f"mosquitto cannot be reached: {exc}") from exc
        client.loop_start()
        await self._until(ready, START_TIMEOUT, "does not accept the cloud's own connection")

    async def _handle_events(self) -> None:
        while True:
            event = await self._happened.get()
            try:
                await self._handle(event)
            except Exception:
                _log.exception("an event of a device was not handled")

    async def _handle(self, event: _Published | _Came | _Went) -> None:
        match event:
            case _Came(device_id, address):
                await self._events.connected(device_id, address)
            case _Went(device_id):
                await self._events.disconnected(device_id)
            case _Published(topic, payload):
                # /cloud/<ProductID>/<DeviceID>/...; Mosquitto has checked the DeviceID, the service does
                # the rest. It publishes the will of a replaced connection before it reads from the new
                # one, so messages are in order and no will is stale.
                levels = topic.split("/")
                if len(levels) > _DEVICE_LEVEL:
                    await self._events.message(self, levels[_DEVICE_LEVEL], topic, payload, stale_will=False)


def _free_port(host: str, port: int) -> int:
    """`port` if it can be bound, a free one for 0. Raises as `listen_error`."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as exc:
            raise listen_error(host, port, "--mqtt-port", exc) from exc
        bound: int = probe.getsockname()[1]
        return bound
