"""Which way imports run, and what pure modules may not know (docs/architecture.md)."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

#: Modules that decide and never wait: no sockets, threads, event loops or clients.
PURE = (
    "cloudsdk/activation.py",
    "cloudsdk/cjson.py",
    "cloudsdk/console.py",
    "cloudsdk/datapoints.py",
    "cloudsdk/env.py",
    "cloudsdk/errors.py",
    "cloudsdk/events.py",
    "cloudsdk/fal.py",
    "cloudsdk/limits.py",
    "cloudsdk/mqtt",
    "cloudsdk/ota",
    "cloudsdk/port.py",
    "cloudsdk/profile.py",
    "cloudsdk/sealed_env.py",
    "cloudsdk/session.py",
    "cloudsdk/shell",
    "cloudsdk/tls.py",
    "cloudsdk/upgrade_policy.py",
    "sim/bootloader",
    "sim/faults/powercut/html_report.py",
    "sim/faults/powercut/junit.py",
    "sim/faults/powercut/model.py",
    "sim/faults/powercut/results.py",
    "sim/faults/powercut/summary.py",
    "sim/conformance/case.py",
    "sim/conformance/reports.py",
    "sim/conformance/results.py",
    "sim/conformance/xfails.py",
    "sim/boot_log.py",
    "sim/console.py",
    "sim/cloud/broker/core.py",
    "sim/cloud/broker/retained.py",
    "sim/cloud/device_table.py",
    "sim/cloud/rate.py",
    "sim/cloud/broker/session.py",
    "sim/cloud/broker/subscriptions.py",
    "sim/cloud/web/charts.py",
    "sim/cloud/web/formats.py",
    "sim/cloud/web/i18n.py",
    "sim/cloud/web/terminal.py",
    "sim/cloud/web/texts",
    *(
        f"sim/cloud/gateways/{name}.py"
        for name in ("decoders", "greeting", "intake", "limits", "log_control")
    ),
    "sim/cloud/messages.py",
    "sim/cloud/notices.py",
    "sim/cloud/throttle.py",
    "sim/cloud/pages.py",
    "sim/cloud/rollout.py",
    "sim/cloud/versions.py",
    "sim/faults/network/duplicate.py",
    "sim/faults/network/specs.py",
    "sim/flash",
    "sim/msh",
    *(f"sim/rig/{name}.py" for name in ("artifacts", "choice", "cuts", "secrets", "virtual_faults")),
    *(
        f"sim/traffic/{name}.py"
        for name in (
            "addresses",
            "bindings",
            "compare",
            "conversation",
            "events",
            "fields",
            "filters",
            "http1",
            "identifiers",
            "mask",
            "messages",
            "pcapng",
            "script",
            "transcript",
        )
    ),
    *(
        f"sim/virtual/{name}.py"
        for name in (
            "clock",
            "cloud",
            "device",
            "faults",
            "log",
            "network",
            "releases",
            "servers",
            "trial",
            "upgrades",
            "world",
        )
    ),
    *(
        f"sim/fleet/{name}.py"
        for name in (
            "errors",
            "events",
            "flash",
            "histogram",
            "http_response",
            "identities",
            "metrics",
            "ramps",
        )
    ),
    *(
        f"sim/scenario/{name}.py"
        for name in (
            "errors",
            "explain",
            "html_report",
            "junit",
            "measure",
            "models",
            "plots",
            "results",
            "series",
            "shell",
            "source",
            "units",
        )
    ),
)
IMPURE = {
    "asyncio",
    "threading",
    "socket",
    "selectors",
    "requests",
    "urllib3",
    "paho",
    "time",
    "random",
    "secrets",
}
#: Each room with what it may not import; `cli` at the end sees everything.
FORBIDDEN = {
    "cloudsdk": ("sim", "flash_images"),
    "flash_images": ("sim", "cloudsdk"),
    "sim/flash": ("sim.bootloader", "sim.board", "sim.cloud", "sim.cli", "sim.device", "sim.demo"),
    "sim/bootloader": ("sim.board", "sim.cloud", "sim.cli", "sim.device", "sim.demo"),
    "sim/msh": (
        "sim.board",
        "sim.cloud",
        "sim.cli",
        "sim.device",
        "sim.demo",
        "sim.application",
        "sim.console",
    ),
    "sim/cloud": ("sim.flash", "sim.bootloader", "sim.board", "sim.device", "sim.demo", "sim.cli"),
    "sim/faults/network": ("sim.board", "sim.cloud", "sim.cli", "sim.device", "sim.demo"),
    "sim/board.py": ("sim.cloud", "sim.cli", "sim.device", "sim.demo"),
    "sim/application.py": ("sim.cloud", "sim.cli", "sim.device", "sim.demo"),
    "sim/device.py": ("sim.cloud", "sim.cli", "sim.demo"),
    "sim/offline.py": ("sim.cloud", "sim.cli", "sim.device", "sim.demo"),
    "sim/faults": ("sim.cloud", "sim.cli", "sim.device", "sim.demo"),
    "sim/boot_log.py": ("sim.cloud", "sim.cli", "sim.demo", "sim.device", "sim.application", "sim.board"),
    "sim/console.py": ("sim.cloud", "sim.cli", "sim.demo", "sim.device", "sim.application", "sim.board"),
    "sim/traffic": ("sim.board", "sim.cloud", "sim.cli", "sim.device", "sim.demo"),
    "sim/virtual": ("sim.cloud", "sim.cli", "sim.device", "sim.demo"),
    "sim/rig": ("sim.cli", "sim.demo"),
    "sim/conformance": ("sim.cli", "sim.demo", "sim.virtual"),
    "sim/demo.py": ("sim.cli",),
    "sim/fleet": (
        "sim.application",
        "sim.cli",
        "sim.cloud",
        "sim.console",
        "sim.demo",
        "sim.device",
        "sim.faults",
        "sim.msh",
        "sim.offline",
        "sim.scenario",
        "sim.virtual",
    ),
    "sim/scenario": (
        "sim.application",
        "sim.cli",
        "sim.console",
        "sim.demo",
        "sim.device",
        "sim.faults",
        "sim.msh",
        "sim.offline",
        "sim.virtual",
    ),
}


def modules(room: str) -> list[Path]:
    path = ROOT / room
    return [path] if path.suffix == ".py" else sorted(path.rglob("*.py"))


def imports(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            found.add(node.module or "")
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def violations(path: Path, forbidden: tuple[str, ...] | set[str]) -> list[str]:
    return [
        name
        for name in sorted(imports(path))
        if any(name == root or name.startswith(root + ".") for root in forbidden)
    ]


@pytest.mark.parametrize("room", FORBIDDEN)
def test_imports_run_one_way(room: str) -> None:
    assert modules(room)
    bad = {str(path): found for path in modules(room) if (found := violations(path, FORBIDDEN[room]))}
    assert not bad


@pytest.mark.parametrize("room", PURE)
def test_pure_modules_import_no_io(room: str) -> None:
    assert modules(room)
    bad = {str(path): found for path in modules(room) if (found := violations(path, IMPURE))}
    assert not bad


def test_one_module_of_a_scenario_knows_the_reference_cloud() -> None:
    found = [path.stem for path in modules("sim/scenario") if violations(path, ("sim.cloud",))]
    assert found == ["reference_cloud"]


def test_a_violation_is_found(tmp_path: Path) -> None:
    planted = tmp_path / "planted.py"
    planted.write_text("from sim.cloud import store\nimport asyncio.subprocess\n")
    assert violations(planted, ("sim.cloud",)) == ["sim.cloud", "sim.cloud.store"]
    assert violations(planted, IMPURE) == ["asyncio.subprocess"]


def test_light_commands_need_no_extra() -> None:
    """`cloudsim rbl`, `board` and `device` work without the cloud's packages."""
    heavy = {"alembic", "fastapi", "h11", "nicegui", "prometheus_client", "psycopg", "pydantic"}
    heavy |= {"sqlalchemy", "starlette", "uvicorn"}
    board = [path.stem for path in ROOT.glob("sim/cli/board*.py")]
    for room in (
        "cloudsdk",
        "sim/flash",
        "sim/bootloader",
        "sim/board.py",
        "sim/application.py",
        "sim/device.py",
        "sim/offline.py",
        "sim/faults",
        "sim/fleet",
        "sim/traffic",
    ):
        assert not {str(path) for path in modules(room) if violations(path, heavy)}
    light = (
        "main",
        "output",
        "keys",
        "rbl",
        "rbl_pack",
        "rbl_lint",
        "device",
        "faults",
        "fleet",
        "proxy",
        "fleet_scenario",
        "scenario",
    )
    cloud = [f"cloud/{path.stem}" for path in ROOT.glob("sim/cli/cloud/*.py")]
    more = (
        "conform",
        "port_options",
        "certs",
        "powercut",
        "powercut_corpus",
        "powercut_subject",
        "record",
        "replay",
        "diff",
    )
    recordings = ("traffic", "traffic_options")
    for name in (*light, *board, *cloud, *more, *recordings):
        tree = ast.parse((ROOT / f"sim/cli/{name}.py").read_text())
        top = [node for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)]
        names = {alias.name for node in top if isinstance(node, ast.Import) for alias in node.names}
        names |= {node.module or "" for node in top if isinstance(node, ast.ImportFrom)}
        assert not {found for found in names if found.split(".")[0] in heavy or found == "sim.demo"}
