"""A small device in the manner of CloudSDK, with mistakes that can be planted."""

import contextlib
import io
import json
import threading
import time
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from cloudsdk.activation import ActivationError, Credentials, parse_response, request_body
from cloudsdk.cjson import member
from cloudsdk.datapoints import DataPoint, Topics
from cloudsdk.errors import CloudSdkError
from cloudsdk.mqtt.packets import Publish, ReturnCode
from cloudsdk.ota.package import failures, read_package
from cloudsdk.ota.transport import cipher, rounded
from sim.conformance.cloud.http import exchange, get, post_head
from sim.conformance.cloud.mqtt_device import MqttDevice
from sim.conformance.scope import Scope
from sim.conformance.stream import Address

PAUSE = 0.05  # seconds between attempts
BLOCK = 1024
ATTEMPTS = 12


class CrashedError(Exception):
    pass


class Toy:
    """Runs in a thread until it is killed."""

    output = ""

    def __init__(self, scope: Scope, settings: Mapping[str, str], faults: Collection[str]) -> None:
        self._faults = faults
        self._told = settings
        self._scope = Scope(60)
        scope.add(self.kill)
        self._file = Path(settings["state"], "state.json")
        self._state: dict[str, Any] = {"version": "0.0", "installed": {}, "partial": ""}
        if self._file.exists() and "forgets" not in faults:
            self._state = json.loads(self._file.read_text())
        self._pending: Any = None
        self._answered = 0
        self._tasks = 0
        self._thread = threading.Thread(target=self._guard, daemon=True)
        self._thread.start()

    @property
    def ended(self) -> bool:
        return False

    def kill(self) -> None:
        self._scope.close()
        if self._thread is not threading.current_thread():
            self._thread.join(5)

    def _save(self) -> None:
        self._file.write_text(json.dumps(self._state))

    def _guard(self) -> None:
        with contextlib.suppress(CloudSdkError, OSError, CrashedError):
            self._activate()
            while True:
                self._connection()
                time.sleep(PAUSE)

    def _activate(self) -> None:
        told = self._told
        address = Address.of(told["activation_url"])
        while "id" not in self._state:
            body = request_body(product_id=told["product_id"], product_key=told["product_key"], sn=told["sn"])
            if "bad-sign" in self._faults:
                body = body.replace(b'"Sign":"', b'"Sign":"0')
            response = exchange(self._scope, address, post_head(address, len(body)), body)
            if response.status == 200:
                try:
                    found = parse_response(response.body)
                except ActivationError:
                    found = Credentials("0" * 16, "0" * 32) if "believes-200" in self._faults else None
                if found is not None:
                    self._state.update(id=found.device_id, key=found.device_key)
                    self._save()
                    return
            if "no-retry" in self._faults:
                raise CrashedError
            time.sleep(PAUSE)

    def _connection(self) -> None:
        told, faults = self._told, self._faults
        credentials = Credentials(self._state["id"], self._state["key"])
        topics = Topics(told["product_id"], credentials.device_id)
        device = MqttDevice(self._scope, Address.of(told["mqtt_url"]), topics, credentials)
        if device.hello(password=b"0" if "wrong-password" in faults else None) is not ReturnCode.ACCEPTED:
            if "gives-up" in faults:
                raise CrashedError
            return
        if "speaks-first" in faults:
            device.online()
        device.subscribe()
        if "no-vendor" in faults:
            device.send(Publish(topics.publish(DataPoint.ONLINE), b'{"data":[{"DP":1000,"value":true}]}', 1))
        else:
            device.online()
        self._serve(device)
        if "no-reconnect" in faults and not self._pending:
            raise CrashedError

    def _serve(self, device: MqttDevice) -> None:
        wanted = (DataPoint.VERSION_QUERY, DataPoint.OTA_TASK)
        while not device.ended:
            point = device.any_point(wanted, 0.2)
            if "dies-of-rubbish" in self._faults and any(m.payload == b"null" for m in device.messages):
                raise CrashedError
            if point is None:
                continue
            if point.dp == DataPoint.VERSION_QUERY:
                self._answered += 1
                if "mute" not in self._faults or self._answered == 1:
                    device.report(self._state["version"])
            elif self._task(device, point.value):
                device.vanish()  # reset
                return

    def _task(self, device: MqttDevice, task: Any) -> bool:
        """True if the board is reset."""
        items = member(task, "firmwares")
        if not isinstance(items, list) or not items or member(task, "version") is None:
            return False
        self._tasks += 1
        if "first-task-only" in self._faults and self._tasks > 1:
            return False
        installed = self._state["installed"]
        for index, item in enumerate(items):
            name, version = str(member(item, "type")), str(member(item, "file_version"))
            if installed.get(name) == version and "always-downloads" not in self._faults:
                continue
            if version < installed.get(name, "1.0.0") and "newer-only" in self._faults:
                return False
            if not self._download(device, item, name, version):
                return False
            installed[name] = version
            if index == len(items) - 1 or "reports-early" in self._faults:
                self._state["version"] = member(task, "version")
            self._state["partial"] = ""
            self._save()
            return True
        self._state["version"] = member(task, "version")
        self._save()
        return False

    def _download(self, device: MqttDevice, item: Any, name: str, version: str) -> bool:
        """True if the package is here and sound."""
        size = member(item, "file_size")
        if not isinstance(size, int) or size > 1 << 20:
            return "any-size" in self._faults
        url = str(member(item, "file_url"))
        have = bytes.fromhex(self._state["partial"]) if self._state.get("url") == url else b""
        tag = self._state.get("tag")
        for _ in range(ATTEMPTS):
            whole, have, tag = self._attempt(url, rounded(size), have, tag)
            if whole is not None:
                return self._sound(whole, size, name, version)
            self._state.update(partial="" if "ram-only" in self._faults else have.hex(), url=url, tag=tag)
            self._save()
            if "one-attempt" in self._faults:
                return False
            time.sleep(0 if "storm" in self._faults else 2 * PAUSE)
            if device.ended or (point := device.any_point((DataPoint.OTA_TASK,), 0.02)) is None:
                continue
            return self._task(device, point.value)
        return False

    def _attempt(self, url: str, size: int, have: bytes, tag: Any) -> tuple[bytes | None, bytes, Any]:
        """The whole body, or what is kept of it with its tag."""
        address = Address.of(url)
        fields = [f"Range: bytes={len(have)}-"] if have and "no-range" not in self._faults else []
        response = exchange(self._scope, address, get(address, *fields))
        while response.status == 302 and "storm" in self._faults:
            response = exchange(self._scope, address, get(address))
        good = (
            response.status == 206
            and (response.field("Content-Range") or "").startswith(f"bytes {len(have)}-")
            and response.field("ETag") == tag
        )
        if fields and (good or "splices" in self._faults):
            body = have + response.body
        elif response.status == 200 and not fields:
            body = response.body
        else:
            kept = response.status >= 500
            return None, have if kept else b"", tag if kept else None
        if len(body) >= size or "takes-short" in self._faults:
            return body[:size], b"", None
        return None, body[: len(body) // BLOCK * BLOCK], response.field("ETag")

    def _sound(self, body: bytes, size: int, name: str, version: str) -> bool:
        plain = cipher(self._state["key"]).decryptor().update(body[: len(body) // 16 * 16])[:size]
        if "no-check" in self._faults:
            return True
        package = read_package(io.BytesIO(plain))
        if failures(package.verify()):
            return False
        header = package.header
        if header.name.rstrip(b"\0") != name.encode() and "any-name" not in self._faults:
            return False
        return header.version.rstrip(b"\0") == version.encode() or "any-version" in self._faults
