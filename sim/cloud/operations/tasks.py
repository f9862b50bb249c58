"""OTA tasks (platform 9)."""

from collections.abc import Sequence

from cloudsdk.ota.task import UpgradeMode
from sim.cloud.model import campaigns
from sim.cloud.model.work import Scope
from sim.cloud.operations.base import BaseOperations
from sim.cloud.shapes import TaskInfo


class TaskOperations(BaseOperations):
    def create_task(
        self,
        product: str,
        version: str | None,
        firmware_ids: Sequence[int],
        sns: Sequence[str],
        mode: UpgradeMode = UpgradeMode.FORCED,
    ) -> TaskInfo:
        """Firmwares are installed in the order given; without a version the task gets the next free one."""
        with self._work(Scope.TASKS) as work:
            return campaigns.create_task(
                work,
                self.core.public_url,
                product,
                version=version,
                firmware_ids=firmware_ids,
                sns=sns,
                mode=mode,
            )

    def list_tasks(self, product: str | None = None) -> list[TaskInfo]:
        with self._work(Scope.READ) as work:
            return campaigns.list_tasks(work, product)

    def show_task(self, task_id: int) -> TaskInfo:
        with self._work(Scope.READ) as work:
            return campaigns.task_info(campaigns.find_task(work, task_id))

    def cancel_task(self, task_id: int) -> TaskInfo:
        with self._work(Scope.TASKS) as work:
            return campaigns.cancel_task(work, task_id)
