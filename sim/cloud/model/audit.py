"""Who did what. Entries never hold keys."""

from typing import Final

from sqlalchemy import delete

from sim.cloud.model.tables import AuditEntry
from sim.cloud.model.work import Work

AUDIT_ENTRIES: Final = 10_000  # older ones are dropped; what devices cause must not fill the disk


def audit(work: Work, action: str, subject: str, detail: str = "") -> None:
    """Note what happened. `subject` and `detail` must not hold keys."""
    entry = AuditEntry(at=work.now, action=action, subject=subject[:128], detail=detail[:256])
    work.session.add(entry)
    work.session.flush()
    work.session.execute(delete(AuditEntry).where(AuditEntry.id <= entry.id - AUDIT_ENTRIES))
