"""What the consoles need of the database, for the event loop."""

from collections.abc import Mapping, Sequence
from typing import Protocol

from cloudsdk.datapoints import Topics
from sim.cloud.logs import LogLine
from sim.cloud.service import Service
from sim.cloud.worker import Worker


class Records(Protocol):
    """All methods raise `StorageError` when the database does not work."""

    async def topics(self, device_id: str) -> Topics:
        """Raises `UnknownDeviceError`."""
        ...

    async def login(self, device_id: str, password: bytes) -> bool:
        """Whether this is the MQTT password of the activated device."""
        ...

    async def audit(self, action: str, subject: str, detail: str) -> None: ...

    async def switches(self) -> list[Topics]:
        """The devices whose log is wanted."""
        ...

    async def set_switch(self, device_id: str, now_ms: int, *, on: bool) -> None: ...

    async def append(self, batches: Mapping[str, Sequence[LogLine]]) -> dict[str, list[LogLine]]:
        """Store lines; returns them with their ids."""
        ...


class ServiceRecords:
    """`Records` of a service and its worker."""

    def __init__(self, service: Service, worker: Worker) -> None:
        self._service = service
        self._worker = worker

    async def topics(self, device_id: str) -> Topics:
        return await self._worker.run(self._service.logs.topics, device_id)

    async def login(self, device_id: str, password: bytes) -> bool:
        return await self._worker.run(self._service.login, device_id, password) is not None

    async def audit(self, action: str, subject: str, detail: str) -> None:
        await self._worker.run(self._service.audit_refusal, action, subject, detail)

    async def switches(self) -> list[Topics]:
        return await self._worker.run(self._service.logs.switches)

    async def set_switch(self, device_id: str, now_ms: int, *, on: bool) -> None:
        await self._worker.run(self._service.logs.set_switch, device_id, now_ms, on=on)

    async def append(self, batches: Mapping[str, Sequence[LogLine]]) -> dict[str, list[LogLine]]:
        return await self._worker.run(self._service.logs.append, batches)
