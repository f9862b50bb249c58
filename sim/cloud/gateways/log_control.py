"""When the cloud tells a device what about its log: 1020, 1021, 1022 and the connection in order
(cloudsdk-protocol 5, platform 6). Pure; times are those of one monotonic clock, in seconds.
"""

from enum import Enum, StrEnum, auto

from sim.cloud.gateways.limits import ConsoleLimits


class LogState(StrEnum):
    OFF = "off"
    WAITING = "waiting"  # for the device to come online
    STARTING = "starting"
    ON = "on"
    STOPPING = "stopping"
    SILENT = "silent"  # the device does not answer 1020; tried again when it comes online
    BLOCKED = "blocked"  # it does not connect: 2.0.0 refuses until its next reboot; tried again then


class Action(Enum):
    SWITCH_ON = auto()  # 1020 true
    SWITCH_OFF = auto()  # 1020 false
    CALL = auto()  # 1022
    CLOSE = auto()  # FIN


class _Step(Enum):
    REST = auto()
    SETTLING = auto()  # a pause, then 1020
    ASKED = auto()  # 1020 true is out
    CALLED = auto()  # 1022 is out
    STOPPING = auto()  # 1020 false is out, the connection still there
    CLOSING = auto()  # FIN is out


class LogControl:
    """One device. Every method returns what is to be done now; `deadline` is when to call `expired`."""

    def __init__(self, limits: ConsoleLimits, *, online: bool, wanted: bool = False) -> None:
        self.wanted = wanted
        self.expects = False  # a connection of this device is to be let in
        self.connected = False
        self.deadline: float | None = None
        self._limits = limits
        self._online = online
        self._step = _Step.REST
        self._failure: LogState | None = None
        self._attempts = 0
        self._retry = limits.log_retry
        self._connected_at = 0.0

    @property
    def state(self) -> LogState:
        if not self.wanted:
            return LogState.STOPPING if self.connected else LogState.OFF
        if self.connected and self._step not in (_Step.STOPPING, _Step.CLOSING):
            return LogState.ON
        if self._failure is not None:
            return self._failure
        return LogState.STARTING if self._online else LogState.WAITING

    def switch(self, now: float, *, on: bool) -> list[Action]:
        """What the user, or the rule of 6.3, wants."""
        if on:
            again = self.wanted and self._failure is None
            self.wanted = True
            return [] if again or self.connected else self._begin(now)
        if not self.wanted:
            return []
        self.wanted = self.expects = False
        self._failure = self.deadline = None
        if not self.connected:
            self._step = _Step.REST
            return [Action.SWITCH_OFF] if self._online else []
        if not self._online or self._step is _Step.CLOSING:
            return self._close()
        self._step = _Step.STOPPING
        self.deadline = now + self._limits.log_answer
        return [Action.SWITCH_OFF]

    def idle(self, now: float) -> list[Action]:
        """No data for a long time: the log is turned off (platform 6.3). The connection of a device that is
        offline is dead instead; its log goes on when it comes back."""
        if self._online or not self.connected:
            return self.switch(now, on=False)
        return [] if self._step is _Step.CLOSING else self._close()

    def came_online(self, now: float) -> list[Action]:
        """DP 1000 true. Perhaps the device was rebooted, and its log is off."""
        self._online = True
        if self.wanted and self._step not in (_Step.STOPPING, _Step.CLOSING):
            self._settle(now + self._limits.log_settle)
        return []

    def went_offline(self) -> list[Action]:
        """An open connection stays: the device may have lost nothing but its broker."""
        self._online = False
        self._failure = None
        if self._step is _Step.STOPPING:
            return self._close()
        if self._step is not _Step.CLOSING:
            self._step = _Step.REST
            self.deadline = None
        return []

    def reported(self, now: float, *, on: bool) -> list[Action]:
        """DP 1021. The device repeats `false` whenever its connection has ended; that changes nothing."""
        if on and self._step is _Step.ASKED:
            self._step = _Step.CALLED
            self.expects = True
            self.deadline = now + self._limits.log_connect
            return [Action.CALL]
        if not on and self._step is _Step.STOPPING:
            return self._close()
        return []

    def arrived(self, now: float) -> list[Action]:
        """The device has connected. A connection it had before is replaced."""
        self.connected = True
        self.expects = False
        self._connected_at = now
        self._step = _Step.REST
        self._failure = self.deadline = None
        return []

    def left(self, now: float) -> list[Action]:
        """The connection has ended."""
        self.connected = False
        ending = self._step in (_Step.STOPPING, _Step.CLOSING)
        self._step = _Step.REST
        self.deadline = None
        if not self.wanted:
            return []
        if ending:
            self._settle(now + self._limits.log_settle)
            return []
        if now - self._connected_at > self._limits.log_retry_longest:
            self._retry = self._limits.log_retry
        if self._online:
            self._settle(now + self._retry)
            self._retry = min(2 * self._retry, self._limits.log_retry_longest)
        return []

    def expired(self, now: float) -> list[Action]:
        if self.deadline is None or now < self.deadline:
            return []
        self.deadline = None
        match self._step:
            case _Step.SETTLING:
                return self._begin(now)
            case _Step.ASKED if self._attempts < self._limits.log_attempts:
                return self._ask(now)
            case _Step.ASKED:
                self._fail(LogState.SILENT)
            case _Step.CALLED:
                self._fail(LogState.BLOCKED)
            case _Step.STOPPING:
                return self._close()
        return []

    def _settle(self, until: float) -> None:
        self._step = _Step.SETTLING
        self._failure = None
        self.deadline = until

    def _begin(self, now: float) -> list[Action]:
        self._failure = None
        self._attempts = 0
        if not self._online:
            self._step = _Step.REST
            return []
        return self._ask(now)

    def _ask(self, now: float) -> list[Action]:
        self._step = _Step.ASKED
        self._attempts += 1
        self.deadline = now + self._limits.log_answer
        return [Action.SWITCH_ON]

    def _fail(self, state: LogState) -> None:
        """It may still connect later and is let in then; with a connection already, nothing was lost."""
        self._step = _Step.REST
        if self.connected:
            self.expects = False
        else:
            self._failure = state

    def _close(self) -> list[Action]:
        self._step = _Step.CLOSING
        self.deadline = None
        return [Action.CLOSE]
