"""The Web Log in the database: what devices printed, and whose log is wanted (platform 6).

A device is named by its DeviceID. Text is kept as it came; whoever shows it escapes it.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final
from unicodedata import category

from sqlalchemy import delete, func, insert, select
from sqlalchemy.orm import Session
from sqlalchemy.sql.elements import ColumnElement

from cloudsdk.datapoints import Topics
from sim.cloud.errors import BadRequestError, UnknownDeviceError
from sim.cloud.model.tables import Base, Device, LogRow, LogSwitch
from sim.cloud.store import Store

MAX_LINES: Final = 100_000  # kept per device; the oldest are dropped
PRUNE_EVERY: Final = 1000  # lines of a device between two times that its oldest are dropped
MAX_PAGE: Final = 1000  # lines
MAX_SEARCH: Final = 256  # characters that are searched for
EXPORT_PAGE: Final = 1000  # lines read at a time for a download

_LINES: Final = Base.metadata.tables[LogRow.__tablename__]  # without the ORM, which takes longer
_COLOUR: Final = re.compile("\x1b\\[[0-9;]*m")
_ESCAPED: Final = ("Cc", "Cf", "Zl", "Zp")  # Unicode categories: controls, text direction, line ends


@dataclass(frozen=True, slots=True)
class LogLine:
    """`at_ms`: when the cloud received it, milliseconds since 1970. `id` grows from line to line; None
    while the line is not in the database."""

    at_ms: int
    text: str
    id: int | None = None


@dataclass(frozen=True, slots=True)
class LogFilter:
    """Which lines: `since_ms` inclusive, `until_ms` exclusive, `text` anywhere in the line without regard to
    the case of ASCII letters. Raises `BadRequestError`."""

    since_ms: int | None = None
    until_ms: int | None = None
    text: str = ""

    def __post_init__(self) -> None:
        if len(self.text) > MAX_SEARCH:
            raise BadRequestError(f"the text to search for has more than {MAX_SEARCH} characters")

    def conditions(self) -> Iterator[ColumnElement[bool]]:
        if self.since_ms is not None:
            yield LogRow.at_ms >= self.since_ms
        if self.until_ms is not None:
            yield LogRow.at_ms < self.until_ms
        if self.text:
            yield LogRow.text.icontains(self.text, autoescape=True)


EVERYTHING: Final = LogFilter()


@dataclass(frozen=True, slots=True)
class LogPage:
    """`next` is the cursor of the page that follows; None on the last one."""

    lines: list[LogLine]
    next: int | None


class LogBook:
    """One transaction per call; use it from the thread of the store."""

    def __init__(self, store: Store, *, max_lines: int = MAX_LINES, prune_every: int = PRUNE_EVERY) -> None:
        self._store = store
        self._max_lines = max_lines
        self._prune_every = prune_every
        self._unpruned: dict[int, int] = {}  # lines added since, by device

    # The switch

    def topics(self, device_id: str) -> Topics:
        """Raises `UnknownDeviceError`."""
        with self._store.transaction() as session:
            device = _device(session, device_id)
            return Topics(device.product.product_id, device.device_id)

    def switches(self) -> list[Topics]:
        """The devices whose log is wanted."""
        with self._store.transaction() as session:
            query = select(Device).join(LogSwitch, LogSwitch.device_ref == Device.id)
            return [Topics(device.product.product_id, device.device_id) for device in session.scalars(query)]

    def set_switch(self, device_id: str, now_ms: int, *, on: bool) -> None:
        """Raises `UnknownDeviceError`."""
        with self._store.transaction() as session:
            device = _device(session, device_id)
            if on:
                session.merge(LogSwitch(device_ref=device.id, since_ms=now_ms))
            else:
                session.execute(delete(LogSwitch).where(LogSwitch.device_ref == device.id))

    # Lines

    def append(self, batches: Mapping[str, Sequence[LogLine]]) -> dict[str, list[LogLine]]:
        """Store lines of several devices; returns them with their ids. Devices that are gone are left out."""
        with self._store.transaction() as session:
            known = session.execute(select(Device.device_id, Device.id).where(Device.device_id.in_(batches)))
            refs = {device_id: ref for device_id, ref in known if batches[device_id]}
            rows = [
                {"device_ref": ref, "at_ms": line.at_ms, "text": line.text}
                for device_id, ref in refs.items()
                for line in batches[device_id]
            ]
            if not rows:
                return {}
            statement = insert(_LINES).returning(_LINES.c.id, sort_by_parameter_order=True)
            ids = iter(session.scalars(statement, rows).all())
            for device_id, ref in refs.items():
                self._prune(session, ref, len(batches[device_id]))
        return {
            device_id: [LogLine(line.at_ms, line.text, next(ids)) for line in batches[device_id]]
            for device_id in refs
        }

    def page(
        self,
        device_id: str,
        wanted: LogFilter = EVERYTHING,
        *,
        cursor: int | None = None,
        limit: int = 100,
        newest_first: bool = True,
    ) -> LogPage:
        """At most `limit` lines beyond `cursor`, the id that the page before ended with.

        Raises `UnknownDeviceError` and `BadRequestError`.
        """
        if not 1 <= limit <= MAX_PAGE:
            raise BadRequestError(f"a page has 1 to {MAX_PAGE} lines")
        with self._store.transaction() as session:
            query = select(LogRow.at_ms, LogRow.text, LogRow.id).where(
                LogRow.device_ref == _device(session, device_id).id, *wanted.conditions()
            )
            if cursor is not None:
                query = query.where(LogRow.id < cursor if newest_first else LogRow.id > cursor)
            query = query.order_by(LogRow.id.desc() if newest_first else LogRow.id).limit(limit + 1)
            lines = [LogLine(*row) for row in session.execute(query)]
        more = len(lines) > limit
        return LogPage(lines[:limit], lines[limit - 1].id if more else None)

    def export(self, device_id: str, wanted: LogFilter = EVERYTHING) -> Iterator[str]:
        """The lines as a text file, piece by piece: UTC time and text, oldest first.

        Lines that come meanwhile may be missing. Raises `UnknownDeviceError` at the first piece.
        """
        newest = self.page(device_id, limit=1).lines
        if not newest or (last := newest[0].id) is None:
            return
        cursor: int | None = None
        while cursor is None or cursor < last:
            page = self.page(device_id, wanted, cursor=cursor, limit=EXPORT_PAGE, newest_first=False)
            yield "".join(as_text(line) for line in page.lines)
            if page.next is None:
                return
            cursor = page.next

    def clear(self, device_id: str, *, until_ms: int | None = None) -> int:
        """Delete the lines before `until_ms`, or all; returns how many. Raises `UnknownDeviceError`."""
        with self._store.transaction() as session:
            own = LogRow.device_ref == _device(session, device_id).id
            lines = (own, *LogFilter(until_ms=until_ms).conditions())
            count = session.scalars(select(func.count()).select_from(LogRow).where(*lines)).one()
            session.execute(delete(LogRow).where(*lines))
            return count

    def _prune(self, session: Session, ref: int, added: int) -> None:
        # The first lines after a start count as many: nobody knows how many there are.
        count = self._unpruned.get(ref, self._prune_every) + added
        if count >= self._prune_every:
            own = LogRow.device_ref == ref
            newest = select(LogRow.id).where(own).order_by(LogRow.id.desc())
            oldest_kept = session.scalar(newest.offset(self._max_lines - 1).limit(1))
            if oldest_kept is not None:
                session.execute(delete(LogRow).where(own, LogRow.id < oldest_kept))
            count = 0
        self._unpruned[ref] = count


def as_text(line: LogLine) -> str:
    """One line of a text file. Colours are left out and other control characters escaped, so that no device
    can forge a line or steer a terminal."""
    at = datetime.fromtimestamp(line.at_ms / 1000, UTC).isoformat(timespec="milliseconds")
    text = _COLOUR.sub("", line.text)
    if not text.isprintable():
        text = "".join(_escaped(each) for each in text)
    return f"{at.replace('+00:00', 'Z')} {text}\n"


def _escaped(character: str) -> str:
    if character == "\t" or category(character) not in _ESCAPED:
        return character
    return character.encode("unicode_escape").decode("ascii")


def _device(session: Session, device_id: str) -> Device:
    device = session.scalar(select(Device).where(Device.device_id == device_id))
    if device is None:
        raise UnknownDeviceError(f"there is no device with DeviceID {device_id!r}")
    return device
