"""The schema of the database, and how older databases get there (alembic).

`versions/` holds one file per revision, numbered from 0001. A database names its revision in
`alembic_version`; databases from before that table say `schema_version` 1 in `settings`, which is 0001.

After a change of `model/tables.py`: `python -m sim.cloud.migrations revision "why"`, then read what it wrote.
"""

from pathlib import Path
from typing import Final

from sqlalchemy import Column, MetaData, String, Table, insert, inspect, select, text, update
from sqlalchemy.engine import Connection

from sim.cloud.errors import SchemaVersionError
from sim.cloud.model.tables import Base, Setting

VERSIONS: Final = Path(__file__).with_name("versions")
FIRST: Final = "0001"
_UNNUMBERED: Final = "1"  # `schema_version` of a database at FIRST
_SCHEMA_VERSION: Final = "schema_version"  # in `settings`; programs from before alembic look at nothing else

_revision = Table("alembic_version", MetaData(), Column("version_num", String(32), primary_key=True))


def revisions() -> list[str]:
    """All revisions this program knows, the oldest first."""
    return sorted(path.name[1:5] for path in VERSIONS.glob("r[0-9][0-9][0-9][0-9]_*.py"))


def prepare(connection: Connection) -> None:
    """Make the schema of a new database, or bring an older one up to date, in the open transaction.

    On SQLite, foreign keys must be off: tables are rebuilt. Raises `SchemaVersionError` for a database of
    another version of this program.
    """
    head = revisions()[-1]
    found = revision_of(connection)
    if found == head:
        return
    if found is None:
        Base.metadata.create_all(connection)
        _revision.create(connection)
        connection.execute(insert(_revision).values(version_num=head))
        connection.execute(insert(Setting).values(key=_SCHEMA_VERSION, value=head))
        return
    if found not in revisions():
        raise SchemaVersionError(
            f"the database has schema {found}, this version of cloudsim knows up to {head}: "
            "use the cloudsim that wrote it, or another --data"
        )
    if not inspect(connection).has_table(_revision.name):
        _revision.create(connection)
        connection.execute(insert(_revision).values(version_num=found))
    upgrade(connection)
    if connection.dialect.name == "sqlite" and connection.execute(text("PRAGMA foreign_key_check")).first():
        raise SchemaVersionError(f"the migration from schema {found} breaks references: it is undone")


def revision_of(connection: Connection) -> str | None:
    """The revision of a database; None of an empty one."""
    tables = set(inspect(connection).get_table_names())
    if _revision.name in tables:
        return connection.scalar(select(_revision.c.version_num))
    if Setting.__tablename__ not in tables:
        return None
    found = connection.scalar(select(Setting.value).where(Setting.key == _SCHEMA_VERSION))
    return FIRST if found == _UNNUMBERED else str(found)


def upgrade(connection: Connection) -> None:
    """Run the revisions that are missing, from the first on an empty database."""
    # Imported here because almost every start has nothing to migrate.
    from alembic.config import Config
    from alembic.runtime.environment import EnvironmentContext
    from alembic.script import ScriptDirectory

    script = ScriptDirectory(str(VERSIONS.parent))
    with EnvironmentContext(
        Config(), script, fn=lambda current, _context: script._upgrade_revs("head", current)
    ) as environment:
        environment.configure(connection=connection, target_metadata=Base.metadata, render_as_batch=True)
        environment.run_migrations()
    connection.execute(update(Setting).where(Setting.key == _SCHEMA_VERSION).values(value=revisions()[-1]))
