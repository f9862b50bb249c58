"""A reference cloud for one run, in a process of its own. The only module here that knows `sim.cloud`."""

import contextlib
import json
import os
import select
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Literal

from sim.cloud import orphan
from sim.cloud.client import AdminClient
from sim.cloud.datadir import DataDir
from sim.cloud.rollout import Selection
from sim.scenario.cloud import Endpoints, ProductIdentity
from sim.scenario.errors import ReferenceCloudError

START_TIMEOUT: Final = 60.0  # seconds until it has said where it listens
STOP_TIMEOUT: Final = 15.0  # seconds until it is killed
MOST_OF_TASK: Final = 10_000  # devices of one task
_MOST_FACTS: Final = 64 * 1024  # bytes of its first line
_PROGRAM: Final = "from sim.cli.main import main; main()"


class RunningCloud:
    """A reference cloud that runs already. Implements `sim.scenario.cloud.RunCloud`.

    A population is a product of its name, which must be new.
    """

    def __init__(self, admin: AdminClient, activation_url: str, mqtt_url: str) -> None:
        self._admin = admin
        self._activation_url = activation_url
        self._mqtt_url = mqtt_url

    def start(self, populations: Mapping[str, Sequence[str]]) -> Endpoints:
        products = {name: self._product(name, sns) for name, sns in populations.items()}
        return Endpoints(self._activation_url, self._mqtt_url, products)

    def create_task(self, population: str, package: bytes, version: str, sns: Sequence[str]) -> None:
        with tempfile.TemporaryDirectory(prefix="cloudsim-fleet-") as folder:
            path = Path(folder) / "package.rbl"
            path.write_bytes(package)
            firmware = self._admin.upload_firmware(path, population, allow_lower=True)["id"]
        for first in range(0, len(sns), MOST_OF_TASK):
            self._admin.create_task(
                population,
                firmware_ids=[firmware],
                selection=Selection(tuple(sns[first : first + MOST_OF_TASK])),
                version=version,
            )

    def failure(self) -> str | None:
        return None

    def stop(self) -> None:
        """It goes on."""
        self._admin.close()

    def _product(self, name: str, sns: Sequence[str]) -> ProductIdentity:
        product = self._admin.create_product(name, device_limit=len(sns))
        for sn in sns:
            self._admin.add_device(name, sn)
        return ProductIdentity(product["product_id"], product["product_key"])


class ReferenceCloud:
    """`cloudsim cloud serve` with a temporary data directory. Implements `sim.scenario.cloud.RunCloud`."""

    def __init__(self, broker: Literal["embedded", "mosquitto"]) -> None:
        self._broker = broker
        self._clean_up = contextlib.ExitStack()
        self._process: subprocess.Popen[bytes] | None = None
        self._log: Path | None = None
        self._running: RunningCloud | None = None

    def start(self, populations: Mapping[str, Sequence[str]]) -> Endpoints:
        folder = Path(self._clean_up.enter_context(tempfile.TemporaryDirectory(prefix="cloudsim-fleet-")))
        try:
            facts = self._launch(folder)
            endpoint = DataDir(folder / "cloud").endpoint()
            if endpoint is None:
                raise ReferenceCloudError("the reference cloud ended as soon as it had started")
            admin = AdminClient(endpoint.admin_url, endpoint.admin_token)
            self._running = RunningCloud(admin, str(facts["activation_url"]), str(facts["mqtt_url"]))
            return self._running.start(populations)
        except BaseException:
            self.stop()
            raise

    def create_task(self, population: str, package: bytes, version: str, sns: Sequence[str]) -> None:
        if self._running is None:
            raise ReferenceCloudError("the reference cloud does not run")
        self._running.create_task(population, package, version, sns)

    def failure(self) -> str | None:
        status = self._process.poll() if self._process is not None else None
        return (
            None if status is None else f"the reference cloud ended with status {status}{self._last_words()}"
        )

    def stop(self) -> None:
        if self._running is not None:
            self._running.stop()
            self._running = None
        process, self._process = self._process, None
        if process is not None:
            process.terminate()
            try:
                process.wait(STOP_TIMEOUT)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            if process.stdout is not None:
                process.stdout.close()
        self._clean_up.close()

    def _launch(self, folder: Path) -> dict[str, Any]:
        arguments = ["cloud", "serve", "--data", str(folder / "cloud"), "--json", "--broker", self._broker]
        arguments += ["--no-console"]
        # The kernel ends it with the thread that started it: asyncio keeps that one until its loop ends.
        # Ports 0: whatever is free. A session of its own: Ctrl-C is for this program, which then ends it.
        program = [
            sys.executable,
            "-c",
            _PROGRAM,
            *arguments,
            "--http-port",
            "0",
            "--mqtt-port",
            "0",
            "--no-console",
        ]
        self._log = folder / "cloud.log"
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, str(orphan.__file__), str(os.getpid()), *program],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
                start_new_session=True,
            )
        try:
            facts = json.loads(self._first_line())
        except ValueError:
            raise ReferenceCloudError(f"the reference cloud did not start{self._last_words()}") from None
        if not isinstance(facts, dict):
            raise ReferenceCloudError("the reference cloud did not say where it is")
        return facts

    def _first_line(self) -> bytes:
        """What it says when it listens; less when it ends before, or is too slow."""
        pipe = self._process.stdout if self._process is not None else None
        if pipe is None:
            return b""
        deadline = time.monotonic() + START_TIMEOUT
        line = b""
        while not line.endswith(b"\n") and len(line) < _MOST_FACTS:
            ready, _, _ = select.select([pipe], [], [], max(0.0, deadline - time.monotonic()))
            piece = os.read(pipe.fileno(), 4096) if ready else b""
            if not piece:
                break
            line += piece
        return line

    def _last_words(self) -> str:
        try:
            text = self._log.read_text(errors="replace")[-2000:].strip() if self._log is not None else ""
        except OSError:
            text = ""
        return f": {text.splitlines()[-1]}" if text else ""
