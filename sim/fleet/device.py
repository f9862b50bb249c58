"""One device of a fleet: the core of the single device, its effects carried out on an event loop."""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

from cloudsdk import events as ev
from cloudsdk.limits import Limits
from cloudsdk.port import OtaStatus, Port
from cloudsdk.profile import Profile
from cloudsdk.session import Session, Storage
from cloudsdk.shell.console_device import ConsoleShell
from sim.bootloader.outcome import BootOutcome
from sim.fleet.events import DeviceState, FleetEvent, Kind, Phase
from sim.fleet.flash import BoardBase, DeviceFlash
from sim.fleet.http import HttpExchange
from sim.fleet.metrics import Metrics
from sim.fleet.mqtt import MqttLink
from sim.fleet.sockets import Sockets
from sim.fleet.tcp import TcpLink
from sim.fleet.timers import Timer, TimerWheel

_log = logging.getLogger(__name__)

_BOOT: Final = "boot"  # timer
_ACTIVATION: Final = "activation"  # the request of that name
_REPORTS: Final = "/ota"  # end of the topic of version reports
_UNTOLD: Final = -1  # progress of a download whose begin is not told yet
_LINK_DOWN: Final = "the link is down"
_NO_ANSWER: Final = "MQTT gave no answer"
MAX_CAUSES: Final = 100  # different ones that are counted; a cloud's words are among them
MAX_CAUSE: Final = 200  # characters


@dataclass(slots=True)
class Engine:
    """What the devices of a fleet share."""

    loop: asyncio.AbstractEventLoop
    wheel: TimerWheel
    sockets: Sockets
    base: BoardBase
    profile: Profile
    limits: Limits
    boot_time: float  # seconds from reset to `rt_cld_sdk_init`
    tell: Callable[[FleetEvent], None] | None = None
    console: Callable[[str, str], None] | None = None  # SN and text
    make_shell: Callable[[Port], ConsoleShell] | None = None
    metrics: Metrics = field(default_factory=Metrics)
    started: float = 0.0  # on the loop's clock
    reboots: int = 0


class FleetPort(Port):
    """Tells the device when a download begins and how it ends; resets the board after a complete one."""

    __slots__ = ("device",)

    device: "FleetDevice"

    def ota_start(self) -> None:
        self.device.download_begins()

    def ota_end(self, status: OtaStatus) -> bool:
        self.device.download_ends(status)
        return super().ota_end(status)


