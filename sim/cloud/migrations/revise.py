"""Writes a new revision: what the tables have and the revisions before do not make."""

import re
import tempfile
from pathlib import Path
from typing import Any, Final, cast

from alembic.autogenerate import compare_metadata, produce_migrations, render_python_code
from alembic.migration import MigrationContext
from alembic.operations.ops import UpgradeOps
from sqlalchemy.engine import Connection

from cloudsdk.errors import UsageError
from sim.cloud.database import make_engine, sqlite_url
from sim.cloud.migrations import VERSIONS, revisions, upgrade
from sim.cloud.model.tables import Base

_SLUG_CHARS: Final = 40
_TEMPLATE: Final = '''"""{why}"""

import sqlalchemy as sa
from alembic import op

revision = "{number}"
down_revision = {before}
branch_labels = None
depends_on = None


def upgrade() -> None:
    {body}
'''


def differences(connection: Connection) -> list[Any]:
    """What a database lacks or has too much, in alembic's words; empty when it is up to date."""
    return cast(list[Any], compare_metadata(_context(connection), Base.metadata))


def revise(why: str, versions: Path = VERSIONS) -> Path:
    """Write the next revision into `versions`; returns its path. Raises `UsageError` when nothing changed."""
    with tempfile.TemporaryDirectory() as scratch:
        engine = make_engine(sqlite_url(Path(scratch) / "scratch.db"), foreign_keys=False)
        try:
            with engine.begin() as connection:
                known = revisions()
                if known:
                    upgrade(connection)
                operations = cast(
                    UpgradeOps, produce_migrations(_context(connection), Base.metadata).upgrade_ops
                )
                if operations.is_empty():
                    raise UsageError("the revisions make the tables as they are: there is nothing to write")
                body = render_python_code(operations, render_as_batch=True)
        finally:
            engine.dispose()
    slug = re.sub(r"[^a-z0-9]+", "_", why.lower()).strip("_")[:_SLUG_CHARS].strip("_")
    number = f"{len(known) + 1:04}"
    path = versions / f"r{number}_{slug}.py"
    before = f'"{known[-1]}"' if known else None
    path.write_text(_TEMPLATE.format(why=why, number=number, before=before, body=body.strip()))
    return path


def _context(connection: Connection) -> MigrationContext:
    return MigrationContext.configure(connection, opts={"render_as_batch": True, "compare_type": True})
