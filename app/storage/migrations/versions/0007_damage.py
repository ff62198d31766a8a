"""Messages that were found damaged, sums by which a missing row shows, and offsets indexed once."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # The rowid, which is the offset, is the last part of each entry without being named.
    op.drop_index("messages_user_id_offset", "messages")
    op.create_index("messages_user_id_offset", "messages", ["user_id"])
    op.create_table(
        "damaged_messages",
        sa.Column("offset", sa.Integer(), primary_key=True, nullable=False),
        sa.Column("user_id", sa.Integer()),
        sa.Column("type", sa.Text()),
        sa.Column("payload", sa.LargeBinary()),
        sa.Column("target_device", sa.Integer()),
        sa.Column("without_device", sa.Integer()),
        sa.Column("without_instance", sa.Text()),
        sa.Column("source_device", sa.Integer()),
        sa.Column("source_instance", sa.Text()),
        sa.Column("key", sa.Text()),
        sa.Column("created_at", sa.Integer()),
        sa.Column("expires_at", sa.Integer()),
        sa.Column("deleted", sa.Integer()),
        sa.Column("crc", sa.Integer()),
        sa.Column("found_at", sa.Integer(), nullable=False),
    )
    # Filled, and kept by triggers, when the database is opened.
    op.create_table(
        "sums",
        sa.Column("name", sa.Text(), primary_key=True, nullable=False),
        sa.Column("rows", sa.Integer(), nullable=False),
        sa.Column("sum", sa.Integer(), nullable=False),
    )
