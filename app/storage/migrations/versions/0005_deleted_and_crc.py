"""Deletions of values, a checksum for each message, and an index of what devices have stored."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # Not by `batch_alter_table`, which would copy the table: SQLite changes the schema alone.
    deleted = sa.Column("deleted", sa.Integer(), nullable=False, server_default=sa.text("0"))
    op.add_column("messages", deleted)
    op.add_column("messages", sa.Column("crc", sa.Integer()))
    from_devices = sa.text("source_device <> 0")
    op.create_index(
        "messages_from_devices",
        "messages",
        ["user_id", "offset"],
        sqlite_where=from_devices,
        postgresql_where=from_devices,
    )
