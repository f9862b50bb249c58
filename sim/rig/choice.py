"""What a test asks for: board, profile, broker and clock, by marker or configuration.

Light: every run of pytest imports this.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from cloudsdk.errors import CloudSdkError

MARKER: Final = "cloudsim"
DEFAULTS: Final = {"board": "iot-board", "profile": "manual", "broker": "embedded", "clock": "real"}
YAML: Final = (".yaml", ".yml")
#: Names of which the value is one of a few.
VALUES: Final = {"broker": ("embedded", "mosquitto"), "clock": ("real", "virtual")}


class ChoiceError(CloudSdkError):
    """A marker or option that makes no sense. Becomes a usage error of pytest."""

    code = "rig.choice"


@dataclass(frozen=True, slots=True)
class Choice:
    board: str
    profile: str
    broker: str
    clock: str

    @property
    def is_virtual(self) -> bool:
        return self.clock == "virtual"

    @property
    def cloud(self) -> tuple[str, str]:
        """What two tests need in common to share a cloud."""
        return self.broker, self.clock


def choose(
    options: Mapping[str, str],
    markers: Iterable[tuple[tuple[Any, ...], Mapping[str, Any]]],
    *,
    root: Path,
) -> Choice:
    """`markers` are positional and named arguments of markers, the nearest first; the path of a board starts
    at `root`. Raises `ChoiceError`."""
    chosen: dict[str, str] = dict(options)
    for positional, named in reversed(list(markers)):
        unknown = sorted(named.keys() - DEFAULTS.keys())
        if positional or unknown:
            wrong = f"{unknown[0]!r}" if unknown else "an argument without a name"
            raise ChoiceError(f"the marker {MARKER} takes {', '.join(DEFAULTS)} by name, not {wrong}")
        chosen.update({name: str(value) for name, value in named.items()})
    for name, values in VALUES.items():
        if chosen[name] not in values:
            raise ChoiceError(f"{name} is {' or '.join(values)}, not {chosen[name]!r}")
    if chosen["board"].endswith(YAML):
        chosen["board"] = str(root / chosen["board"])
    return Choice(**chosen)


def check(choice: Choice) -> None:
    """Look up what has a name. Raises `ChoiceError`."""
    from cloudsdk.profile import PROFILES
    from sim.flash.layout import load_board

    if choice.profile not in PROFILES:
        raise ChoiceError(f"profile is {' or '.join(PROFILES)}, not {choice.profile!r}")
    try:
        load_board(choice.board)
    except CloudSdkError as exc:
        raise ChoiceError(str(exc)) from exc
