"""OTA tasks (platform 9). `docs/cloud-tasks.md` has the rules."""

from collections.abc import Sequence

from cloudsdk.ota.task import UpgradeMode
from sim.cloud.model import devices, task_creation, tasks
from sim.cloud.model.work import Scope
from sim.cloud.operations.base import BaseOperations
from sim.cloud.rollout import AT_ONCE, Rollout, Selection
from sim.cloud.shapes import DeviceTaskInfo, Page, TaskDeviceInfo, TaskInfo


class TaskOperations(BaseOperations):
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
        """Firmwares are installed in the order given; without a version the task gets the next free one.

        The devices are chosen now. Times are seconds since 1970; at `ends_at` the task expires for devices
        that wait for their turn. Raises `TaskRefusedError` when a device could not carry it out.
        """
        wanted = task_creation.NewTask(firmware_ids, selection, mode, version, rollout, starts_at, ends_at)
        with self._work(Scope.TASKS) as work:
            task = task_creation.create_task(work, self.core.public_url, product, wanted)
            return tasks.show_task(work, self.core.live, task)

    def list_tasks(self, product: str | None = None) -> list[TaskInfo]:
        """The 1000 newest, without their devices."""
        with self._work(Scope.READ) as work:
            return tasks.list_tasks(work, self.core.live, product)

    def page_tasks(
        self, product: str | None = None, state: str | None = None, *, after: int = 0, limit: int = 100
    ) -> Page[TaskInfo]:
        """Newest first, without their devices; `state` is one of `CampaignState`."""
        with self._work(Scope.READ) as work:
            return tasks.page_tasks(work, self.core.live, product, state, after=after, limit=limit)

    def show_task(self, task_id: int) -> TaskInfo:
        with self._work(Scope.READ) as work:
            return tasks.show_task(work, self.core.live, tasks.find_task(work, task_id))

    def page_task_devices(
        self, task_id: int, state: str | None = None, *, after: int = 0, limit: int = 100
    ) -> Page[TaskDeviceInfo]:
        """`state` is one of `TaskState`."""
        with self._work(Scope.READ) as work:
            task = tasks.find_task(work, task_id)
            return tasks.page_task_devices(work, self.core.live, task, state=state, after=after, limit=limit)

    def tasks_of_device(self, sn: str, *, product: str | None = None) -> list[DeviceTaskInfo]:
        """The 1000 newest tasks of a device, newest first."""
        with self._work(Scope.READ) as work:
            return tasks.tasks_of_device(work, devices.find_device(work, sn, product))

    def pause_task(self, task_id: int) -> TaskInfo:
        """Send nothing new; downloads under way go on."""
        with self._work(Scope.TASKS) as work:
            task = tasks.find_task(work, task_id)
            tasks.pause_task(work, task)
            return tasks.show_task(work, self.core.live, task)

    def resume_task(self, task_id: int) -> TaskInfo:
        """Let a paused or stopped task go on; failures so far are not held against it."""
        with self._work(Scope.TASKS) as work:
            task = tasks.find_task(work, task_id)
            tasks.resume_task(work, task)
            return tasks.show_task(work, self.core.live, task)

    def cancel_task(self, task_id: int) -> TaskInfo:
        """Take the task back from devices that have not begun to download; others cannot be called back."""
        with self._work(Scope.TASKS) as work:
            task = tasks.find_task(work, task_id)
            tasks.cancel_task(work, task)
            return tasks.show_task(work, self.core.live, task)

    def retry_task(self, task_id: int) -> TaskInfo:
        """Give the task to its failed devices again."""
        with self._work(Scope.TASKS) as work:
            task = tasks.find_task(work, task_id)
            tasks.retry_task(work, task)
            return tasks.show_task(work, self.core.live, task)
