"""How many devices were online, over time."""

from typing import Final

from sqlalchemy import delete, exists, func, insert, select
from sqlalchemy.orm import aliased

from sim.cloud.model.products import find_product
from sim.cloud.model.tables import Device, OnlineSample, Product, TaskDevice
from sim.cloud.model.work import Work
from sim.cloud.shapes import DeviceState, OnlinePoint

MINUTE: Final = 60  # seconds between two samples
HOUR: Final = 3600  # seconds between two samples that are kept for long
KEEP_MINUTES: Final = 48 * HOUR  # seconds
KEEP_HOURS: Final = 366 * 24 * HOUR  # seconds


def sample(work: Work) -> None:
    """Note the present numbers of every product with devices, once in a minute."""
    at = work.now - work.now % MINUTE
    activated = func.count().filter(Device.state == DeviceState.ACTIVATED)
    counts = select(Device.product_ref, func.count().filter(Device.online), activated)
    found = work.session.execute(counts.group_by(Device.product_ref)).all()
    work.session.execute(delete(OnlineSample).where(OnlineSample.at == at))
    rows = [{"product_ref": ref, "at": at, "online": online, "activated": on} for ref, online, on in found]
    if rows:
        work.session.execute(insert(OnlineSample), rows)


def thin(work: Work, since: int) -> None:
    """Drop what is too old: of samples older than `KEEP_MINUTES` the first of every hour stays.

    Looks at samples from `since` on, seconds since 1970: all before have been thinned.
    """
    earlier = aliased(OnlineSample)
    hour = OnlineSample.at - OnlineSample.at % HOUR
    work.session.execute(
        delete(OnlineSample).where(
            OnlineSample.at >= since,
            OnlineSample.at < work.now - KEEP_MINUTES,
            exists().where(
                earlier.product_ref == OnlineSample.product_ref,
                earlier.at >= hour,
                earlier.at < OnlineSample.at,
            ),
        ),
        execution_options={"synchronize_session": False},
    )
    work.session.execute(delete(OnlineSample).where(OnlineSample.at < work.now - KEEP_HOURS))


def online_history(work: Work, product_ref: str | None, since: int) -> list[OnlinePoint]:
    """The samples from `since` on, seconds since 1970, of one product or summed over all that are seen."""
    query = select(OnlineSample.at, func.sum(OnlineSample.online), func.sum(OnlineSample.activated))
    query = query.where(OnlineSample.at >= since).group_by(OnlineSample.at).order_by(OnlineSample.at)
    if product_ref is not None:
        query = query.where(OnlineSample.product_ref == find_product(work, product_ref).id)
    else:
        query = query.join(Product, Product.id == OnlineSample.product_ref).where(work.visible())
    return [
        OnlinePoint(at=at, online=int(online), activated=int(activated))
        for at, online, activated in work.session.execute(query)
    ]


def device_counts(work: Work) -> dict[str, int]:
    """Devices of the whole cloud: all of them, activated, online."""
    activated = func.count().filter(Device.state == DeviceState.ACTIVATED)
    total, on, online = work.session.execute(
        select(func.count(Device.id), activated, func.count().filter(Device.online))
    ).one()
    return {"known": total, "activated": on, "online": online}


def task_counts(work: Work) -> dict[str, int]:
    """Devices of all tasks by state."""
    query = select(TaskDevice.state, func.count().label("devices")).group_by(TaskDevice.state)
    return {row.state: row.devices for row in work.session.execute(query)}
