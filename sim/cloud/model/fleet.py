"""Many devices at once: chosen by a filter, counted, listed in pages, added from a table."""

import itertools
from collections.abc import Iterable, Iterator, Sequence
from typing import Final, TypeVar

from sqlalchemy import ColumnElement, insert, or_, select

from sim.cloud.device_table import DeviceRow
from sim.cloud.errors import BadRequestError, DevicesRefusedError
from sim.cloud.model.audit import audit
from sim.cloud.model.devices import WITH_INFO, check_changes, check_room, device_info, new_device
from sim.cloud.model.products import COUNTS, find_product, lock_product
from sim.cloud.model.tables import Device, DeviceTag, Product
from sim.cloud.model.text import check_tags, check_text
from sim.cloud.model.work import Work
from sim.cloud.pages import cut, page_limit
from sim.cloud.shapes import (
    DeviceChanges,
    DeviceCounts,
    DeviceFilter,
    DeviceInfo,
    DeviceState,
    ImportInfo,
    Page,
    RowProblem,
)

FILTER_CHARS: Final = 64  # of each text in a filter
MAX_PROBLEMS: Final = 100  # rows that an error names
_SHOWN: Final = 3  # of them in its message
_CHUNK: Final = 500  # values in one condition

T = TypeVar("T")


def conditions(work: Work, wanted: DeviceFilter) -> list[ColumnElement[bool]]:
    """What rows of `Device` joined with `Product` must fulfil to be seen by the caller and meant by `wanted`.

    Raises `BadRequestError` or `UnknownProductError`.
    """
    for what in ("search", "tag", "version"):
        if (text := getattr(wanted, what)) is not None:
            check_text(what, text, FILTER_CHARS, empty=True)
    found = [work.visible()]
    if wanted.product is not None:
        found.append(Device.product_ref == find_product(work, wanted.product).id)
    if wanted.search:
        columns = (Device.sn, Device.name, Device.device_id)
        found.append(or_(*(column.icontains(wanted.search, autoescape=True) for column in columns)))
    if wanted.tag is not None:
        found.append(Device.id.in_(select(DeviceTag.device_ref).where(DeviceTag.tag == wanted.tag)))
    if wanted.version is not None:
        found.append(Device.version == wanted.version)
    if wanted.state is not None:
        if wanted.state not in set(DeviceState):
            raise BadRequestError(f"state must be {' or '.join(DeviceState)}")
        found.append(Device.state == wanted.state)
    if wanted.online is not None:
        found.append(Device.online.is_(wanted.online is True))
    return found


def page_devices(work: Work, wanted: DeviceFilter, *, after: int, limit: int) -> Page[DeviceInfo]:
    """Devices in the order in which they were added."""
    query = select(Device).join(Product).where(*conditions(work, wanted), Device.id > after)
    query = query.order_by(Device.id).limit(page_limit(limit) + 1).options(*WITH_INFO)
    return cut(work.session.scalars(query).all(), limit, device_info, lambda device: device.id)


def count_devices(work: Work, wanted: DeviceFilter) -> DeviceCounts:
    query = select(*COUNTS).select_from(Device).join(Product).where(*conditions(work, wanted))
    total, activated, online = work.session.execute(query).one()
    return DeviceCounts(total=total, activated=activated, online=online)


def add_devices(work: Work, product_ref: str, rows: Sequence[DeviceRow]) -> ImportInfo:
    """Add the devices of a table, all of them or none.

    Raises `DevicesRefusedError`, which names the bad rows, or `DeviceLimitError`.
    """
    product = lock_product(work, product_ref)
    problems = _problems(work, product, rows)
    if problems:
        raise _refusal(problems)
    check_room(work, product, len(rows))
    columns = [new_device(work, product, _texts(row)) for row in rows]
    work.session.execute(insert(Device), columns)
    _add_tags(work, {new["device_id"]: row.tags for new, row in zip(columns, rows, strict=True)})
    audit(work, "device.import", product.product_id, f"{len(rows)} devices")
    return ImportInfo(product=product.name, product_id=product.product_id, added=len(rows))


def _texts(row: DeviceRow) -> DeviceChanges:
    return DeviceChanges(sn=row.sn, name=row.name, mac=row.mac, description=row.description)


def _problems(work: Work, product: Product, rows: Sequence[DeviceRow]) -> list[RowProblem]:
    taken = set[str]()
    for part in _chunks([row.sn for row in rows]):
        query = select(Device.sn).where(Device.product_ref == product.id, Device.sn.in_(part))
        taken.update(work.session.scalars(query))
    first: dict[str, int] = {}
    problems = []
    for row in rows:
        reason = _problem(row)
        if not reason and row.sn in taken:
            reason = f"the product has a device with SN {row.sn} already"
        if not reason and first.setdefault(row.sn, row.row) != row.row:
            reason = f"SN {row.sn} is in row {first[row.sn]} as well"
        if reason:
            problems.append(RowProblem(row=row.row, reason=reason))
    return problems


def _problem(row: DeviceRow) -> str:
    try:
        check_changes(_texts(row))
        check_tags(row.tags)
    except BadRequestError as exc:
        return row.problem or str(exc)
    return row.problem


def _refusal(problems: Sequence[RowProblem]) -> DevicesRefusedError:
    shown = "; ".join(f"row {problem['row']}: {problem['reason']}" for problem in problems[:_SHOWN])
    more = f" and {len(problems) - _SHOWN} more" if len(problems) > _SHOWN else ""
    return DevicesRefusedError(f"nothing was added, bad rows: {shown}{more}", problems[:MAX_PROBLEMS])


def _add_tags(work: Work, tags: dict[str, tuple[str, ...]]) -> None:
    for part in _chunks(device_id for device_id, given in tags.items() if given):
        ids = work.session.execute(select(Device.id, Device.device_id).where(Device.device_id.in_(part)))
        work.session.execute(
            insert(DeviceTag),
            [
                {"device_ref": ref, "tag": tag}
                for ref, device_id in ids
                for tag in check_tags(tags[device_id])
            ],
        )


def _chunks(values: Iterable[T]) -> Iterator[list[T]]:
    iterator = iter(values)
    while chunk := list(itertools.islice(iterator, _CHUNK)):
        yield chunk
