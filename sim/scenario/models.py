"""A scenario file as typed data: every key, its unit and its limits (docs/fleet-scenarios.md)."""

import json
import re
from typing import Annotated, Any, Final, Literal, Self, get_args

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema, model_validator
from pydantic.fields import FieldInfo

from cloudsdk.errors import CloudSdkError
from cloudsdk.profile import PROFILES
from sim.fleet.identities import MAX_DEVICES, numbered
from sim.fleet.ramps import Ramp, parse_ramp
from sim.scenario.units import DURATION_PATTERN, PERCENT_PATTERN, parse_duration, parse_share

SCHEMA_VERSION: Final = 1
MAX_POPULATIONS: Final = 50
MAX_PHASES: Final = 100
MAX_BEHAVIOURS: Final = 20  # of one phase
MAX_THRESHOLDS: Final = 100
MAX_STAGES: Final = 20
MAX_PACKAGE: Final = 64 * 1024 * 1024  # bytes
_NAME: Final = r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$"
_VERSION: Final = r"^[0-9A-Za-z.]{1,15}$"
_CLASS: Final = r"^[A-Za-z_][A-Za-z0-9_.]*:[A-Za-z_][A-Za-z0-9_]*$"
_FULL: Final = 1e-9  # how far shares may be from 100 % in sum


def _ramp(value: object) -> Ramp:
    if not isinstance(value, str):
        raise ValueError("no ramp: write linear:100/s, step:500/10s, spike, spike:5s or poisson:100/s")
    try:
        return parse_ramp(value)
    except CloudSdkError as error:
        raise ValueError(str(error)) from None


def _bytes(value: object) -> int:
    found = re.fullmatch(r"(\d{1,9})(?: ?(KiB|MiB))?", value) if isinstance(value, str) else None
    if found is None:
        raise ValueError("no size: write 100KiB, 1MiB, or a number of bytes in quotes")
    return int(found[1]) * {None: 1, "KiB": 1024, "MiB": 1024 * 1024}[found[2]]


Duration = Annotated[
    float,
    BeforeValidator(parse_duration),
    Field(gt=0, le=366 * 86_400),
    WithJsonSchema({"type": "string", "pattern": DURATION_PATTERN, "examples": ["500ms", "90s", "10m"]}),
]
Share = Annotated[
    float,
    BeforeValidator(parse_share),
    WithJsonSchema({"type": "string", "pattern": PERCENT_PATTERN, "examples": ["99%"]}),
]
RampText = Annotated[
    Any,  # a `Ramp`, which is a protocol
    BeforeValidator(_ramp),
    WithJsonSchema(
        {"type": "string", "examples": ["linear:100/s", "step:500/10s", "spike", "poisson:50/s:7"]}
    ),
]
Size = Annotated[
    int,
    BeforeValidator(_bytes),
    Field(ge=4096, le=MAX_PACKAGE),
    WithJsonSchema({"type": "string", "pattern": "^[0-9]{1,9} ?(KiB|MiB)?$", "examples": ["100KiB"]}),
]
Name = Annotated[str, Field(pattern=_NAME)]
Version = Annotated[str, Field(pattern=_VERSION)]


def _written(default: object, **facts: Any) -> Any:
    """A field whose default is as a file would have it."""
    return Field(default, validate_default=True, **facts)


class Strict(BaseModel):
    """Nothing is guessed: no key that is not known, no text for a number."""

    model_config = ConfigDict(
        strict=True, extra="forbid", frozen=True, allow_inf_nan=False, validate_default=True
    )


# --- the cloud ------------------------------------------------------------------------------------------


class Reference(Strict):
    """A reference cloud that is started for the run, and ends with it."""

    broker: Literal["embedded", "mosquitto"] = Field("embedded", description="MQTT broker behind it")


class Foreign(Strict):
    """Any other compatible cloud. The ProductKey comes from CLOUDSIM_PRODUCT_KEY."""

    activation_url: str = Field(description="http[s]://host:port, or the whole URL")
    mqtt_url: str = Field(description="mqtt[s]://host:port")
    product_id: str = Field(description="ProductID of all populations")
    ca: str | None = Field(None, description="file with the trusted CAs (PEM); default: those of the system")
    server_name: str | None = Field(None, description="name in the certificates, if not that of the URL")


