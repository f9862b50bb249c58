"""Who did what. Entries never hold keys."""

from typing import Final

from sqlalchemy import ColumnElement, delete, select

from sim.cloud.errors import BadRequestError
from sim.cloud.model.tables import AuditEntry
from sim.cloud.model.text import is_int
from sim.cloud.model.work import Work
from sim.cloud.shapes import AuditInfo, Page

#: Entries kept of those that concern an account, and of the others: strangers cannot push out what matters.
AUDIT_ENTRIES: Final = 10_000
PRUNE_EVERY: Final = 64  # entries; so many more may be there at times
MAX_PAGE: Final = 1000
_DEVICE: Final = "device"


def audit(
    work: Work, action: str, subject: str, detail: str = "", *, account: int | None = None, actor: str = ""
) -> None:
    """Note what the caller did. `subject` and `detail` must not hold keys.

    `account` is the id of the account whose affair it is, by default the caller's; `actor` is who did it, if
    not the caller.
    """
    caller = work.caller
    entry = AuditEntry(
        at=work.now,
        account_id=account or caller.account or None,
        actor=(actor or caller.label)[:160],
        address=caller.address[:64],
        action=action,
        subject=subject[:128],
        detail=detail[:256],
    )
    work.session.add(entry)
    work.session.flush()
    if entry.id % min(PRUNE_EVERY, AUDIT_ENTRIES) == 0:
        _prune(work)


def audit_device(work: Work, action: str, account: int | None, subject: str, detail: str = "") -> None:
    """Note what a device did to `account`, the id of its product's account."""
    audit(work, action, subject, detail, account=account, actor=_DEVICE)


def _prune(work: Work) -> None:
    for kind in (AuditEntry.account_id.is_(None), AuditEntry.account_id.is_not(None)):
        newest_too_many = select(AuditEntry.id).where(kind).order_by(AuditEntry.id.desc())
        limit = work.session.scalar(newest_too_many.offset(AUDIT_ENTRIES).limit(1))
        if limit is not None:
            work.session.execute(delete(AuditEntry).where(kind, AuditEntry.id <= limit))


def page_audit(
    work: Work,
    *,
    action: str | None,
    subject: str | None,
    since: int | None,
    until: int | None,
    after: int,
    limit: int,
) -> Page[AuditInfo]:
    """The caller's entries, newest first. `action` is a prefix such as `device.`; `since` and `until` are
    seconds since 1970, `until` not included. `after` is the `next` of the page before, 0 for the first."""
    if not 1 <= limit <= MAX_PAGE:
        raise BadRequestError(f"a page has 1 to {MAX_PAGE} entries")
    conditions: list[ColumnElement[bool]] = []
    if work.caller.account is not None:
        conditions.append(AuditEntry.account_id == work.caller.account)
    if action:
        conditions.append(AuditEntry.action.startswith(action, autoescape=True))
    if subject:
        conditions.append(AuditEntry.subject == subject)
    if is_int(since):
        conditions.append(AuditEntry.at >= since)
    if is_int(until):
        conditions.append(AuditEntry.at < until)
    if after:
        conditions.append(AuditEntry.id < after)
    query = select(AuditEntry).where(*conditions).order_by(AuditEntry.id.desc()).limit(limit + 1)
    rows = work.session.scalars(query).all()
    more = len(rows) > limit
    return Page(
        items=[
            AuditInfo(
                id=row.id,
                at=row.at,
                actor=row.actor,
                address=row.address,
                action=row.action,
                subject=row.subject,
                detail=row.detail,
            )
            for row in rows[:limit]
        ],
        next=rows[limit - 1].id if more else None,
    )
