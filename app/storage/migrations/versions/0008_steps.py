"""Sessions that end all at once and are removed later, and what finds the rows to remove."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column(
        "users",
        sa.Column("sessions_over_upto", sa.Integer(), nullable=False, server_default=sa.text("0")),
    )
    op.add_column("users", sa.Column("kept_session_id", sa.Integer()))
    op.create_table(
        "leftovers",
        sa.Column("kind", sa.Text(), primary_key=True, nullable=False),
        sa.Column("id", sa.Integer(), primary_key=True, nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_index("sessions_user_id_last_used", "sessions", ["user_id", "last_used"])
    op.create_index("damaged_messages_user_id", "damaged_messages", ["user_id"])
    op.create_index(
        "users_deleted_at",
        "users",
        ["deleted_at"],
        sqlite_where=sa.text("deleted_at IS NOT NULL"),
    )
    op.create_index(
        "devices_removed_at",
        "devices",
        ["removed_at"],
        sqlite_where=sa.text("removed_at IS NOT NULL"),
    )