class Cloud(Strict):
    """Which cloud the devices talk to: one of the two."""

    reference: Reference | None = Field(None, description="started for the run")
    foreign: Foreign | None = Field(None, description="somebody else's")

    @model_validator(mode="after")
    def _one(self) -> Self:
        if (self.reference is None) == (self.foreign is None):
            raise ValueError("give either reference (may be {}) or foreign")
        return self


# --- the devices ----------------------------------------------------------------------------------------


class PopulationModel(Strict):
    """Devices that are alike."""

    name: Name = Field(description="what behaviours and results call it")
    count: int = Field(ge=1, le=MAX_DEVICES, description="devices")
    board: str = Field("iot-board", description="board layout, by name or as a file")
    version: Version = Field("1.0.0", description="application that is installed")
    profiles: dict[str, Share] = _written(
        {"manual": "100%"}, description="firmware profiles by share; the shares make 100%"
    )
    sn: str | None = Field(None, description="pattern of the serial numbers, with # for the digits: LAMP####")
    identities: str | None = Field(
        None, description="CSV file with serial numbers, its path from the scenario's folder; instead of sn"
    )

    @model_validator(mode="after")
    def _possible(self) -> Self:
        if (self.sn is None) == (self.identities is None):
            raise ValueError("give either sn or identities")
        if self.sn is not None:
            try:
                numbered(self.sn, self.count)
            except CloudSdkError as error:
                raise ValueError(str(error)) from None
        for name in self.profiles:
            if name not in PROFILES:
                raise ValueError(f"no profile {name!r}: choose from {', '.join(PROFILES)}")
        if abs(sum(self.profiles.values()) - 1) > _FULL:
            raise ValueError("the shares of the profiles do not make 100%")
        return self


# --- what they do ---------------------------------------------------------------------------------------


class _ForSome(Strict):
    populations: tuple[Name, ...] = Field((), description="names of the populations; none: all")
    share: Share = _written("100%", description="of their devices; which ones, the seed decides")


class PowerOn(_ForSome):
    """Switch devices on, as a ramp says. They stay on."""

    do: Literal["power_on"]
    ramp: RampText = Field(description="linear:100/s, step:500/10s, spike, spike:5s, poisson:100/s[:SEED]")


class PowerOff(_ForSome):
    """Switch devices off."""

    do: Literal["power_off"]


class StayOnline(Strict):
    """Nothing but what a device does by itself: keep the connection, answer."""

    do: Literal["stay_online"]


class ReconnectStorm(_ForSome):
    """All connections break at once, as when a router restarts; the devices come back as they can."""

    do: Literal["reconnect_storm"]
    after: Duration = _written("1ms", description="from the start of the phase")
    down: Duration = _written("1ms", description="how long nothing goes through")


class Flapping(_ForSome):
    """Links that go down and come back; times are exponentially distributed."""

    do: Literal["flapping"]
    up: Duration = _written("20s", description="mean time a link is up")
    down: Duration = _written("3s", description="mean time it is down")


class Upgrade(_ForSome):
    """An OTA task for a new application. All at once it is a thundering herd, with stages a rollout."""

    do: Literal["upgrade"]
    version: Version = Field(description="of the task and of the application in it")
    size: Size = _written("100KiB", description="of the application")
    stages: tuple[Share, ...] = _written(
        ("100%",),
        min_length=1,
        max_length=MAX_STAGES,
        description="cumulative shares, rising, the last is 100%",
    )
    advance_at: Share = _written(
        "95%", description="share of the open stages that must be upgraded for the next"
    )
    soak: Duration = _written("1s", description="from there to the next stage")
    bad: Literal["hash", "partition"] | None = Field(
        None,
        description="what the cloud does not see: a wrong hash of the firmware, or a partition that is not "
        "there; such devices count for bad_installed, not upgraded",
    )

    @model_validator(mode="after")
    def _rising(self) -> Self:
        if list(self.stages) != sorted(set(self.stages)) or not self.stages[0] or self.stages[-1] != 1:
            raise ValueError("stages must rise from above 0% to 100%")
        return self


class PowerCuts(_ForSome):
    """Power fails while a device downloads, or while its bootloader installs; it comes back later."""

    do: Literal["power_cuts"]
    during: Literal["download", "release"] = Field("download", description="what is cut")
    times: int = Field(1, ge=1, le=1000, description="cuts of each device at most")
    off: Duration = _written("1s", description="how long the power is away")


