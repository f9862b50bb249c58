"""The plugin inside whole runs of pytest."""

import contextlib
import os
import re
import signal
import subprocess
import sys
import time
from importlib.metadata import entry_points
from pathlib import Path

import pytest

from cloudsdk.profile import MANUAL
from sim.flash.layout import load_board, save_layout
from sim.rig.boards import BoardMaker
from sim.rig.local_cloud import LocalCloud

pytest_plugins = ["pytester"]

ROOT = Path(__file__).parents[2]

FAILING = """
def test_it(device):
    device.run("printenv")
    device.expect("never", timeout=0.05)
"""
VIRTUAL = "[pytest]\ncloudsim_clock = virtual"
#: Where the plugin is installed, pytest finds it by itself, and may not be given it twice.
PLUGIN = () if entry_points(group="pytest11", name="cloudsim") else ("-p", "sim.pytest_plugin")
#: In a process of its own, which finds no plugin by itself.
ALONE = (sys.executable, "-m", "pytest", "-p", "sim.pytest_plugin")


@pytest.fixture(scope="module", autouse=True)
def _loaded(tmp_path_factory: pytest.TempPathFactory) -> None:
    """What a run in this process imports is forgotten after it, and extensions in C do not load twice."""
    with LocalCloud(tmp_path_factory.mktemp("loaded") / "data") as cloud:
        device = cloud.make_device(
            BoardMaker(load_board("iot-board"), "1.0.0")(), cloud.register("A"), MANUAL
        )
        device.power_on()
        cloud.wait_online(device)
        device.close()


def run(pytester: pytest.Pytester, *arguments: str) -> pytest.RunResult:
    return pytester.runpytest_inprocess(*PLUGIN, *arguments)


def artifacts(directory: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in directory.rglob("*.txt")}


