"""OTA tasks (platform 9)."""

from typing import Literal

from fastapi import APIRouter

from cloudsdk.ota.task import UpgradeMode
from sim.cloud.api.context import Authenticated, Body
from sim.cloud.operations import Operations
from sim.cloud.shapes import TaskInfo

router = APIRouter(prefix="/tasks", tags=["tasks"])


class NewTask(Body):
    product: str
    firmware_ids: list[int]
    sns: list[str]
    version: str | None = None
    mode: Literal["forced", "optional", "silent"] = "forced"


@router.get("")
async def list_tasks(call: Authenticated, product: str | None = None) -> list[TaskInfo]:
    return await call.run(Operations.list_tasks, product)


@router.post("", status_code=201)
async def create_task(call: Authenticated, body: NewTask) -> TaskInfo:
    """Firmwares are installed in the order given; without a version the task gets the next free one."""
    mode = UpgradeMode[body.mode.upper()]
    task = await call.run(
        Operations.create_task, body.product, body.version, body.firmware_ids, body.sns, mode
    )
    context = call.context
    for query in await context.worker.run(context.service.queries_for_task, task["id"]):
        await context.broker.publish(query)
    return task


@router.get("/{task_id}")
async def show_task(call: Authenticated, task_id: int) -> TaskInfo:
    return await call.run(Operations.show_task, task_id)


@router.post("/{task_id}/cancel")
async def cancel_task(call: Authenticated, task_id: int) -> TaskInfo:
    return await call.run(Operations.cancel_task, task_id)
