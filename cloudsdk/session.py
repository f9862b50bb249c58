"""The CloudSDK core: activation, MQTT, data points and OTA as one state machine without IO.

`Session.handle(event)` takes what happened and returns what is to be done, in order. Flash and ENV are
synchronous ports; sockets, threads and the clock live in a runtime such as `cloudsdk.client`. Delays are
asked for with `StartTimer`, so the core needs no clock of its own.
"""

import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final
from urllib.parse import urlsplit

from cloudsdk import activation, console, env
from cloudsdk import events as ev
from cloudsdk.activation import ActivationError, Credentials
from cloudsdk.backoff import Backoff
from cloudsdk.cjson import Json, JsonError
from cloudsdk.datapoints import DataPoint, Received, Topics, envelope, is_on, received
from cloudsdk.env import Env, EnvError
from cloudsdk.fal import PartitionTable
from cloudsdk.limits import Limits
from cloudsdk.ota.attempts import Attempts, fingerprint
from cloudsdk.ota.download import HTTP_OK, USER_AGENT, Download, DownloadContext, Outcome
from cloudsdk.ota.rt_ota import RtOta
from cloudsdk.ota.task import UPGRADE_MODES, OtaTask, TaskError, TaskFirmware, UpgradeMode, parse_task
from cloudsdk.ota.version import is_older
from cloudsdk.port import OtaStatus, Port
from cloudsdk.profile import MANUAL, Profile
from cloudsdk.shell.console_device import SHELL_PAUSE, Console, ConsoleShell
from cloudsdk.shell.remote import KEY_SIZE, Surroundings, parse_server
from cloudsdk.shell.web_log import WebLog
from cloudsdk.shell.web_shell import KEY_RETRY, WebShell
from cloudsdk.upgrade_policy import SHORTEST_WAIT, UpgradeOffer

SDK_VERSION: Final = "2.0.0"
INITIAL_VERSION: Final = "0.0"
NO_FIRMWARE: Final = "0.0"

_ACTIVATION: Final = "activation"
_ACTIVATION_RETRY: Final = "activation-retry"
_ACTIVATION_DEADLINE: Final = "activation-deadline"
_DOWNLOAD_RETRY: Final = "download-retry"
_DOWNLOAD_STALL: Final = "download-stall"
_UPGRADE_ASK: Final = "upgrade-ask"
_MQTT_RECONNECT: Final = "mqtt-reconnect"
_MQTT_ANSWER: Final = "mqtt-answer"
_MQTT_SILENCE: Final = "mqtt-silence"

OTA_LIBRARY_VERSION: Final = "0.1.3"
_DEFAULT_LIMITS: Final = Limits()
_LAST: Final = (ev.Reset, ev.GiveUp, ev.Crash)  # effects that nothing follows
_ANSWERED: Final = ev.StopTimer(_MQTT_ANSWER)


@dataclass(frozen=True, slots=True)
class Storage:
    """The board's side of the SDK: its flash partitions and its ENV."""

    partitions: PartitionTable
    env: Env


def application_ota(partitions: PartitionTable, write: Callable[[str], None]) -> RtOta:
    """The rt_ota library as the application links it."""
    return RtOta(partitions, write, version=OTA_LIBRARY_VERSION)


