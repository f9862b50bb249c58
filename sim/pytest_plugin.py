"""Fixtures for pytest: boards, devices, packages, faults and a cloud, made for each test (docs/pytest.md)."""

from __future__ import annotations

import os
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest

from sim.rig.choice import DEFAULTS, MARKER, Choice, ChoiceError, check, choose

# Every pytest run of an environment loads this module, so that fixtures import what they need.
if TYPE_CHECKING:
    from cloudsdk.profile import Profile
    from sim.board import Board
    from sim.flash.layout import BoardLayout
    from sim.rig.boards import BoardMaker
    from sim.rig.clock import RigClock
    from sim.rig.cloud import RigCloud
    from sim.rig.device import RigDevice
    from sim.rig.faults import RigFaults
    from sim.rig.fleet import RigFleet
    from sim.rig.identities import SerialNumbers
    from sim.rig.packages import PackageMaker

FIRST_VERSION: Final = "1.0.0"  # of the application a new board has
ARTIFACTS: Final = "cloudsim-artifacts"
PRODUCT_KEY: Final = "CLOUDSIM_PRODUCT_KEY"  # environment variable
MAX_FLEET: Final = 100  # devices of one `fleet`
_SCOPES: Final = ("function", "module", "session")
_REMOTE: Final = {
    "cloud_url": "activation URL of a real cloud, in the place of the reference cloud",
    "mqtt_url": "its MQTT URL",
    "product_id": f"its product; the ProductKey comes from ${PRODUCT_KEY}",
    "identities": "CSV file with the serial numbers it knows, in column sn",
    "cloud_admin": "module:function that makes what creates tasks in it",
}
_DEVICES: Final = pytest.StashKey[list["RigDevice"]]()
_WRONG: Final = pytest.StashKey[str]()  # what makes no sense about a test
_SERIALS: Final = pytest.StashKey["SerialNumbers"]()
_FIXTURES: Final = frozenset(
    ("cloud", "clock", "device", "device_factory", "fleet", "board", "faults", "rbl", "layout", "profile")
)