class FleetDevice:
    """Runs one board from `power_on` to `power_off`."""

    __slots__ = (
        "_boots",
        "_cause",
        "_connections",
        "_cut_after",
        "_engine",
        "_failures",
        "_http",
        "_link_up",
        "_mqtt",
        "_port",
        "_progress",
        "_read_most",
        "_reported",
        "_reported_boot",
        "_session",
        "_since",
        "_task_since",
        "_timers",
        "flash",
        "phase",
    )

    def __init__(self, engine: Engine, port: FleetPort) -> None:
        self.phase = Phase.WAITING
        self._engine = engine
        self._port = port
        port.device = self
        self.flash = DeviceFlash(engine.base)
        self._session: Session | None = None
        self._mqtt: MqttLink | None = None
        self._http: list[HttpExchange] | None = None
        self._connections: dict[str, TcpLink] | None = None
        self._timers: list[Timer] = []
        self._boots = 0
        self._failures = 0  # of the activation that are told
        self._since = 0.0  # when the phase began, on the loop's clock
        self._task_since: float | None = None
        self._progress = 0  # tenths of the download that are told, or `_UNTOLD`
        self._reported = ""
        self._reported_boot = 0
        self._cause = ""
        self._link_up = True
        self._read_most: int | None = None
        self._cut_after: int | None = None  # flash operations of the next boot until the power fails

    @property
    def sn(self) -> str:
        return self._port.sn

    @property
    def state(self) -> DeviceState:
        return DeviceState(
            self._port.sn,
            self.phase,
            self._boots,
            self._reported,
            self._session is not None and self._session.download is not None,
            self._cause,
        )

    # --- power --------------------------------------------------------------------------------------

    def power_on(self) -> None:
        self._since = self._engine.loop.time()
        self._boot()

    def power_off(self) -> None:
        """The board is off: every connection ends as it is."""
        self._stop()
        if self.phase is not Phase.FAILED:
            self._enter(Phase.OFF)

    def cut_power(self, where: str) -> None:
        """The power fails, if there is any; `power_on` brings the board back."""
        if self.phase not in (Phase.WAITING, Phase.OFF, Phase.FAILED):
            self.power_off()
            self._tell(Kind.CUT, where)

    def cut_next_boot(self, operations: int) -> None:
        """Let the power fail in the bootloader of the next boot, after so many flash operations."""
        self._cut_after = operations

    def _boot(self) -> None:
        operations, self._cut_after = self._cut_after, None
        if operations is not None and self.flash.cut_boot(operations):
            self._enter(Phase.OFF)
            self._tell(Kind.CUT, "bootloader")
            return
        result, text = self.flash.boot()
        self._boots += 1
        self._print(text)
        if result.outcome is not BootOutcome.JUMP:
            self._fail(f"the bootloader started no application: {result.diagnosis or result.outcome.value}")
            self._enter(Phase.FAILED)
            return
        self._enter(Phase.BOOTING)
        self._start_timer(_BOOT, self._engine.boot_time)

    def _reset(self) -> None:
        self._stop()
        self._engine.reboots += 1
        self._tell(Kind.REBOOTED)
        self._boot()

    def _stop(self) -> None:
        self._session = None
        self._drop_mqtt()
        for exchange in self._http or ():
            exchange.cancel()
        self._http = None
        for connection in (self._connections or {}).values():
            connection.drop()
        self._connections = None
        for timer in self._timers:
            self._engine.wheel.stop(timer)
        self._timers = []

    def _start(self) -> None:
        engine, port = self._engine, self._port
        self._failures = 0
        self._session = Session(
            port,
            Storage(self.flash, self.flash),
            profile=engine.profile,
            limits=engine.limits,
            shell=engine.make_shell(port) if engine.make_shell is not None else None,
        )
        self._handle(ev.Started())

    # --- faults and orders from outside; not while an event is told -----------------------------------

    def set_link(self, *, up: bool) -> None:
        """Take the network away, with every connection, or give it back."""
        self._link_up = up
        if not up:
            self.break_connections(_LINK_DOWN)

    def break_connections(self, cause: str) -> None:
        """All connections end, as if the network had lost them."""
        self.break_downloads(cause)
        for connection in list((self._connections or {}).values()):
            self.tcp_event(connection, ev.TcpClosed(connection.name, ev.TcpEnd.RESET))
        if self._mqtt is not None:
            self._mqtt.break_off(cause)

    def break_downloads(self, cause: str) -> None:
        """HTTP connections end, as if the network had lost them."""
        for exchange in list(self._http or ()):
            exchange.break_off(cause)

    def read_slowly(self, size: int | None) -> None:
        """From the next request on, take so many bytes of a body at a time; None: all that has come."""
        self._read_most = size

    def print(self, text: str) -> None:
        """The application prints."""
        self._handle(ev.ConsoleOutput(text))

    def order(self, payload: bytes) -> None:
        """A message of the cloud that the cloud did not send."""
        if self.phase is Phase.ONLINE:
            self._handle(ev.MqttMessage("", payload))

    # --- what happens -------------------------------------------------------------------------------

    def timer_fired(self, name: str) -> None:
        self._stop_timer(name)
        if name == _BOOT:
            self._start()
        else:
            self._handle(ev.TimerFired(name))

    def mqtt_event(self, link: MqttLink, event: ev.Event) -> None:
        if link is self._mqtt:
            if type(event) is ev.MqttRefused:
                self._drop_mqtt()
            self._engine.metrics.received += type(event) is ev.MqttMessage
            self._handle(event)

    def mqtt_acknowledged(self, seconds: float) -> None:
        metrics = self._engine.metrics
        metrics.acknowledged += 1
        metrics.acknowledgement.add(seconds)

    def http_event(self, exchange: HttpExchange, event: ev.Event) -> None:
        if self._http is None or exchange not in self._http:
            return
        if type(event) is ev.HttpEnded or type(event) is ev.HttpFailed:
            self._http.remove(exchange)
        elif type(event) is ev.HttpData and event.request != _ACTIVATION:
            self._engine.metrics.downloaded_bytes += len(event.data)
        self._handle(event)

    def tcp_event(self, connection: TcpLink, event: ev.TcpEvent) -> None:
        if self._connections is None or self._connections.get(connection.name) is not connection:
            return
        self._handle(event)
        if isinstance(event, ev.TcpClosed | ev.TcpFailed):
            self._close_tcp(connection.name)

    def type(self, data: bytes) -> None:
        """Input of the serial port; lost unless the application runs."""
        self._handle(ev.ConsoleInput(data))

    def _handle(self, event: ev.Event) -> None:
        session = self._session
        if session is None:
            return
        try:
            effects = session.handle(event)
        except Exception as exc:  # a defect of ours must not end the other devices
            _log.error("%s: %s in the core", self._port.sn, type(exc).__name__, exc_info=True)
            self._stop()
            self._fail(f"{type(exc).__name__} in the core")
            self._enter(Phase.FAILED)
            return
        if session.online and self.phase is not Phase.ONLINE:
            self._engine.metrics.connect.add(self._enter(Phase.ONLINE))
            self._tell(Kind.ONLINE)
        for effect in effects:
            _CARRY_OUT[type(effect)](self, effect)
        if self._session is session:
            self._observe(session, event)

    def _observe(self, session: Session, event: ev.Event) -> None:
        """Tell what the event made of the device, and let flash rest that nobody needs."""
        if self.phase is Phase.ONLINE:
            if not session.online:
                self._fail(_cause(event), Kind.OFFLINE)
                self._enter(Phase.CONNECTING)
        elif self.phase is Phase.CONNECTING:
            if isinstance(event, ev.MqttRefused | ev.MqttUnreachable | ev.MqttLost):
                self._fail(_cause(event))
        elif session.activation_failures > self._failures:
            self._failures = session.activation_failures
            self._fail(f"activation: {session.last_activation_error}")
        download = session.download
        if download is not None:
            if type(event) is ev.HttpData and download.position:
                tenths = 10 * download.position // max(1, download.firmware.file_size)
                if tenths > self._progress:
                    self._progress = tenths
                    self._tell(Kind.PROGRESS, f"{min(100, 10 * tenths)}")
        elif self.flash.awake and session.activated:
            self.flash.rest()

    # --- downloads, told by the port ----------------------------------------------------------------

    def download_begins(self) -> None:
        if self._task_since is None:
            self._task_since = self._engine.loop.time()
        self._progress = _UNTOLD

    def download_ends(self, status: OtaStatus) -> None:
        if status is OtaStatus.OK:
            self._tell(Kind.DOWNLOADED)
        else:
            self._fail("the download or the task was refused")

    # --- what is to be done -------------------------------------------------------------------------

    def _on_console_text(self, effect: ev.ConsoleText) -> None:
        self._print(effect.text)

    def _on_http_request(self, effect: ev.HttpRequest) -> None:
        engine = self._engine
        if not self._link_up:
            if effect.request == _ACTIVATION:
                self._enter(Phase.ACTIVATING)
            engine.loop.call_soon(self._handle, ev.HttpFailed(effect.request, _LINK_DOWN))
            return
        exchange = HttpExchange(self, effect, engine.sockets, engine.wheel, engine.limits, self._read_most)
        self._http = [*(self._http or ()), exchange]
        if effect.request == _ACTIVATION:
            self._enter(Phase.ACTIVATING)
        elif self._progress == _UNTOLD and self._session is not None and self._session.download is not None:
            self._progress = 0
            firmware = self._session.download.firmware
            self._tell(Kind.TASK, f"{firmware.type} {firmware.file_version}")

    def _on_http_cancel(self, effect: ev.HttpCancel) -> None:
        for exchange in self._http or ():
            if exchange.request == effect.request:
                exchange.cancel()
        self._http = [each for each in self._http or () if each.request != effect.request] or None

    def _on_mqtt_connect(self, effect: ev.MqttConnect) -> None:
        self._drop_mqtt()
        engine = self._engine
        if self.phase is Phase.ACTIVATING:
            engine.metrics.activation.add(self._enter(Phase.CONNECTING))
            self._tell(Kind.ACTIVATED)
        else:
            self._enter(Phase.CONNECTING)
        if not self._link_up:
            engine.loop.call_soon(self._handle, ev.MqttUnreachable(_LINK_DOWN))
            return
        self._mqtt = MqttLink(self, effect, engine.sockets, constant_id=engine.profile.constant_packet_id)

    def _on_mqtt_subscribe(self, effect: ev.MqttSubscribe) -> None:
        if self._mqtt is not None:
            self._mqtt.subscribe(effect.topic_filter)

    def _on_mqtt_publish(self, effect: ev.MqttPublish) -> None:
        if self._mqtt is not None:
            self._engine.metrics.published += 1
            self._mqtt.publish(effect.topic, effect.payload)
            if effect.topic.endswith(_REPORTS):
                self._reports()

    def _on_mqtt_ping(self, _effect: ev.MqttPing) -> None:
        if self._mqtt is not None:
            self._mqtt.ping()

    def _on_mqtt_drop(self, _effect: ev.MqttDrop) -> None:
        if self._mqtt is not None and self.phase is Phase.CONNECTING:
            self._fail(_NO_ANSWER)
        self._drop_mqtt()

    def _on_tcp_open(self, effect: ev.TcpOpen) -> None:
        engine = self._engine
        try:
            if not self._link_up or len(self._connections or ()) >= engine.limits.tcp_connections:
                raise OSError("no socket is left")
            connection = TcpLink(self, effect, engine.sockets, engine.limits)
        except OSError:
            failed = ev.TcpFailed(effect.connection, ev.TcpStage.CREATE)
            engine.loop.call_soon(self._handle, failed)
            return
        self._connections = {**(self._connections or {}), effect.connection: connection}

    def _on_tcp_send(self, effect: ev.TcpSend) -> None:
        if (connection := (self._connections or {}).get(effect.connection)) is not None:
            connection.send(effect.data)

    def _on_tcp_close(self, effect: ev.TcpClose) -> None:
        self._close_tcp(effect.connection)

    def _on_start_timer(self, effect: ev.StartTimer) -> None:
        self._start_timer(effect.name, effect.seconds)

    def _on_stop_timer(self, effect: ev.StopTimer) -> None:
        self._stop_timer(effect.name)

    def _on_reset(self, _effect: ev.Reset) -> None:
        self._reset()

    def _on_crash(self, effect: ev.Crash) -> None:
        """The original's dump ends in an endless loop; this board has somebody who resets it."""
        self._fail(f"{effect.thread} ran out of stack")
        self._reset()

    def _on_give_up(self, _effect: ev.GiveUp) -> None:
        session = self._session
        reason = session.last_activation_error if session is not None else ""
        self._stop()
        self._fail(f"activation given up: {reason}")
        self._enter(Phase.FAILED)

    def _start_timer(self, name: str, seconds: float) -> None:
        for timer in self._timers:
            if timer.name == name:
                break
        else:
            timer = Timer(self, name)
            self._timers.append(timer)
        self._engine.wheel.start(timer, seconds)

    def _stop_timer(self, name: str) -> None:
        for place, timer in enumerate(self._timers):
            if timer.name == name:
                self._engine.wheel.stop(timer)
                del self._timers[place]
                return

    def _drop_mqtt(self) -> None:
        if self._mqtt is not None:
            self._mqtt.drop()
            self._mqtt = None

    def _close_tcp(self, name: str) -> None:
        if self._connections is not None and (connection := self._connections.pop(name, None)) is not None:
            connection.close()

    # --- telling ------------------------------------------------------------------------------------

    def _reports(self) -> None:
        session = self._session
        if session is None or (session.version == self._reported and self._reported_boot == self._boots):
            return
        if self._task_since is not None and session.version != self._reported:
            self._engine.metrics.upgrade.add(self._engine.loop.time() - self._task_since)
            self._task_since = None
        self._reported, self._reported_boot = session.version, self._boots
        self._tell(Kind.REPORTED, session.version)

    def _enter(self, phase: Phase) -> float:
        """Be in `phase` from now on; returns the seconds since it changed, or was entered again."""
        phases, now = self._engine.metrics.phases, self._engine.loop.time()
        phases[self.phase] -= 1
        phases[phase] += 1
        self.phase = phase
        seconds, self._since = now - self._since, now
        return seconds

    def _fail(self, cause: str, kind: Kind = Kind.FAILED) -> None:
        causes = self._engine.metrics.causes
        self._cause = cause = cause[:MAX_CAUSE]
        if cause in causes or len(causes) < MAX_CAUSES:
            causes[cause] += 1
        self._tell(kind, cause)

    def _tell(self, kind: Kind, detail: str = "") -> None:
        engine = self._engine
        engine.metrics.counts[kind] += 1
        if engine.tell is not None:
            engine.tell(FleetEvent(engine.loop.time() - engine.started, self._port.sn, kind, detail))

    def _print(self, text: str) -> None:
        if self._engine.console is not None:
            self._engine.console(self._port.sn, text)


