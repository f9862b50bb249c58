"""OTA tasks (platform 9)."""

from typing import Annotated, Literal

from fastapi import APIRouter, Query

from cloudsdk.ota.task import UpgradeMode
from sim.cloud.api.context import Authenticated, Body
from sim.cloud.operations import Operations
from sim.cloud.rollout import (
    DEFAULT_ATTEMPTS,
    DEFAULT_FAILURE_MINIMUM,
    DEFAULT_REPORT_DEADLINE,
    Rollout,
    Selection,
)
from sim.cloud.shapes import CampaignState, DeviceTaskInfo, Page, TaskDeviceInfo, TaskInfo, TaskState

router = APIRouter(tags=["tasks"])

After = Annotated[int, Query(ge=0)]
Limit = Annotated[int, Query(ge=1, le=1000)]


class SelectionBody(Body):
    sns: list[str] = []
    tags: list[str] = []
    versions: list[str] = []
    percent: int = 100
    everyone: bool = False

    def selection(self) -> Selection:
        return Selection(tuple(self.sns), tuple(self.tags), tuple(self.versions), self.percent, self.everyone)


class RolloutBody(Body):
    stages: list[int] = [100]
    advance_at: int = 100
    soak: int = 0
    failure_limit: int | None = None
    failure_minimum: int = DEFAULT_FAILURE_MINIMUM
    max_attempts: int = DEFAULT_ATTEMPTS
    report_deadline: int = DEFAULT_REPORT_DEADLINE

    def rollout(self) -> Rollout:
        return Rollout(**{**self.model_dump(), "stages": tuple(self.stages)})


class NewTask(Body):
    product: str
    firmware_ids: list[int]
    selection: SelectionBody
    mode: Literal["forced", "optional", "silent"] = "forced"
    version: str | None = None
    rollout: RolloutBody = RolloutBody()
    starts_at: int | None = None
    ends_at: int | None = None


@router.get("/tasks")
async def list_tasks(call: Authenticated, product: str | None = None) -> list[TaskInfo]:
    """The 1000 newest, without their devices."""
    return await call.run(Operations.list_tasks, product)


@router.get("/tasks/page")
async def page_tasks(
    call: Authenticated,
    product: str | None = None,
    state: CampaignState | None = None,
    after: After = 0,
    limit: Limit = 100,
) -> Page[TaskInfo]:
    """Newest first, without their devices."""
    return await call.run(Operations.page_tasks, product, state, after=after, limit=limit)


@router.post("/tasks", status_code=201)
async def create_task(call: Authenticated, body: NewTask) -> TaskInfo:
    """Firmwares are installed in the order given; without a version the task gets the next free one."""
    return await call.run(
        Operations.create_task,
        body.product,
        firmware_ids=body.firmware_ids,
        selection=body.selection.selection(),
        mode=UpgradeMode[body.mode.upper()],
        version=body.version,
        rollout=body.rollout.rollout(),
        starts_at=body.starts_at,
        ends_at=body.ends_at,
    )


@router.get("/tasks/{task_id}")
async def show_task(call: Authenticated, task_id: int) -> TaskInfo:
    return await call.run(Operations.show_task, task_id)


@router.get("/tasks/{task_id}/devices")
async def page_task_devices(
    call: Authenticated,
    task_id: int,
    state: TaskState | None = None,
    after: After = 0,
    limit: Limit = 100,
) -> Page[TaskDeviceInfo]:
    return await call.run(Operations.page_task_devices, task_id, state, after=after, limit=limit)


@router.post("/tasks/{task_id}/pause")
async def pause_task(call: Authenticated, task_id: int) -> TaskInfo:
    """Send nothing new; downloads under way go on."""
    return await call.run(Operations.pause_task, task_id)


@router.post("/tasks/{task_id}/resume")
async def resume_task(call: Authenticated, task_id: int) -> TaskInfo:
    """Go on; what failed so far is not held against the task."""
    return await call.run(Operations.resume_task, task_id)


@router.post("/tasks/{task_id}/cancel")
async def cancel_task(call: Authenticated, task_id: int) -> TaskInfo:
    """Take it back from devices that have not begun to download; the others cannot be called back."""
    return await call.run(Operations.cancel_task, task_id)


@router.post("/tasks/{task_id}/retry")
async def retry_task(call: Authenticated, task_id: int) -> TaskInfo:
    """Give it to the devices that failed once more."""
    return await call.run(Operations.retry_task, task_id)


@router.get("/devices/{device_id}/tasks")
async def tasks_of_device(call: Authenticated, device_id: str) -> list[DeviceTaskInfo]:
    """The newest tasks of a device, newest first."""
    return await call.run(Operations.tasks_of_device, device_id)