class NetworkFaults(_ForSome):
    """Downloads that break off; the device resumes with Range."""

    do: Literal["network_faults"]
    cut_downloads: Share = _written("10%", description="chance that a download breaks, at each tenth of it")


class FlashFaults(_ForSome):
    """A bit of the downloaded package flips on flash before the bootloader reads it."""

    do: Literal["flash_faults"]
    times: int = Field(1, ge=1, le=1000, description="packages of each device at most")


class LogFlood(_ForSome):
    """The application prints; with a Web Log of the generator's own, all of it goes over TCP."""

    do: Literal["log_flood"]
    rate: float = Field(50.0, gt=0, le=10_000, description="lines a second of each device")
    web_log: bool = Field(False, description="let the devices send it to a log server of the generator")


class ShellSessions(_ForSome):
    """Web Shells that are opened, used and closed; the generator is the shell server."""

    do: Literal["shell_sessions"]
    rate: float = Field(2.0, gt=0, le=100, description="sessions that begin in a second, over all devices")
    lines: int = Field(3, ge=1, le=100, description="commands in each")


class Custom(_ForSome):
    """A behaviour in Python: a subclass of sim.scenario.behaviour.Behaviour."""

    do: Literal["custom"]
    behaviour: Annotated[str, Field(pattern=_CLASS)] = Field(
        description="module:Class, found by Python's path"
    )
    options: dict[str, str | int | float | bool] = Field(
        default={}, description="what the class is made with"
    )


BehaviourModel = Annotated[
    PowerOn
    | PowerOff
    | StayOnline
    | ReconnectStorm
    | Flapping
    | Upgrade
    | PowerCuts
    | NetworkFaults
    | FlashFaults
    | LogFlood
    | ShellSessions
    | Custom,
    Field(discriminator="do"),
]


# --- what they must reach -------------------------------------------------------------------------------

SHARES: Final = ("online", "activated", "upgraded", "failed", "bad_installed")
LATENCIES: Final = ("activation", "connect", "acknowledgement", "upgrade")
COUNTS: Final = ("errors", "offline")
#: What a metric is, for the documentation and `explain`.
METRICS: Final = {
    "online": "share of all devices that are online",
    "activated": "share of all devices that have been activated in this run",
    "upgraded": "share of the devices with an upgrade that report its version",
    "failed": "share of all devices that have failed for good",
    "bad_installed": "share of the devices with a bad package that report its version",
    "errors": "failures of activations, connections and downloads, per device",
    "offline": "connections lost, per device",
    "activation": "request to credentials",
    "connect": "CONNECT to SUBACK",
    "acknowledgement": "PUBLISH to PUBACK",
    "upgrade": "begin of the first download to the report of the version",
}


class Condition(Strict):
    """One bound of one metric. Shares and ratios are written `99%`, latencies `2s`."""

    metric: Literal[
        "online",
        "activated",
        "upgraded",
        "failed",
        "bad_installed",
        "errors",
        "offline",
        "activation",
        "connect",
        "acknowledgement",
        "upgrade",
    ] = Field(description="what is measured")
    percentile: float | None = Field(
        None, gt=0, le=100, description="of a latency: 50, 99, 100 is the longest"
    )
    at_least: str | None = Field(None, description="lower bound")
    at_most: str | None = Field(None, description="upper bound")

    @model_validator(mode="after")
    def _possible(self) -> Self:
        if (self.at_least is None) == (self.at_most is None):
            raise ValueError("give either at_least or at_most")
        if (self.metric in LATENCIES) != (self.percentile is not None):
            raise ValueError("percentile belongs to latencies, and they need one")
        _ = self.bound
        return self

    @property
    def bound(self) -> float:
        """Seconds of a latency, else a share. Raises `ValueError`."""
        text = self.at_least if self.at_least is not None else self.at_most
        if self.metric in LATENCIES:
            return parse_duration(text)
        if self.metric in COUNTS:
            found = re.fullmatch(r"(\d{1,6}(?:\.\d{1,6})?) ?%", text or "")
            if found is None:
                raise ValueError("no ratio: write 1%, which is one for each hundred devices")
            return float(found[1]) / 100
        return parse_share(text)

    @property
    def words(self) -> str:
        """The condition as one reads it: `p99(activation) <= 2s`."""
        name: str = self.metric
        if self.percentile is not None:
            name = f"p{self.percentile:g}({self.metric})"
        return f"{name} >= {self.at_least}" if self.at_least is not None else f"{name} <= {self.at_most}"


