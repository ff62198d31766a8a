"""Durable messages, cursors, floors, the ids of repeats, and API keys."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    _messages()
    _message_ids()
    _cursors()
    _api_keys()


def _messages() -> None:
    op.create_table(
        "messages",
        sa.Column("offset", sa.Integer(), primary_key=True, nullable=False),
        sa.Column("user_id", sa.Integer(), nullable=False),
        sa.Column("type", sa.Text(), nullable=False),
        sa.Column("payload", sa.LargeBinary(), nullable=False),
        sa.Column("target_device", sa.Integer(), nullable=False, server_default=sa.text("0")),
        sa.Column("without_device", sa.Integer(), nullable=False, server_default=sa.text("0")),
        sa.Column("without_instance", sa.Text(), nullable=False, server_default=sa.text("''")),
        sa.Column("source_device", sa.Integer(), nullable=False, server_default=sa.text("0")),
        sa.Column("source_instance", sa.Text(), nullable=False, server_default=sa.text("''")),
        sa.Column("key", sa.Text()),
        sa.Column("created_at", sa.Integer(), nullable=False),
        sa.Column("expires_at", sa.Integer()),
        sqlite_autoincrement=True,
    )
    op.create_index("messages_user_id_offset", "messages", ["user_id", "offset"])
    latest = sa.text("key IS NOT NULL")
    op.create_index(
        "messages_latest",
        "messages",
        ["user_id", "type", "key", "target_device", "without_device"],
        unique=True,
        sqlite_where=latest,
        postgresql_where=latest,
    )
    expires = sa.text("expires_at IS NOT NULL")
    op.create_index(
        "messages_expires_at",
        "messages",
        ["expires_at"],
        sqlite_where=expires,
        postgresql_where=expires,
    )


def _message_ids() -> None:
    op.create_table(
        "message_ids",
        sa.Column("owner", sa.Text(), primary_key=True, nullable=False),
        sa.Column("message_id", sa.Text(), primary_key=True, nullable=False),
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.Column("offset", sa.Integer(), nullable=False),
        sa.Column("created_at", sa.Integer(), nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_index("message_ids_offset", "message_ids", ["offset"])


def _cursors() -> None:
    op.create_table(
        "cursors",
        sa.Column("device_id", sa.Integer(), primary_key=True, nullable=False),
        sa.Column("user_id", sa.Integer(), nullable=False),
        sa.Column("epoch", sa.Text(), nullable=False),
        sa.Column("offset", sa.Integer(), nullable=False),
        sa.Column("updated_at", sa.Integer(), nullable=False),
    )
    op.create_index("cursors_user_id", "cursors", ["user_id"])
    op.create_table(
        "floors",
        sa.Column("user_id", sa.Integer(), primary_key=True, nullable=False),
        sa.Column("offset", sa.Integer(), nullable=False),
    )


def _api_keys() -> None:
    op.create_table(
        "api_keys",
        sa.Column("id", sa.Integer(), primary_key=True, nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("key_hash", sa.LargeBinary(), nullable=False),
        sa.Column("scopes", sa.Text(), nullable=False),
        sa.Column("prefixes", sa.Text(), nullable=False, server_default=sa.text("'[]'")),
        sa.Column("created_at", sa.Integer(), nullable=False),
        sa.Column("last_used", sa.Integer()),
        sa.Column("revoked_at", sa.Integer()),
        sqlite_autoincrement=True,
    )
    op.create_index("api_keys_key_hash", "api_keys", ["key_hash"], unique=True)
