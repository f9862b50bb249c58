"""The cloud of an account at a glance: counts over everything the caller sees."""

from typing import Final

from sqlalchemy import func, select

from sim.cloud.model.tables import Device, Product, Task, TaskDevice
from sim.cloud.model.work import Work
from sim.cloud.shapes import CampaignState, DeviceState, OverviewInfo, TaskState

MAX_GROUPS: Final = 8  # versions, and causes of failures, that are named; the most frequent ones
_OPEN: Final = (CampaignState.SCHEDULED, CampaignState.RUNNING, CampaignState.PAUSED, CampaignState.STOPPED)


def overview(work: Work) -> OverviewInfo:
    session = work.session
    devices = select(
        func.count(),
        func.count().filter(Device.state == DeviceState.ACTIVATED),
        func.count().filter(Device.online),
    )
    total, activated, online = session.execute(
        devices.select_from(Device).join(Product).where(work.visible())
    ).one()
    count = func.count()
    versions = (
        select(Device.version, count)
        .join(Product)
        .where(work.visible(), Device.version.is_not(None))
        .group_by(Device.version)
        .order_by(count.desc(), Device.version)
        .limit(MAX_GROUPS)
    )
    failures = (
        select(TaskDevice.reason, count)
        .join(Task, Task.id == TaskDevice.task_ref)
        .join(Product)
        .where(work.visible(), TaskDevice.state == TaskState.FAILED)
        .group_by(TaskDevice.reason)
        .order_by(count.desc(), TaskDevice.reason)
        .limit(MAX_GROUPS)
    )
    tasks = select(func.count()).select_from(Task).join(Product)
    return OverviewInfo(
        products=session.scalars(select(func.count()).select_from(Product).where(work.visible())).one(),
        devices=total,
        activated=activated,
        online=online,
        open_tasks=session.scalars(tasks.where(work.visible(), Task.state.in_(_OPEN))).one(),
        versions={str(version): number for version, number in session.execute(versions)},
        failures=dict(session.execute(failures).all()),
    )