class Threshold(Condition):
    """A condition that the run must fulfil."""

    phase: Name | None = Field(
        None, description="at the end of this phase, or within it; none: of the whole run"
    )
    within: Duration | None = Field(None, description="reached at some time, so long after that phase began")

    @property
    def words(self) -> str:
        parts = [super().words]
        if self.within is not None:
            parts.append(f"within {self.within:g} s")
        if self.phase is not None:
            parts.append(
                f"of phase {self.phase}" if self.within is not None else f"at the end of {self.phase}"
            )
        return " ".join(parts)


class Phase(Strict):
    """A stretch of the run. Its behaviours begin with it and end with it; the next phase follows."""

    name: Name = Field(description="what thresholds and results call it")
    duration: Duration = Field(description="at most so long")
    until: tuple[Condition, ...] = Field(
        (), max_length=10, description="it ends earlier when all of these hold"
    )
    behaviours: tuple[BehaviourModel, ...] = Field(
        max_length=MAX_BEHAVIOURS, description="what happens, all at the same time"
    )


class Scenario(Strict):
    """A whole file."""

    schema_version: Literal[1] = Field(description="1")
    name: Name = Field(description="of the scenario, for results")
    description: str = Field("", max_length=1000, description="what it is for")
    seed: int = Field(0, ge=0, le=2**32 - 1, description="decides everything that is drawn")
    boot_time: Duration = _written("1s", description="from reset to the start of CloudSDK")
    retry_time: Duration = _written(
        "5s", description="until an activation, a connection or a download is tried again; it grows"
    )
    cloud: Cloud = Field(description="which cloud")
    populations: tuple[PopulationModel, ...] = Field(
        min_length=1, max_length=MAX_POPULATIONS, description="which devices"
    )
    phases: tuple[Phase, ...] = Field(
        min_length=1, max_length=MAX_PHASES, description="what they do, in order"
    )
    thresholds: tuple[Threshold, ...] = Field(
        (), max_length=MAX_THRESHOLDS, description="what they must reach; without, the run passes if it ends"
    )

    @property
    def count(self) -> int:
        """Devices of all populations."""
        return sum(population.count for population in self.populations)

    @property
    def longest(self) -> float:
        """Seconds that the phases take at most."""
        return sum(phase.duration for phase in self.phases)


def json_schema() -> dict[str, Any]:
    """The JSON Schema of scenario files."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **Scenario.model_json_schema(by_alias=True),
        "title": "cloudsim fleet scenario",
    }


def key_tables() -> str:
    """Every key with its meaning and default, as Markdown tables."""
    parts = []
    before: tuple[type[Strict], ...] = (Scenario, Cloud, Reference, Foreign, PopulationModel, Phase)
    after: tuple[type[Strict], ...] = (*_behaviours(), Threshold)
    for model in before + after:
        fields = model.model_fields
        rows = [f"| `{name}` | {_default(field)} | {field.description} |" for name, field in fields.items()]
        title = (
            f"`do: {_tag(model)}`" if "do" in fields else f"`{model.__name__.removesuffix('Model').lower()}`"
        )
        rows = [row for row in rows if not row.startswith("| `do`")]
        table = "\n".join(["| key | default | |", "|---|---|---|", *rows])
        parts.append(f"### {title}\n\n{model.__doc__}\n" + (f"\n{table}\n" if rows else ""))
    metrics = "\n".join(f"| `{name}` | {text} |" for name, text in METRICS.items())
    parts.append(f"### metrics\n\n| metric | |\n|---|---|\n{metrics}\n")
    return "\n".join(parts)


def _behaviours() -> tuple[type[Strict], ...]:
    union: tuple[type[Strict], ...] = get_args(get_args(BehaviourModel)[0])
    return union


def _tag(model: type[Strict]) -> str:
    return str(get_args(model.model_fields["do"].annotation)[0])


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "needed"
    value = field.default
    if value is None or value in ((), {}, ""):
        return ""
    return f"`{value}`" if isinstance(value, str) else f"`{json.dumps(value)}`"
