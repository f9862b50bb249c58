"""`cloudsim fleet run` as a process."""

import json
import signal
import subprocess
import sys
from pathlib import Path

from sim.cloud.client import AdminClient
from sim.cloud.server import CloudConfig, CloudServer

ENTRY = "import sys; from sim.cli.main import main; sys.argv[0] = 'cloudsim'; main()"


def command(cloud: CloudServer, product_id: str, *more: str) -> list[str]:
    return [
        *(sys.executable, "-c", ENTRY, "fleet", "run"),
        *("--activation-url", cloud.activation_url, "--mqtt-url", cloud.mqtt_url, "--product-id", product_id),
        *more,
    ]


def test_a_run_ends_with_a_summary_after_ctrl_c(tmp_path: Path) -> None:
    with CloudServer(CloudConfig(tmp_path / "cloud", http_port=0, mqtt_port=0)) as cloud:
        admin = AdminClient(cloud.http_url, cloud.admin_token)
        product = admin.create_product("lamp")
        identities = tmp_path / "sns.csv"
        identities.write_text("sn\nA1\nA2\nA3\n")
        for sn in ("A1", "A2"):
            admin.add_device("lamp", sn)
        admin.close()
        call = command(
            cloud, product["product_id"], "--identities", str(identities), "--count", "2", "--ramp", "spike"
        )
        environment = {"CLOUDSIM_PRODUCT_KEY": product["product_key"], "PYTHONPATH": str(Path.cwd())}
        with subprocess.Popen(
            [*call, "--duration", "30s", "--events", "-", "--json"],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        ) as running:
            assert running.stdout is not None
            events = []
            while [event["event"] for event in events].count("reported") < 2:
                events.append(json.loads(running.stdout.readline()))
            running.send_signal(signal.SIGINT)
            rest, errors = running.communicate(timeout=20)
    assert (running.returncode, errors) == (0, "")
    summary = json.loads(rest.splitlines()[-1])
    assert (summary["devices"], summary["phases"]) == (2, {"online": 2})
    assert {event["sn"] for event in events} == {"A1", "A2"}
    assert product["product_key"] not in rest


def test_wrong_calls_are_told_before_anything_starts(tmp_path: Path) -> None:
    base = ["--activation-url", "http://127.0.0.1:1", "--mqtt-url", "mqtt://127.0.0.1:1", "--product-id", "p"]
    wrong = {
        "fleet.file-limit": ["--pattern", "A#######", "--count", "999999"],
        "fleet.ramp": ["--pattern", "A#", "--count", "1", "--ramp", "x"],
        "fleet.identities": ["--identities", str(tmp_path / "none.csv")],
        "cloudsim.usage": [],
    }
    for code, more in wrong.items():
        done = subprocess.run(
            [sys.executable, "-c", ENTRY, "fleet", "run", *base, *more],
            env={"CLOUDSIM_PRODUCT_KEY": "k", "PYTHONPATH": str(Path.cwd())},
            capture_output=True,
            text=True,
            timeout=30,
        )
        assert (done.returncode, done.stdout) == (2, "")
        assert f"[{code}]" in done.stderr
        assert done.stderr.count("\n") == 1
