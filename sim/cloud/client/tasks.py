"""OTA tasks (platform 9)."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any, cast

from cloudsdk.ota.task import UpgradeMode
from sim.cloud.client.http import ApiSession
from sim.cloud.rollout import AT_ONCE, Rollout, Selection
from sim.cloud.shapes import DeviceTaskInfo, Page, TaskDeviceInfo, TaskInfo


class TaskCalls(ApiSession):
    def create_task(
        self,
        product: str,
        *,
        firmware_ids: Sequence[int],
        selection: Selection,
        mode: UpgradeMode = UpgradeMode.FORCED,
        version: str | None = None,
        rollout: Rollout = AT_ONCE,
        starts_at: int | None = None,
        ends_at: int | None = None,
    ) -> TaskInfo:
        body: dict[str, Any] = {
            "product": product,
            "firmware_ids": list(firmware_ids),
            "selection": asdict(selection),
            "mode": mode.name.lower(),
            "version": version,
            "rollout": asdict(rollout),
            "starts_at": starts_at,
            "ends_at": ends_at,
        }
        return cast(TaskInfo, self._post("/tasks", body))

    def list_tasks(self, product: str | None = None) -> list[TaskInfo]:
        return cast(list[TaskInfo], self._get("/tasks", product=product))

    def page_tasks(
        self, product: str | None = None, state: str | None = None, *, after: int = 0, limit: int = 100
    ) -> Page[TaskInfo]:
        found = self._get("/tasks/page", product=product, state=state, after=after, limit=limit)
        return cast(Page[TaskInfo], found)

    def show_task(self, task_id: int) -> TaskInfo:
        return cast(TaskInfo, self._get(f"/tasks/{task_id}"))

    def page_task_devices(
        self, task_id: int, state: str | None = None, *, after: int = 0, limit: int = 100
    ) -> Page[TaskDeviceInfo]:
        found = self._get(f"/tasks/{task_id}/devices", state=state, after=after, limit=limit)
        return cast(Page[TaskDeviceInfo], found)

    def tasks_of_device(self, sn: str, *, product: str | None = None) -> list[DeviceTaskInfo]:
        device_id = self._get("/devices/find", sn=sn, product=product)["device_id"]
        return cast(list[DeviceTaskInfo], self._get(f"/devices/{device_id}/tasks"))

    def pause_task(self, task_id: int) -> TaskInfo:
        return cast(TaskInfo, self._post(f"/tasks/{task_id}/pause"))

    def resume_task(self, task_id: int) -> TaskInfo:
        return cast(TaskInfo, self._post(f"/tasks/{task_id}/resume"))

    def cancel_task(self, task_id: int) -> TaskInfo:
        return cast(TaskInfo, self._post(f"/tasks/{task_id}/cancel"))

    def retry_task(self, task_id: int) -> TaskInfo:
        return cast(TaskInfo, self._post(f"/tasks/{task_id}/retry"))