def test_a_failing_test_shows_and_keeps_its_records(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(FAILING)
    result = run(pytester)
    result.assert_outcomes(failed=1)
    result.stdout.re_match_lines(
        [
            r"E .*ExpectationError: device RIG\d+: 'never' did not come: not within 0.05 s; the console ends",
            r"-+ console of device RIG\d+ -+",
            r"-+ traffic of device RIG\d+ -+",
            r".*-> POST /devices/active",
            r".*-> PUBLISH /cloud/",
            r"whole records are in .*cloudsim-artifacts",
        ]
    )
    (directory,) = (pytester.path / "cloudsim-artifacts").iterdir()
    assert re.fullmatch(r"[\w.=-]+-[0-9a-f]{8}", directory.name)
    kept = artifacts(directory)
    assert [name.split("-")[0] for name in sorted(kept)] == ["console", "traffic"]
    console = next(text for name, text in kept.items() if name.startswith("console"))
    assert "cld_pwd=********" in console
    assert "cld_dkey=********" in result.stdout.str()
    assert not re.search(r"cld_(dkey|pwd)=[0-9a-f]", console + result.stdout.str())


def test_a_device_that_does_not_come_online_shows_its_console(pytester: pytest.Pytester) -> None:
    pytester.makeini(VIRTUAL)
    pytester.makepyfile(
        """
        import pytest

        @pytest.fixture
        def lost(device_factory, cloud):
            made = device_factory(power=False)
            made.power_on()
            made.expect("CloudSDK package")
            cloud.wait_for(made, lambda: False, "it is not there", timeout=60)

        def test_it(lost):
            pass
        """
    )
    result = run(pytester, "--cloudsim-artifacts", "kept")
    result.assert_outcomes(errors=1)
    result.stdout.re_match_lines([r"E .*waits: it is not there within 60 s; the console ends with"])
    assert artifacts(pytester.path / "kept")


def test_a_passing_test_leaves_nothing(pytester: pytest.Pytester) -> None:
    pytester.makeini(VIRTUAL)
    pytester.makepyfile("def test_it(device): pass")
    run(pytester).assert_outcomes(passed=1)
    assert not (pytester.path / "cloudsim-artifacts").exists()


@pytest.mark.parametrize(
    ("marker", "message"),
    [
        ("flavour='x'", "takes board, profile, broker, clock by name, not 'flavour'"),
        ("'iot-board'", "not an argument without a name"),
        ("broker='x'", "broker is embedded or mosquitto, not 'x'"),
        ("clock='x'", "clock is real or virtual, not 'x'"),
        ("profile='x'", "profile is .*, not 'x'"),
        ("board='x'", "no board 'x': neither a file nor one of .*iot-board"),
        ("board='missing.yaml'", "no board '.*missing.yaml'"),
    ],
)
def test_a_wrong_marker_ends_the_run_before_any_test(
    pytester: pytest.Pytester, marker: str, message: str
) -> None:
    pytester.makepyfile(
        f"""
        import pytest

        def test_fine():
            pass

        @pytest.mark.cloudsim({marker})
        def test_it():
            pass
        """
    )
    result = run(pytester)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.re_match_lines([rf"ERROR: .*::test_it: .*{message}"])
    assert "Traceback" not in result.stderr.str() + result.stdout.str()


@pytest.mark.parametrize(
    ("ini", "message"),
    [
        ("cloudsim_cloud_scope = class", "cloudsim_cloud_scope is function, module, session, not 'class'"),
        ("cloudsim_cloud_url = http://127.0.0.1:1", "all three"),
        ("cloudsim_profile = x", "profile is .*, not 'x'"),
        (
            "cloudsim_cloud_url = http://127.0.0.1:1\ncloudsim_mqtt_url = mqtt://127.0.0.1:1\n"
            "cloudsim_product_id = x",
            r".*put it into \$CLOUDSIM_PRODUCT_KEY",
        ),
    ],
)
def test_a_wrong_option_ends_the_run(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, ini: str, message: str
) -> None:
    monkeypatch.delenv("CLOUDSIM_PRODUCT_KEY", raising=False)
    pytester.makeini(f"[pytest]\n{ini}")
    pytester.makepyfile("def test_it(device): pass")
    result = run(pytester)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.re_match_lines([rf"ERROR: .*{message}"])


def test_a_shared_cloud_is_one_and_has_no_other_marker(pytester: pytest.Pytester) -> None:
    pytester.makeini("[pytest]\ncloudsim_cloud_scope = session\ncloudsim_profile = v2.0.0")
    pytester.makepyfile(
        """
        seen = []

        def test_one(cloud, device):
            seen.append((cloud, device.sn))
            assert device.profile.name == "v2.0.0"

        def test_two(cloud, device):
            assert seen[0][0] is cloud and seen[0][1] != device.sn
        """
    )
    run(pytester).assert_outcomes(passed=2)
    pytester.makepyfile("import pytest\n@pytest.mark.cloudsim(clock='virtual')\ndef test_it(cloud): pass")
    result = run(pytester)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.re_match_lines([r".*broker and clock are those of the session"])


def test_a_board_of_ones_own_is_found_from_the_root(pytester: pytest.Pytester) -> None:
    save_layout(load_board("art-pi"), pytester.path / "own.yaml")
    pytester.makeini("[pytest]\ncloudsim_board = own.yaml\ncloudsim_clock = virtual")
    pytester.makepyfile(
        **{"sub/test_own": "def test_it(device): assert device.board.layout.name == 'art-pi'"}
    )
    run(pytester).assert_outcomes(passed=1)


REMOTE_CONFTEST = """
import os
from pathlib import Path
from sim.cloud.rollout import Selection
from sim.rig.local_cloud import LocalCloud

class Admin:
    def __init__(self, site):
        self.site = site
        self.cloud = CLOUDS[0]

    def upgrade(self, sns, packages, version, mode):
        ids = [self.cloud.admin.upload_firmware(path, self.site.product_id)["id"] for path in packages]
        chosen = Selection(tuple(sns))
        return self.cloud.admin.create_task(
            self.site.product_id, firmware_ids=ids, selection=chosen, mode=mode, version=version
        )["id"]

    def progress(self, task, sn):
        (row,) = self.cloud.admin.show_task(task)["devices"]
        return "done" if row["state"] == "done" else "open"

CLOUDS = []

def pytest_configure(config):
    cloud = LocalCloud(Path("data").resolve())
    cloud.__enter__()
    CLOUDS.append(cloud)
    port = cloud.register("KNOWN1")
    Path("known.csv").write_text("name,sn\\nfirst,KNOWN1\\n")
    os.environ["CLOUDSIM_PRODUCT_KEY"] = port.product_key
    given = {"cloud_url": port.activation_url, "mqtt_url": port.mqtt_url, "product_id": port.product_id}
    for name, value in given.items():
        config._inicache[f"cloudsim_{name}"] = value

def pytest_unconfigure():
    CLOUDS[0].__exit__()
"""


def test_a_real_cloud(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLOUDSIM_PRODUCT_KEY", "")
    # The run inside is one of its own, whoever runs this test.
    monkeypatch.delenv("PYTEST_XDIST_WORKER", raising=False)
    monkeypatch.delenv("PYTEST_XDIST_WORKER_COUNT", raising=False)
    pytester.makeconftest(REMOTE_CONFTEST)
    pytester.makeini(
        "[pytest]\ncloudsim_identities = known.csv\ncloudsim_cloud_admin = conftest:Admin\npythonpath = ."
    )
    pytester.makepyfile(
        """
        import pytest
        from sim.rig.errors import IdentitiesError

        def test_upgrade(cloud, device, rbl):
            assert device.sn == "KNOWN1"
            cloud.upgrade(device, app=rbl("app", "2.0.0"))
            assert device.installed() == "2.0.0"

        def test_all_in_use(device, device_factory):
            with pytest.raises(IdentitiesError):
                device_factory()
        """
    )
    run(pytester).assert_outcomes(passed=2)


def test_workers_of_xdist_do_not_meet(pytester: pytest.Pytester) -> None:
    pytest.importorskip("xdist")
    pytester.makepyfile(
        """
        import pytest

        @pytest.mark.parametrize("number", range(4))
        def test_it(device, number, tmp_path_factory):
            seen = tmp_path_factory.getbasetemp().parent / "seen"
            seen.mkdir(exist_ok=True)
            (seen / device.sn).touch(exist_ok=False)
            assert number < 2
        """
    )
    pytester.makepyfile(
        test_wrong="""
        import pytest

        @pytest.mark.cloudsim(clock="x")
        def test_it():
            pass
        """
    )
    result = subprocess.run(
        [*ALONE, "-p", "xdist", "-n", "2", "--basetemp", "base", "-q"],
        cwd=pytester.path,
        env={**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert "2 failed, 2 passed, 1 error" in result.stdout, result.stdout + result.stderr
    assert "test_wrong.py::test_it: clock is real or virtual, not 'x'" in result.stdout
    assert len(list((pytester.path / "cloudsim-artifacts").iterdir())) == 2
    assert len(list((pytester.path / "base/seen").iterdir())) == 4


def processes_of(directory: Path) -> list[int]:
    """Those whose command line names a directory."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            if os.fsencode(directory) in path.read_bytes():
                found.append(int(path.parent.name))
    return found


def test_ctrl_c_leaves_no_thread_and_no_process(pytester: pytest.Pytester) -> None:
    pytester.makeconftest(
        """
        import threading
        from pathlib import Path

        def pytest_unconfigure():
            names = [each.name for each in threading.enumerate() if each is not threading.main_thread()]
            Path("threads.txt").write_text("\\\\n".join(names))
        """
    )
    pytester.makepyfile(
        """
        import pytest
        from pathlib import Path

        @pytest.mark.cloudsim(broker="mosquitto")
        def test_it(fleet):
            devices = fleet(2)
            Path("ready.txt").touch()
            devices.expect("never", timeout=60)
        """
    )
    base = pytester.path / "base"
    process = subprocess.Popen(
        [*ALONE, "-q", f"--basetemp={base}"],
        cwd=pytester.path,
        env={**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        deadline = time.monotonic() + 40
        while not (pytester.path / "ready.txt").exists():
            assert process.poll() is None, process.stdout and process.stdout.read()
            assert time.monotonic() < deadline
            time.sleep(0.02)
        assert len(processes_of(base)) > 1  # the broker
        os.kill(process.pid, signal.SIGINT)
        output, _ = process.communicate(timeout=60)
        assert process.returncode == pytest.ExitCode.INTERRUPTED, output
        assert not processes_of(base)
        assert (pytester.path / "threads.txt").read_text() == ""
    finally:
        for left in processes_of(base):
            os.kill(left, signal.SIGKILL)
        process.wait(5)


@pytest.mark.parametrize("page", ["README.md", "docs/pytest.md"])
def test_the_examples_run(pytester: pytest.Pytester, page: str) -> None:
    (code,) = re.findall(r"^```python test\n(.*?)^```$", (ROOT / page).read_text(), re.MULTILINE | re.DOTALL)
    pytester.makepyfile(code)
    run(pytester).assert_outcomes(passed=1)


def test_the_plugin_alone_imports_nothing_of_the_simulator() -> None:
    code = "import sys, sim.pytest_plugin; print(*sys.modules)"
    command = [sys.executable, "-c", code]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    found = {name for name in result.stdout.split() if name.split(".")[0] in ("sim", "cloudsdk")}
    assert found == {"cloudsdk", "cloudsdk.errors", "sim", "sim.pytest_plugin", "sim.rig", "sim.rig.choice"}
