"""OTA tasks (platform 9)."""

from collections.abc import Sequence
from typing import Any, cast

from cloudsdk.ota.task import UpgradeMode
from sim.cloud.client.http import ApiSession
from sim.cloud.shapes import TaskInfo


class TaskCalls(ApiSession):
    def create_task(
        self,
        product: str,
        version: str | None,
        firmware_ids: Sequence[int],
        sns: Sequence[str],
        mode: UpgradeMode = UpgradeMode.FORCED,
    ) -> TaskInfo:
        body: dict[str, Any] = {
            "product": product,
            "firmware_ids": list(firmware_ids),
            "sns": list(sns),
            "mode": mode.name.lower(),
            "version": version,
        }
        return cast(TaskInfo, self._post("/tasks", body))

    def list_tasks(self, product: str | None = None) -> list[TaskInfo]:
        return cast(list[TaskInfo], self._get("/tasks", product=product))

    def show_task(self, task_id: int) -> TaskInfo:
        return cast(TaskInfo, self._get(f"/tasks/{task_id}"))

    def cancel_task(self, task_id: int) -> TaskInfo:
        return cast(TaskInfo, self._post(f"/tasks/{task_id}/cancel"))