def _cause(event: ev.Event) -> str:
    match event:
        case ev.MqttRefused(code):
            return f"MQTT refused with return code {code}"
        case ev.MqttUnreachable(reason):
            return f"MQTT unreachable: {reason}"
        case ev.MqttLost(reason):
            return f"MQTT lost: {reason}"
    return _NO_ANSWER


_CARRY_OUT: Final[dict[type, Callable[[FleetDevice, Any], None]]] = {
    ev.ConsoleText: FleetDevice._on_console_text,
    ev.HttpRequest: FleetDevice._on_http_request,
    ev.HttpCancel: FleetDevice._on_http_cancel,
    ev.MqttConnect: FleetDevice._on_mqtt_connect,
    ev.MqttSubscribe: FleetDevice._on_mqtt_subscribe,
    ev.MqttPublish: FleetDevice._on_mqtt_publish,
    ev.MqttPing: FleetDevice._on_mqtt_ping,
    ev.MqttDrop: FleetDevice._on_mqtt_drop,
    ev.TcpOpen: FleetDevice._on_tcp_open,
    ev.TcpSend: FleetDevice._on_tcp_send,
    ev.TcpClose: FleetDevice._on_tcp_close,
    ev.StartTimer: FleetDevice._on_start_timer,
    ev.StopTimer: FleetDevice._on_stop_timer,
    ev.Reset: FleetDevice._on_reset,
    ev.Crash: FleetDevice._on_crash,
    ev.GiveUp: FleetDevice._on_give_up,
}
