"""Fixtures for pytest: boards, devices, packages and a cloud, each made for one test.

| fixture | what |
|---|---|
| `cloud` | the reference cloud (`sim.rig.cloud.RigCloud`) |
| `device` | a device that is online in `cloud` (`sim.rig.device.RigDevice`) |
| `device_factory` | makes more of them |
| `board` | a new board that is powered off |
| `rbl` | makes packages (`sim.rig.packages.PackageMaker`) |

`@pytest.mark.cloudsim(board=..., profile=..., broker=...)` or the ini options of the same names choose.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import pytest

# Every pytest run of an environment loads this module, so that fixtures import what they need.
if TYPE_CHECKING:
    from cloudsdk.profile import Profile
    from sim.board import Board
    from sim.flash.layout import BoardLayout
    from sim.rig.cloud import RigCloud
    from sim.rig.device import RigDevice
    from sim.rig.packages import PackageMaker

FIRST_VERSION: Final = "1.0.0"  # of the application a new board has
_MARKER: Final = "cloudsim"
_DEFAULTS: Final = {"board": "iot-board", "profile": "manual", "broker": "embedded"}
_RIG: Final = pytest.StashKey[list["RigDevice"]]()


def pytest_addoption(parser: pytest.Parser) -> None:
    for name, default in _DEFAULTS.items():
        parser.addini(f"cloudsim_{name}", f"{name} of the simulated devices", default=default)
    parser.addini(
        "cloudsim_cloud_scope", "how long a cloud lives: function, module or session", default="function"
    )


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers", f"{_MARKER}(board, profile, broker): what the simulated devices and their cloud are"
    )


@dataclass(frozen=True, slots=True)
class _Choice:
    board: str
    profile: str
    broker: str


def _choice(request: pytest.FixtureRequest) -> _Choice:
    chosen = {name: request.config.getini(f"cloudsim_{name}") for name in _DEFAULTS}
    for marker in reversed(list(request.node.iter_markers(_MARKER))):
        unknown = marker.kwargs.keys() - _DEFAULTS.keys()
        if unknown or marker.args:
            raise pytest.UsageError(f"the marker {_MARKER} takes {', '.join(_DEFAULTS)} by name")
        chosen.update(marker.kwargs)
    return _Choice(**chosen)


def _cloud_scope(fixture_name: str, config: pytest.Config) -> Any:
    return config.getini("cloudsim_cloud_scope")


@pytest.fixture(scope=_cloud_scope)
def cloud(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RigCloud]:
    """A reference cloud on free ports."""
    from sim.rig.cloud import RigCloud

    broker: Any = _choice(request).broker
    with RigCloud(tmp_path_factory.mktemp("cloud") / "data", broker=broker) as running:
        yield running


@pytest.fixture
def layout(request: pytest.FixtureRequest) -> BoardLayout:
    """The layout of the boards of this test."""
    from sim.flash.layout import load_board

    return load_board(_choice(request).board)


@pytest.fixture
def profile(request: pytest.FixtureRequest) -> Profile:
    """The profile of the devices of this test."""
    from cloudsdk.profile import PROFILES

    return PROFILES[_choice(request).profile]


@pytest.fixture
def board(layout: BoardLayout) -> Board:
    """A new board with a bootloader and application 1.0.0, its flash in memory."""
    return _new_board(layout)


def _new_board(layout: BoardLayout) -> Board:
    from sim.board import furnish, make_board

    made = make_board(layout)
    furnish(made, app_version=FIRST_VERSION)
    return made


@pytest.fixture
def rbl(tmp_path_factory: pytest.TempPathFactory, layout: BoardLayout) -> PackageMaker:
    """Makes packages: `rbl("app", "2.0.0")`."""
    from sim.rig.packages import PackageMaker

    return PackageMaker(tmp_path_factory.mktemp("packages"), layout)


_serials: Final = itertools.count(1)


@pytest.fixture
def device_factory(
    request: pytest.FixtureRequest, cloud: RigCloud, layout: BoardLayout, profile: Profile
) -> Iterator[Callable[..., RigDevice]]:
    """Makes devices: `device_factory()`, `device_factory(sn="SN7", board=board, power=False)`."""
    from sim.rig.device import RigDevice

    made: list[RigDevice] = request.node.stash.setdefault(_RIG, [])

    def make(
        sn: str | None = None,
        *,
        board: Board | None = None,
        profile: Profile = profile,
        power: bool = True,
        **options: Any,
    ) -> RigDevice:
        port = cloud.register(sn or f"RIG{next(_serials):06}")
        device = RigDevice(board or _new_board(layout), port, profile=profile, **options)
        made.append(device)
        if power:
            device.power_on()
            cloud.wait_online(device)
        return device

    yield make
    for device in made:
        device.power_off()


@pytest.fixture
def device(device_factory: Callable[..., RigDevice], board: Board) -> RigDevice:
    """A device that is online in `cloud`."""
    return device_factory(board=board)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.when == "call" and report.failed:
        for device in item.stash.get(_RIG, []):
            report.sections.append((f"console of device {device.sn}", device.console.text))
    return report