class Session:
    """One device's CloudSDK from `rt_cld_sdk_init` to the next reset."""

    __slots__ = (
        "__weakref__",
        "_activating",
        "_activation_body",
        "_activation_pause",
        "_asked",
        "_asking",
        "_best_position",
        "_console",
        "_credentials",
        "_download",
        "_download_number",
        "_download_opened",
        "_download_pause",
        "_effects",
        "_env",
        "_last_answer",
        "_limits",
        "_made_web_log",
        "_made_web_shell",
        "_make_download",
        "_mqtt_pause",
        "_ota",
        "_over",
        "_partitions",
        "_password",
        "_port",
        "_profile",
        "_published",
        "_stall_position",
        "_started",
        "_task",
        "_topics",
        "_tried",
        "_unchanged",
        "_user",
        "_version",
        "activated",
        "activation_failures",
        "last_activation_error",
        "online",
    )

    def __init__(
        self,
        port: Port,
        storage: Storage,
        *,
        profile: Profile = MANUAL,
        limits: Limits | None = None,
        make_ota: Callable[[PartitionTable, Callable[[str], None]], RtOta] = application_ota,
        shell: ConsoleShell | None = None,
        make_download: Callable[[DownloadContext, TaskFirmware], Download] = Download,
    ) -> None:
        self.activated = False
        self.activation_failures = 0
        self.last_activation_error = ""
        self.online = False
        self._port = port
        self._partitions = storage.partitions
        self._env = storage.env
        self._profile = profile
        self._limits = limits = limits or _DEFAULT_LIMITS
        self._effects: list[ev.Effect] | None = None  # while an event is handled
        self._over = False  # reset, crashed or given up: nothing is done any more
        self._console = Console(self._emit, shell)
        self._made_web_shell: WebShell | None = None  # most devices never need one
        self._made_web_log: WebLog | None = None
        self._ota = make_ota(storage.partitions, self._text)
        self._make_download = make_download
        self._published = 0
        self._started = False
        self._activating = False
        self._activation_body: bytearray | None = None  # while it comes
        self._credentials: Credentials | None = None
        self._user = ""
        self._password = ""
        self._version = ""
        self._topics = Topics("", "")
        self._task: OtaTask | None = None
        self._download: Download | None = None
        self._download_number = 0
        self._download_opened = False
        self._stall_position = 0
        self._best_position = 0
        self._tried: Attempts | None = None
        self._last_answer: OtaTask | None = None  # the task that came last, taken or refused
        self._unchanged = 0  # times in a row that it changed nothing
        constant = profile.retries_forever
        self._activation_pause = Backoff(limits.activation_retry, limits.retry_longest, constant=constant)
        self._mqtt_pause = Backoff(limits.mqtt_reconnect, limits.mqtt_reconnect_longest, constant=constant)
        self._download_pause = Backoff(limits.download_retry, limits.retry_longest, constant=constant)
        self._asking = False  # the timer of an offer that waits runs
        self._asked = ""  # what was last printed about an offer that waits

    # --- the one entry point ------------------------------------------------------------------------

    def handle(self, event: ev.Event) -> list[ev.Effect]:
        """What is to be done because of `event`, in order."""
        if self._over:
            return []
        self._effects = []
        self._published = 0
        match event:
            case ev.MqttMessage(_, payload):
                self._heard()
                self._on_message(payload)
            case ev.Started():
                self._start()
            case ev.TimerFired(name):
                _TIMERS[name](self)
            case ev.HttpOpened() | ev.HttpData() | ev.HttpEnded() | ev.HttpFailed():
                if event.request == _ACTIVATION:
                    if self._activating:
                        self._on_activation(event)
                elif event.request == self._download_request and self._download is not None:
                    self._on_download(self._download, event)
            case ev.MqttConnected():
                self._emit(ev.MqttSubscribe(self._topics.subscription))
                self._emit(ev.StartTimer(_MQTT_ANSWER, self._limits.mqtt_answer))
            case ev.MqttSubscribed():
                self._on_subscribed()
            case ev.MqttPong():
                self._heard()
            case ev.MqttRefused(code):
                self._text(console.error("MQTT", f"MQTT connect error({code}): connection refused"))
                self._no_answer()
            case ev.MqttUnreachable():
                self._text(console.error("MQTT", "Net connect error(-1)"))
                self._lose_mqtt()
            case ev.MqttLost():
                self._lose_mqtt()
            case ev.TcpOpened() | ev.TcpFailed() | ev.TcpData() | ev.TcpClosed():
                for remote in (self._made_web_shell, self._made_web_log):
                    if remote is not None:
                        remote.handle(event)
            case ev.ConsoleInput(data):
                self._console.typed(data)
            case ev.ConsoleOutput(text):
                self._text(text)
        effects, self._effects = self._effects, None
        return effects

    @property
    def unfinished(self) -> list[ev.Effect]:
        """What the last `handle` had asked for when an exception such as a loss of power cut it short."""
        return self._effects or []

    def write(self, text: str | bytes) -> None:
        """Print from inside a port or shell while an event is handled; else, hand in `ConsoleOutput`."""
        self._console.print(text)

    def start(self) -> None:
        """Start from inside a shell while an event is handled; else, hand in `Started`. Once is enough."""
        self._start()

    @property
    def threads(self) -> tuple[str, ...]:
        """Names of the SDK's threads that exist now, the newest last (7)."""
        names = ["MQTT"] if self.activated else ["cld_network"] if self._started else []
        if self._download is not None:
            names.append("ota_download")
        for remote in (self._made_web_shell, self._made_web_log):
            if remote is not None:
                names += remote.threads
        return tuple(names)

    @property
    def download(self) -> Download | None:
        """The download that runs or waits for its next attempt."""
        return self._download

    @property
    def version(self) -> str:
        """The version of the last task that is complete, as it is reported (1.4)."""
        return self._version

    def _text(self, text: str) -> None:
        self._console.print(text)

    def _emit(self, effect: ev.Effect) -> None:
        if self._over:
            return
        if self._effects is None:
            self._effects = []
        self._effects.append(effect)
        self._over = isinstance(effect, _LAST)

    # --- start and activation (1) -------------------------------------------------------------------

    def _start(self) -> None:
        if self._started:
            return
        self._started = True
        self._ota.init()
        initialised = console.info("cld", f"RT-Thread CloudSDK package(V{SDK_VERSION}) initialize success.")
        if self._profile.init_caller_runs_first:
            self._text(initialised)
            self._network_thread()
        else:
            self._network_thread()
            self._text(initialised)

    def _network_thread(self) -> None:
        """One pass of the original's thread `cld_network`."""
        store = self._env
        stored_sn, activated = store.get(env.SN), store.get(env.ACTIVATED)
        if stored_sn is None or activated is None or not self._same_sn(stored_sn):
            self._save_env({env.ACTIVATED: "false"})
            self._text(console.info("cld", "The device has not been activated, now will activate!"))
            self._activate()
        elif not self._is_true(activated):
            self._activate()
        else:
            self._text(console.info("cld", "The device has been activated successfully!"))
            self._start_mqtt()

    def _same_sn(self, stored: str) -> bool:
        return (
            self._port.sn.startswith(stored)
            if self._profile.compares_stored_length
            else self._port.sn == stored
        )

    def _is_true(self, stored: str) -> bool:
        return "true".startswith(stored) if self._profile.compares_stored_length else stored == "true"

    def _activate(self) -> None:
        port = self._port
        body = activation.request_body(product_id=port.product_id, product_key=port.product_key, sn=port.sn)
        headers = (
            ("Content-Length", str(len(body))),
            ("Content-Type", "application/x-www-form-urlencoded"),
            ("Host", urlsplit(port.activation_url).hostname or ""),
            ("User-Agent", USER_AGENT),
            ("Accept", "*/*"),
        )
        self._activating = True
        self._activation_body = bytearray()
        self._emit(ev.HttpRequest(_ACTIVATION, "POST", port.activation_url, headers, body))
        if self._profile.has_deadlines:
            self._emit(ev.StartTimer(_ACTIVATION_DEADLINE, self._limits.activation_deadline))

    def _on_activation(self, event: ev.HttpOpened | ev.HttpData | ev.HttpEnded | ev.HttpFailed) -> None:
        match event:
            case ev.HttpOpened(_, status):
                if status != HTTP_OK:
                    self._end_activation()
                    self._text(console.error("web", f"post failed, handle response({status}) error."))
                    self._activation_failed(f"HTTP status {status}", "HTTP response error !")
            case ev.HttpData(_, data):
                body = self._activation_body or bytearray()
                room = self._limits.activation_response - len(body)
                self._activation_body = body + data[:room]
                if len(data) >= room:
                    self._end_activation()
                    self._activated()
            case ev.HttpFailed(_, reason):
                self._end_activation()
                self._activation_failed(reason, "HTTP response error !")
            case ev.HttpEnded():
                self._end_activation()
                self._activated()

    def _end_activation(self) -> None:
        """Whatever the answer still brings is not wanted."""
        self._activating = False
        self._emit(ev.HttpCancel(_ACTIVATION))
        self._emit(ev.StopTimer(_ACTIVATION_DEADLINE))

    def _activation_timeout(self) -> None:
        if self._activating:
            self._end_activation()
            self._activation_failed("timeout", "HTTP response error !")

    def _activation_failed(self, reason: str, line: str) -> None:
        self.activation_failures += 1
        self.last_activation_error = reason
        self._text(console.error("cld", f"Device activate failed! {line}"))
        if self.activation_failures == self._limits.activation_attempts:
            self._emit(ev.GiveUp())
        else:
            self._emit(ev.StartTimer(_ACTIVATION_RETRY, self._activation_pause.fail()))

    def _activated(self) -> None:
        try:
            credentials = activation.parse_response(bytes(self._activation_body or b""))
        except ActivationError as exc:
            self._activation_failed(str(exc), "cJSON parse error return NULL !")
            return
        self._activation_body = None
        stored = self._save_env(
            {
                env.USER: credentials.device_id,
                env.PASSWORD: credentials.password,
                env.DEVICE_ID: credentials.device_id,
                env.DEVICE_KEY: credentials.device_key,
                env.SN: self._port.sn,
                env.DEVICE_VERSION: INITIAL_VERSION,
            }
        )
        if not stored:
            self._text(
                console.error("cld", "Set device information to easyflash failed! save environment error!")
            )
            self._activation_failed("ENV could not be saved", "Set device information to easyflash!")
            return
        self._text(console.info("cld", "The device has been activated successfully!"))
        if not self._save_env({env.ACTIVATED: "true"}):
            self._text(
                console.error(
                    "cld",
                    "Check device information failed! Set and save  devinfo_activated environment error!",
                )
            )
        self._start_mqtt()

    def _save_env(self, values: dict[str, str]) -> bool:
        store = self._env
        if not values:
            return True
        try:
            for key, value in values.items():
                store.set(key, value)
            store.save()
        except EnvError:
            return False
        return True

    # --- MQTT (2) -----------------------------------------------------------------------------------

    def _start_mqtt(self) -> None:
        self.activated = True
        self._password = self._stored(env.PASSWORD)
        self._credentials = Credentials(self._stored(env.DEVICE_ID), self._stored(env.DEVICE_KEY))
        user = self._stored(env.USER)
        self._user = self._device_id if user == self._device_id else user  # one copy
        self._topics = Topics(self._port.product_id, self._device_id)
        self._version = sys.intern(self._stored_version())  # the same for a whole fleet
        self._load_attempts()
        self._text(console.info("cld.mqtt", "CloudSDK MQTT server is startup!"))
        self._connect_mqtt()

    def _stored_version(self) -> str:
        """The version that is reported: of the task last downloaded, else the device's (1.4)."""
        store = self._env
        complete = all(
            store.get(key) is not None
            for key in (env.OTA_NAME, env.OTA_FIRMWARE_VERSION, env.OTA_TASK_VERSION)
        )
        if not complete:
            return self._stored(env.DEVICE_VERSION)
        name, version = self._stored(env.OTA_NAME), self._stored(env.OTA_FIRMWARE_VERSION)
        if self._profile.reports_uninstalled or self._ota.firmware_version(name) == version:
            return self._stored(env.OTA_TASK_VERSION)
        self._text(console.error("cld.ota", f"Firmware upgrade failed! {name} {version} is not installed !"))
        return self._stored(env.DEVICE_VERSION)

    def _load_attempts(self) -> None:
        """What was tried counts as long as it is not installed."""
        if self._profile.installs_forever:
            return
        tried = Attempts.parse(self._env.get(env.TRIED))
        if tried is not None and self._ota.firmware_version(tried.partition) != tried.version:
            self._tried = tried

    def _stored(self, key: str) -> str:
        """A variable to be sent; empty, as the original goes on, when it is missing or was spoiled (1.4)."""
        value = self._env.get(key)
        return value if value is not None and value.isprintable() else ""

    @property
    def _device_id(self) -> str:
        return self._credentials.device_id if self._credentials is not None else ""

    def _connect_mqtt(self) -> None:
        self._emit(
            ev.MqttConnect(
                address=self._port.mqtt_address,
                client_id=self._device_id,
                user=self._user,
                password=self._password,
                will_topic=self._topics.publish(DataPoint.ONLINE),
                will_payload=envelope(self._device_id, DataPoint.ONLINE, False),
                keepalive=self._limits.mqtt_keepalive,
            )
        )
        self._emit(ev.StartTimer(_MQTT_ANSWER, self._limits.mqtt_answer))

    def _on_subscribed(self) -> None:
        self.online = True
        self._mqtt_pause.succeed()
        self._text(console.info("MQTT", "MQTT server connect success"))
        self._text(console.info("MQTT", f"Subscribe #0 {self._topics.subscription} OK!"))
        self._publish(DataPoint.ONLINE, True)
        self._report_version()
        self._heard()

    def _heard(self) -> None:
        """Something arrived: the connection is alive. Before SUBACK only that counts."""
        if not self.online:
            return
        self._emit(_ANSWERED)
        self._emit(ev.StartTimer(_MQTT_SILENCE, self._limits.mqtt_silence))

    def _lose_mqtt(self) -> None:
        self.online = False
        self._text(console.error("cld.mqtt", "MQTT connection is disconnect!"))
        self._emit(_ANSWERED)
        self._emit(ev.StopTimer(_MQTT_SILENCE))
        self._emit(ev.StartTimer(_MQTT_RECONNECT, self._mqtt_pause.fail()))

    def _publish(self, dp: DataPoint, value: Json) -> None:
        self._published += 1
        if self._published == 1 or not self._profile.one_publish_per_packet:
            self._emit(ev.MqttPublish(self._topics.publish(dp), envelope(self._device_id, dp, value)))

    def _report_version(self) -> None:
        self._publish(DataPoint.VERSION, {"version": self._version})

    def _retry_download(self) -> None:
        if self._download is not None:
            self._attempt(self._download)

    def _check_progress(self) -> None:
        """Give up a connection that brought too little since the last look."""
        download, limits = self._download, self._limits
        if download is None:
            return
        least = max(1.0, limits.download_lowest_speed * limits.download_stall)
        if download.received - self._stall_position >= least:
            self._watch_progress(download)
            return
        self._emit(ev.HttpCancel(self._download_request))
        self._conclude(download, download.broken(opened=self._download_opened))

    def _watch_progress(self, download: Download) -> None:
        if self._profile.has_deadlines:
            self._stall_position = download.received
            self._emit(ev.StartTimer(_DOWNLOAD_STALL, self._limits.download_stall))

    def _no_answer(self) -> None:
        self._emit(ev.MqttDrop())
        self._lose_mqtt()

    def _ping(self) -> None:
        self._emit(ev.MqttPing())
        self._emit(ev.StartTimer(_MQTT_ANSWER, self._limits.mqtt_answer))

    # --- data points (2.4) --------------------------------------------------------------------------

    def _on_message(self, payload: bytes) -> None:
        try:
            elements = received(payload)
        except JsonError:
            self._text(console.error("cld.mqtt", "MQTT callback failed! cJSON parse error return NULL !"))
            return
        for element in elements:
            if self._over:
                return
            handler = _HANDLERS.get(element.dp)
            if handler is not None and not handler(self, element):
                self._text(
                    console.error("cld.mqtt", f"MQTT callback failed ! data handler DP : {element.dp} .")
                )

    def _on_version_query(self, _element: Received) -> bool:
        self._report_version()
        return True

    def _on_log_switch(self, element: Received) -> bool:
        if not element.has_value:
            self._text(
                console.error("cld.mqtt", "Device log control failed! cJSON get object item(value) error !")
            )
            return False
        wanted = is_on(element.value)
        if not wanted:
            self._text(console.info("cld.mqtt", "Web Log is closing..."))
        self._publish(DataPoint.LOG_STATE, wanted)
        return True

    # --- Web Shell and Web Log (4, 5) ---------------------------------------------------------------

    @property
    def _web_shell(self) -> WebShell:
        if self._made_web_shell is None:
            self._made_web_shell = WebShell(self._surroundings)
        return self._made_web_shell

    @property
    def _web_log(self) -> WebLog:
        if self._made_web_log is None:
            self._made_web_log = WebLog(self._surroundings)
        return self._made_web_log

    @property
    def _surroundings(self) -> Surroundings:
        return Surroundings(
            self._console,
            self._profile,
            self._limits,
            self._emit,
            self._server_key,
            self._publish_log_state,
        )

    def _on_shell_server(self, element: Received) -> bool:
        if not element.has_value:
            return False
        if self._web_log.is_active and not self._profile.shell_and_log_together:
            return False
        server = parse_server(element.value)
        return server is None or self._web_shell.start(server)

    def _on_log_server(self, element: Received) -> bool:
        if not element.has_value:
            self._text(
                console.error(
                    "cld.mqtt", "Device log get information failed! cJSON get object item(value) error !"
                )
            )
            return False
        if self._web_shell.is_active and not self._profile.shell_and_log_together:
            return False
        server = parse_server(element.value)
        if server is not None:
            self._web_log.start(server)
        return True

    def _server_key(self) -> bytes:
        return (self._device_id + self._password).encode()[:KEY_SIZE]

    def _publish_log_state(self, state: bool) -> bool:
        if self.online:
            self._publish(DataPoint.LOG_STATE, state)
        return self.online

    # --- OTA (3) ------------------------------------------------------------------------------------

    def _on_task(self, element: Received) -> bool:
        try:
            task = parse_task(element.value)
        except TaskError:
            self._text(
                console.error("cld.mqtt", "Device OTA task failed! cJSON get object item(value) error !")
            )
            return False
        self._unchanged = self._unchanged if task == self._last_answer else 0
        self._last_answer = task
        if self._port.refuse_downgrade and (reason := self._downgrade(task)):
            self._refuse(task, reason)
            return True
        self._task = task
        self._stop_asking()
        return self._carry_out(task)

    def _carry_out(self, task: OtaTask) -> bool:
        for firmware in task.firmwares:
            if firmware.upgrade_mode not in UPGRADE_MODES:
                self._text(console.error("cld.mqtt", f"Input upgrade mode({firmware.upgrade_mode}) error !"))
            if self._installed(firmware.type) != firmware.file_version:
                if self._was_tried_enough(task, firmware):
                    self._refuse(task, f"{firmware.type} {firmware.file_version} cannot be installed")
                elif self._may_begin(task, firmware):
                    self._begin_download(firmware)
                return True
        self._notice_unchanged(task)
        if self._download is not None and self._profile.complete_set_clears_url:
            self._download.replace(replace(self._download.firmware, file_url=""))
        return self._set_is_complete(task.version)

    def _installed(self, partition: str) -> str:
        return self._ota.firmware_version(partition) or NO_FIRMWARE

    def _downgrade(self, task: OtaTask) -> str:
        """Why the port's policy does not allow the task; empty when it does."""
        for firmware in task.firmwares:
            installed, offered = self._installed(firmware.type), firmware.file_version
            if offered == installed:
                continue
            older = is_older(offered, installed)
            if older is None:
                return f"{firmware.type} {offered} cannot be compared with {installed}"
            if older:
                return f"{firmware.type} {offered} is older than {installed}"
        return ""

    def _was_tried_enough(self, task: OtaTask, firmware: TaskFirmware) -> bool:
        tried = self._tried
        return (
            tried is not None
            and self._download is None
            and tried.count >= self._limits.installations
            and tried.fingerprint == fingerprint(task, firmware)
        )

    def _refuse(self, task: OtaTask, reason: str) -> None:
        """Leave a task alone until another comes."""
        self._text(console.error("cld.ota", f"Device OTA task({task.version}) refused! {reason} !"))
        self._notice_unchanged(task)
        if self._download is None:
            self._end(OtaStatus.FAILED)

    def _notice_unchanged(self, task: OtaTask) -> None:
        """The same old answer for ever is what a cloud gives that is held still."""
        self._unchanged += 1
        if self._unchanged == self._limits.frozen_after and not self._profile.ignores_frozen_cloud:
            self._text(
                console.error(
                    "cld.ota", f"Device OTA task({task.version}) came {self._unchanged} times unchanged !"
                )
            )

    # --- an offer that waits (3.1) ------------------------------------------------------------------

    def _may_begin(self, task: OtaTask, firmware: TaskFirmware) -> bool:
        """Ask the port. What it does not want now stays open until the timer or the cloud offers it again."""
        mode = firmware.upgrade_mode
        if self._download is not None or not self._profile.heeds_upgrade_mode or mode not in UPGRADE_MODES:
            return True
        offer = UpgradeOffer(task.version, firmware.type, firmware.file_version, UpgradeMode(mode))
        answer = self._port.may_upgrade(offer)
        if answer.begin:
            self._asked = ""
            return True
        text = f"Upgrade {offer.partition} {offer.version} is {offer.mode.name.lower()}: {answer.reason}"
        if offer.mode is not UpgradeMode.SILENT and text != self._asked:
            self._text(console.info("cld.ota", text))
            self._asked = text
        if answer.again_after is not None:
            self._asking = True
            self._emit(ev.StartTimer(_UPGRADE_ASK, max(SHORTEST_WAIT, answer.again_after)))
        return False

    def _ask_again(self) -> None:
        self._asking = False
        if self._task is not None and self._download is None:
            self._carry_out(self._task)

    def _stop_asking(self) -> None:
        if self._asking:
            self._asking = False
            self._emit(ev.StopTimer(_UPGRADE_ASK))

    def _set_is_complete(self, version: str) -> bool:
        values = {env.DEVICE_VERSION: version}
        if not self._profile.keeps_stale_task_version and self._env.get(env.OTA_TASK_VERSION) is not None:
            values[env.OTA_TASK_VERSION] = version
        self._version = version
        if not self._save_env(values):
            self._text(
                console.error(
                    "cld.mqtt", f"Device OTA task failed! Set and save major version({version}) error !"
                )
            )
            return False
        return True

    def _begin_download(self, firmware: TaskFirmware) -> None:
        if self._download is not None:
            if firmware != self._download.firmware:
                self._download_pause.succeed()
                self._best_position = 0
            self._download.replace(firmware)
            return
        assert self._credentials is not None  # noqa: S101 - a task cannot arrive before activation
        self._port.ota_start()
        context = DownloadContext(
            device_id=self._device_id,
            device_key=self._credentials.device_key,
            ota=self._ota,
            partitions=self._partitions,
            profile=self._profile,
            limits=self._limits,
            write=self._text,
        )
        self._download_pause.succeed()
        self._best_position = 0
        self._download = self._make_download(context, firmware)
        self._attempt(self._download)

    @property
    def _download_request(self) -> str:
        return f"download-{self._download_number}"

    def _attempt(self, download: Download) -> None:
        self._download_number += 1
        self._download_opened = False
        started = download.start(self._download_request)
        if isinstance(started, ev.HttpRequest):
            self._emit(started)
            self._watch_progress(download)
        else:
            self._conclude(download, started)

    def _on_download(
        self, download: Download, event: ev.HttpOpened | ev.HttpData | ev.HttpEnded | ev.HttpFailed
    ) -> None:
        match event:
            case ev.HttpOpened(_, status, headers):
                self._download_opened = True
                outcome = download.opened(status, headers)
            case ev.HttpData(_, data):
                outcome = download.data(data)
            case ev.HttpEnded():
                outcome = download.ended()
            case ev.HttpFailed():
                outcome = download.broken(opened=self._download_opened)
        if outcome is not Outcome.CONTINUE:
            self._emit(ev.HttpCancel(event.request))
            self._conclude(download, outcome)

    def _conclude(self, download: Download, outcome: Outcome) -> None:
        self._emit(ev.StopTimer(_DOWNLOAD_STALL))
        if outcome is Outcome.RETRY:
            self._download_number += 1  # whatever the old connection still brings is ignored
            self._pause_download(download)
        elif outcome is Outcome.FAILED:
            self._save_env(self._count_attempt(download.firmware))
            self._download = None
            self._end(OtaStatus.FAILED)
        elif self._store_result(download.firmware):
            download.handed_over()
            self._download = None
            self._end(OtaStatus.OK)
        elif not self._profile.unsaved_result_blocks:
            self._download = None
            self._end(OtaStatus.FAILED)

    def _pause_download(self, download: Download) -> None:
        """Try again later, unless enough attempts in a row have brought nothing new."""
        if download.position > self._best_position:
            self._best_position = download.position
            self._download_pause.succeed()
        delay = self._download_pause.fail()
        if self._download_pause.failures < self._limits.download_attempts or self._profile.retries_forever:
            self._emit(ev.StartTimer(_DOWNLOAD_RETRY, delay))
            return
        failures = self._download_pause.failures
        self._text(
            console.error("cld.ota", f"Firmware download failed! Given up after {failures} attempts !")
        )
        self._download = None  # its break point stays, for the task that comes next
        self._end(OtaStatus.FAILED)

    def _count_attempt(self, firmware: TaskFirmware) -> dict[str, str]:
        """What ENV has to keep about one more attempt."""
        if self._profile.installs_forever or self._task is None:
            return {}
        attempt = Attempts.first(self._task, firmware)
        if self._tried is not None and self._tried.fingerprint == attempt.fingerprint:
            attempt = self._tried.again()
        self._tried = attempt
        return {env.TRIED: attempt.text()}

    def _store_result(self, firmware: TaskFirmware) -> bool:
        """After the last firmware of the task, remember its version; it is reported after the reset."""
        task = self._task
        if task is None:
            return True
        attempt, last = self._count_attempt(firmware), task.firmwares[-1]
        if (firmware.type, firmware.file_version) != (last.type, last.file_version):
            self._save_env(attempt)
            return True
        values = {
            env.OTA_NAME: firmware.type,
            env.OTA_FIRMWARE_VERSION: firmware.file_version,
            env.OTA_TASK_VERSION: task.version,
            **attempt,
        }
        if not self._profile.reports_uninstalled:
            # What is reported if the bootloader refuses the package.
            values[env.DEVICE_VERSION] = self._version
        if self._save_env(values):
            return True
        self._text(console.error("cld.ota", "Firmware download retry failed! save environment error!"))
        return False

    def _end(self, status: OtaStatus) -> None:
        if self._port.ota_end(status):
            self._emit(ev.Reset())