def pytest_addoption(parser: pytest.Parser) -> None:
    for name, default in DEFAULTS.items():
        parser.addini(f"cloudsim_{name}", f"{name} of the simulated devices", default=default)
    parser.addini("cloudsim_cloud_scope", f"how long a cloud lives: {', '.join(_SCOPES)}", default="function")
    for name, text in _REMOTE.items():
        parser.addini(f"cloudsim_{name}", text, default="")
    parser.getgroup("cloudsim").addoption(
        "--cloudsim-artifacts",
        metavar="DIR",
        help=f"where failing tests leave consoles and traffic (default: {ARTIFACTS} in the root directory)",
    )


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers", f"{MARKER}({', '.join(DEFAULTS)}): what the simulated devices and their cloud are"
    )
    scope = config.getini("cloudsim_cloud_scope")
    if scope not in _SCOPES:
        raise pytest.UsageError(f"cloudsim_cloud_scope is {', '.join(_SCOPES)}, not {scope!r}")
    given = [name for name in ("cloud_url", "mqtt_url", "product_id") if config.getini(f"cloudsim_{name}")]
    if given and len(given) < 3:
        raise pytest.UsageError(
            "a real cloud needs cloudsim_cloud_url, cloudsim_mqtt_url and cloudsim_product_id, all three"
        )


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Wrong markers end the run before any test."""
    checked: set[Choice] = set()
    for item in items:
        marked = item.get_closest_marker(MARKER) is not None
        if not marked and _FIXTURES.isdisjoint(getattr(item, "fixturenames", ())):
            continue
        try:
            choice = _choice(item)
            if choice not in checked:
                check(choice)
                checked.add(choice)
            _require_own_cloud(item, choice)
        except ChoiceError as exc:
            if not hasattr(config, "workerinput"):
                raise pytest.UsageError(f"{item.nodeid}: {exc}") from exc
            item.stash[_WRONG] = str(exc)  # a worker of pytest-xdist that ends early brings down the run


def pytest_runtest_setup(item: pytest.Item) -> None:
    if (wrong := item.stash.get(_WRONG, None)) is not None:
        raise pytest.UsageError(f"{item.nodeid}: {wrong}")


def _require_own_cloud(item: pytest.Item, choice: Choice) -> None:
    scope = item.config.getini("cloudsim_cloud_scope")
    parent = {"function": item, "module": item.getparent(pytest.Module), "session": item.session}[scope]
    if parent is not None and _choice(parent).cloud != choice.cloud:
        raise ChoiceError(
            f"broker and clock are those of the {scope} when cloudsim_cloud_scope = {scope}: set them there"
        )
    if _is_remote(item.config):
        if choice.is_virtual:
            raise ChoiceError("a real cloud knows no virtual clock")
        if not os.environ.get(PRODUCT_KEY):
            raise ChoiceError(f"the ProductKey of a real cloud is missing: put it into ${PRODUCT_KEY}")


def _choice(node: pytest.Item | pytest.Collector | Any) -> Choice:
    options = {name: str(node.config.getini(f"cloudsim_{name}")) for name in DEFAULTS}
    markers = [(marker.args, marker.kwargs) for marker in node.iter_markers(MARKER)]
    return choose(options, markers, root=node.config.rootpath)


def _is_remote(config: pytest.Config) -> bool:
    return bool(config.getini("cloudsim_cloud_url"))


def _cloud_scope(fixture_name: str, config: pytest.Config) -> Any:
    return config.getini("cloudsim_cloud_scope")


@pytest.fixture(scope=_cloud_scope)
def cloud(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RigCloud]:
    """The cloud: the reference cloud on free ports, one in virtual time, or the real one of the ini file."""
    choice = _choice(request.node)
    if choice.is_virtual:
        from sim.rig.virtual_rig import VirtualRigCloud

        yield VirtualRigCloud()
    elif _is_remote(request.config):
        yield _remote_cloud(request.config)
    else:
        from sim.rig.local_cloud import LocalCloud

        broker: Any = choice.broker
        with LocalCloud(tmp_path_factory.mktemp("cloud") / "data", broker=broker) as running:
            yield running


def _remote_cloud(config: pytest.Config) -> RigCloud:
    from sim.rig.remote_cloud import CloudSite, RemoteCloud, load_admin

    site = CloudSite(
        config.getini("cloudsim_cloud_url"),
        config.getini("cloudsim_mqtt_url"),
        config.getini("cloudsim_product_id"),
        os.environ[PRODUCT_KEY],
    )
    name = config.getini("cloudsim_cloud_admin")
    return RemoteCloud(site, load_admin(name, site) if name else None, _serials(config).known)


def _serials(config: pytest.Config) -> SerialNumbers:
    """One store for the run of this process."""
    from sim.rig.identities import SerialNumbers, read_identities

    if _SERIALS not in config.stash:
        worker = os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")
        workers = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
        path = config.getini("cloudsim_identities")
        known = read_identities(config.rootpath / path) if path else None
        config.stash[_SERIALS] = SerialNumbers(int(worker) % workers, workers, known)
    return config.stash[_SERIALS]


@pytest.fixture
def clock(cloud: RigCloud) -> RigClock:
    """The time of this test: `clock.now`, `clock.sleep(60)`."""
    return cloud.clock


@pytest.fixture
def layout(request: pytest.FixtureRequest) -> BoardLayout:
    """The layout of the boards of this test."""
    from sim.flash.layout import load_board

    return load_board(_choice(request.node).board)


@pytest.fixture
def profile(request: pytest.FixtureRequest) -> Profile:
    """The profile of the devices of this test."""
    from cloudsdk.profile import PROFILES

    return PROFILES[_choice(request.node).profile]


@pytest.fixture
def _boards(layout: BoardLayout) -> BoardMaker:
    from sim.rig.boards import BoardMaker

    return BoardMaker(layout, FIRST_VERSION)


@pytest.fixture
def board(_boards: BoardMaker) -> Board:
    """A new board with a bootloader and application 1.0.0, its flash in memory. That of `device`, if there is
    one."""
    return _boards()


@pytest.fixture
def rbl(tmp_path_factory: pytest.TempPathFactory, layout: BoardLayout) -> PackageMaker:
    """Makes packages: `rbl("app", "2.0.0")`."""
    from sim.rig.packages import PackageMaker

    return PackageMaker(tmp_path_factory.mktemp("packages"), layout)


@pytest.fixture
def faults() -> RigFaults:
    """Puts faults on the network and in the flash of the devices: `faults.add("http:reset@1KB..50KB")`."""
    from sim.rig.faults import RigFaults

    return RigFaults()


@pytest.fixture
def device_factory(
    request: pytest.FixtureRequest,
    cloud: RigCloud,
    profile: Profile,
    faults: RigFaults,
    _boards: BoardMaker,
) -> Iterator[Callable[..., RigDevice]]:
    """Makes devices: `device_factory()`, `device_factory(sn="SN7", board=board, power=False)`.

    `profile` is that of the test; what else is given goes to the device (docs/pytest.md).
    """
    made: list[RigDevice] = request.node.stash.setdefault(_DEVICES, [])
    serials = _serials(request.config)

    def make(
        sn: str | None = None,
        *,
        board: Board | None = None,
        profile: Profile = profile,
        power: bool = True,
        **options: Any,
    ) -> RigDevice:
        sn = sn or serials.take()
        device = cloud.make_device(board or _boards(), cloud.register(sn), profile, **options)
        made.append(device)
        faults.attach(device)
        if power:
            device.power_on()
            cloud.wait_online(device)
            device.secrets.learn(device.board)
        return device

    yield make
    errors = []
    for device in made:
        try:
            device.close()
        except Exception as exc:  # the others have to be switched off, too
            errors.append(exc)
        serials.give_back(device.sn)
    if errors:
        raise errors[0]


@pytest.fixture
def device(device_factory: Callable[..., RigDevice], board: Board) -> RigDevice:
    """A device that is online in `cloud`."""
    return device_factory(board=board)


@pytest.fixture
def fleet(cloud: RigCloud, device_factory: Callable[..., RigDevice]) -> Callable[..., RigFleet]:
    """Makes several devices that are online: `fleet(10)`. What else is given goes to `device_factory`."""
    from cloudsdk.errors import UsageError
    from sim.rig.fleet import RigFleet

    def make(count: int, *, power: bool = True, **options: Any) -> RigFleet:
        if not 1 <= count <= MAX_FLEET:
            raise UsageError(f"a fleet has 1 to {MAX_FLEET} devices")
        made = RigFleet([device_factory(power=False, **options) for _ in range(count)])
        if power:
            made.power_on()
            cloud.wait_online(*made)
            for device in made:
                device.secrets.learn(device.board)
        return made

    return make


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.failed and (devices := item.stash.get(_DEVICES, None)):
        _attach(item, report, devices)
    return report


def _attach(item: pytest.Item, report: pytest.TestReport, devices: list[RigDevice]) -> None:
    """Consoles and traffic as sections of the report, and whole as files."""
    from sim.rig.artifacts import directory_of, keep, records, shortened

    chosen = item.config.getoption("--cloudsim-artifacts") or item.config.rootpath / ARTIFACTS
    directory = Path(chosen) / directory_of(item.nodeid)
    found = list(records(devices))
    report.sections += [(each.title, shortened(each.text)) for each in found]
    report.sections.append(("cloudsim", keep(directory, found)))
