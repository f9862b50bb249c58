"""Accounts, keys at rest, the life of devices, rollouts, console logs

Firmware, devices and tasks of before keep their content; keys are sealed when the cloud opens the database.
"""

import sqlalchemy as sa
from alembic import op
from alembic.operations import BatchOperations

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


#: SQLite forgets what nobody named; these are the names that PostgreSQL gives.
_NAMES = {"fk": "%(table_name)s_%(column_0_name)s_fkey"}


def upgrade() -> None:
    op.create_table(
        "api_tokens",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("account_id", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("token_hash", sa.String(length=64), nullable=False),
        sa.Column("scopes", sa.String(length=128), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("last_used_at", sa.BigInteger(), nullable=True),
        sa.Column("expires_at", sa.BigInteger(), nullable=True),
        sa.ForeignKeyConstraint(
            ["account_id"],
            ["accounts.id"],
        ),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("account_id", "name"),
        sa.UniqueConstraint("token_hash"),
    )
    op.create_table(
        "login_sessions",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("account_id", sa.Integer(), nullable=False),
        sa.Column("token_hash", sa.String(length=64), nullable=False),
        sa.Column("address", sa.String(length=64), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("last_used_at", sa.BigInteger(), nullable=False),
        sa.Column("expires_at", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["account_id"],
            ["accounts.id"],
        ),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("token_hash"),
    )
    with op.batch_alter_table("login_sessions", naming_convention=_NAMES) as batch_op:
        batch_op.create_index(batch_op.f("ix_login_sessions_account_id"), ["account_id"], unique=False)

    op.create_table(
        "device_tags",
        sa.Column("device_ref", sa.Integer(), nullable=False),
        sa.Column("tag", sa.String(length=32), nullable=False),
        sa.ForeignKeyConstraint(["device_ref"], ["devices.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("device_ref", "tag"),
    )
    with op.batch_alter_table("device_tags", naming_convention=_NAMES) as batch_op:
        batch_op.create_index(batch_op.f("ix_device_tags_tag"), ["tag"], unique=False)

    op.create_table(
        "log_lines",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("device_ref", sa.Integer(), nullable=False),
        sa.Column("at_ms", sa.BigInteger(), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["device_ref"], ["devices.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id"),
        sqlite_autoincrement=True,
    )
    with op.batch_alter_table("log_lines", naming_convention=_NAMES) as batch_op:
        batch_op.create_index("ix_log_lines_device", ["device_ref", "id"], unique=False)

    op.create_table(
        "log_switches",
        sa.Column("device_ref", sa.Integer(), nullable=False),
        sa.Column("since_ms", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["device_ref"], ["devices.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("device_ref"),
    )
    with op.batch_alter_table("accounts", naming_convention=_NAMES) as batch_op:
        batch_op.add_column(sa.Column("password_cost", sa.String(length=32), nullable=True))
        batch_op.add_column(sa.Column("disabled", sa.Boolean(), nullable=False, server_default=sa.false()))
        batch_op.add_column(sa.Column("last_login_at", sa.BigInteger(), nullable=True))

    with op.batch_alter_table("audit", naming_convention=_NAMES) as batch_op:
        batch_op.add_column(sa.Column("account_id", sa.Integer(), nullable=True))
        batch_op.add_column(sa.Column("actor", sa.String(length=160), nullable=False, server_default=""))
        batch_op.add_column(sa.Column("address", sa.String(length=64), nullable=False, server_default=""))
        batch_op.create_index(batch_op.f("ix_audit_account_id"), ["account_id"], unique=False)
        batch_op.create_foreign_key("audit_account_id_fkey", "accounts", ["account_id"], ["id"])

    with op.batch_alter_table("devices", naming_convention=_NAMES) as batch_op:
        batch_op.add_column(sa.Column("published_at", sa.BigInteger(), nullable=True))
        batch_op.add_column(sa.Column("bind_until", sa.BigInteger(), nullable=True))
        batch_op.add_column(sa.Column("activated_ip", sa.String(length=64), nullable=True))
        batch_op.add_column(sa.Column("suspect_at", sa.BigInteger(), nullable=True))
        batch_op.alter_column(
            "device_key",
            existing_type=sa.VARCHAR(length=32),
            type_=sa.String(length=128),
            existing_nullable=False,
        )
        batch_op.create_index("ix_devices_product_id", ["product_ref", "id"], unique=False)
        _cascade(batch_op, "devices", "product_ref", "products")

    with op.batch_alter_table("downloads", naming_convention=_NAMES) as batch_op:
        batch_op.create_index(batch_op.f("ix_downloads_firmware_ref"), ["firmware_ref"], unique=False)
        _cascade(batch_op, "downloads", "device_ref", "devices")
        _cascade(batch_op, "downloads", "firmware_ref", "firmware")

    with op.batch_alter_table("firmware", naming_convention=_NAMES) as batch_op:
        batch_op.add_column(sa.Column("header", sa.LargeBinary(), nullable=True))
        batch_op.add_column(sa.Column("verified", sa.Boolean(), nullable=False, server_default=sa.false()))
        batch_op.add_column(sa.Column("findings", sa.Text(), nullable=False, server_default="[]"))
        batch_op.add_column(
            sa.Column("description", sa.String(length=512), nullable=False, server_default="")
        )
        batch_op.add_column(sa.Column("uploaded_by", sa.String(length=64), nullable=False, server_default=""))
        batch_op.add_column(sa.Column("deleted_at", sa.BigInteger(), nullable=True))
        _cascade(batch_op, "firmware", "product_ref", "products")

    with op.batch_alter_table("products", naming_convention=_NAMES) as batch_op:
        batch_op.add_column(sa.Column("published_at", sa.BigInteger(), nullable=True))
        batch_op.alter_column(
            "product_key",
            existing_type=sa.VARCHAR(length=36),
            type_=sa.String(length=128),
            existing_nullable=False,
        )

    op.execute("UPDATE products SET published_at = updated_at WHERE published")
    with op.batch_alter_table("products", naming_convention=_NAMES) as batch_op:
        batch_op.drop_column("published")

    with op.batch_alter_table("task_devices", naming_convention=_NAMES) as batch_op:
        batch_op.add_column(sa.Column("reason", sa.String(length=256), nullable=False, server_default=""))
        batch_op.add_column(sa.Column("stage", sa.Integer(), nullable=False, server_default="0"))
        batch_op.add_column(sa.Column("ask", sa.Boolean(), nullable=False, server_default=sa.false()))
        batch_op.add_column(sa.Column("position", sa.Integer(), nullable=False, server_default="0"))
        batch_op.add_column(sa.Column("offset", sa.BigInteger(), nullable=False, server_default="0"))
        batch_op.add_column(sa.Column("bytes_sent", sa.BigInteger(), nullable=False, server_default="0"))
        batch_op.add_column(sa.Column("attempts", sa.Integer(), nullable=False, server_default="0"))
        batch_op.add_column(sa.Column("installs", sa.Integer(), nullable=False, server_default="0"))
        batch_op.add_column(sa.Column("doubtful", sa.Boolean(), nullable=False, server_default=sa.false()))
        batch_op.add_column(sa.Column("transfer_ref", sa.Integer(), nullable=True))
        batch_op.add_column(sa.Column("due_at", sa.BigInteger(), nullable=True))
        batch_op.create_index("ix_task_devices_ask", ["ask", "task_ref"], unique=False)
        batch_op.create_index("ix_task_devices_state", ["task_ref", "state"], unique=False)
        _cascade(batch_op, "task_devices", "task_ref", "tasks")
        _cascade(batch_op, "task_devices", "device_ref", "devices")

    with op.batch_alter_table("task_firmware", naming_convention=_NAMES) as batch_op:
        batch_op.create_index(batch_op.f("ix_task_firmware_firmware_ref"), ["firmware_ref"], unique=False)
        _cascade(batch_op, "task_firmware", "task_ref", "tasks")

    with op.batch_alter_table("tasks", naming_convention=_NAMES) as batch_op:
        batch_op.add_column(sa.Column("state", sa.String(length=16), nullable=False, server_default="done"))
        batch_op.add_column(sa.Column("reason", sa.String(length=256), nullable=False, server_default=""))
        batch_op.add_column(sa.Column("selection", sa.Text(), nullable=False, server_default="{}"))
        batch_op.add_column(sa.Column("stages", sa.String(length=128), nullable=False, server_default="100"))
        batch_op.add_column(sa.Column("advance_at", sa.Integer(), nullable=False, server_default="100"))
        batch_op.add_column(sa.Column("soak", sa.Integer(), nullable=False, server_default="0"))
        batch_op.add_column(sa.Column("failure_limit", sa.Integer(), nullable=True))
        batch_op.add_column(sa.Column("failure_minimum", sa.Integer(), nullable=False, server_default="1"))
        batch_op.add_column(sa.Column("max_attempts", sa.Integer(), nullable=False, server_default="3"))
        batch_op.add_column(
            sa.Column("report_deadline", sa.Integer(), nullable=False, server_default="86400")
        )
        batch_op.add_column(sa.Column("stage", sa.Integer(), nullable=False, server_default="0"))
        batch_op.add_column(sa.Column("soak_until", sa.BigInteger(), nullable=True))
        batch_op.add_column(sa.Column("failed_before", sa.Integer(), nullable=False, server_default="0"))
        batch_op.add_column(sa.Column("settled_before", sa.Integer(), nullable=False, server_default="0"))
        batch_op.add_column(sa.Column("created_by", sa.String(length=64), nullable=False, server_default=""))
        batch_op.add_column(sa.Column("starts_at", sa.BigInteger(), nullable=True))
        batch_op.add_column(sa.Column("ends_at", sa.BigInteger(), nullable=True))
        batch_op.add_column(sa.Column("started_at", sa.BigInteger(), nullable=True))
        batch_op.add_column(sa.Column("finished_at", sa.BigInteger(), nullable=True))
        batch_op.add_column(sa.Column("due_at", sa.BigInteger(), nullable=True))
        batch_op.create_index(batch_op.f("ix_tasks_due_at"), ["due_at"], unique=False)
        _cascade(batch_op, "tasks", "product_ref", "products")

    with op.batch_alter_table("transfers", naming_convention=_NAMES) as batch_op:
        batch_op.add_column(sa.Column("task_ref", sa.Integer(), nullable=True))
        batch_op.create_index(batch_op.f("ix_transfers_firmware_ref"), ["firmware_ref"], unique=False)
        _cascade(batch_op, "transfers", "device_ref", "devices")
        _cascade(batch_op, "transfers", "firmware_ref", "firmware")

    # What was open goes on: its time has come.
    op.execute(
        "UPDATE tasks SET state = 'running', started_at = created_at, due_at = created_at WHERE id IN "
        "(SELECT task_ref FROM task_devices WHERE state IN ('waiting', 'sent', 'downloading'))"
    )


def _cascade(batch_op: BatchOperations, table: str, column: str, referred: str) -> None:
    """Rows go with what they belong to."""
    name = f"{table}_{column}_fkey"
    batch_op.drop_constraint(name, type_="foreignkey")
    batch_op.create_foreign_key(name, referred, [column], ["id"], ondelete="CASCADE")