# Calls by name, so that a subclass may override what they lead to.
_HANDLERS: Final[dict[int, Callable[[Session, Received], bool]]] = {
    DataPoint.VERSION_QUERY: lambda session, element: session._on_version_query(element),
    DataPoint.OTA_TASK: lambda session, element: session._on_task(element),
    DataPoint.LOG_SWITCH: lambda session, element: session._on_log_switch(element),
    DataPoint.LOG_SERVER: lambda session, element: session._on_log_server(element),
    DataPoint.SHELL_SERVER: lambda session, element: session._on_shell_server(element),
}
_TIMERS: Final[dict[str, Callable[[Session], None]]] = {
    _ACTIVATION_RETRY: lambda session: session._network_thread(),
    _ACTIVATION_DEADLINE: lambda session: session._activation_timeout(),
    _DOWNLOAD_RETRY: lambda session: session._retry_download(),
    _DOWNLOAD_STALL: lambda session: session._check_progress(),
    _UPGRADE_ASK: lambda session: session._ask_again(),
    _MQTT_RECONNECT: lambda session: session._connect_mqtt(),
    _MQTT_ANSWER: lambda session: session._no_answer(),
    _MQTT_SILENCE: lambda session: session._ping(),
    KEY_RETRY: lambda session: session._web_shell.retry(),
    SHELL_PAUSE: lambda session: session._console.resume(),
}
