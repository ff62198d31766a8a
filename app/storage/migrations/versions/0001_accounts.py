"""Users, devices, sessions and what the database knows about itself."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    _users()
    _devices()
    _sessions()
    op.create_table(
        "meta",
        sa.Column("key", sa.Text(), primary_key=True, nullable=False),
        sa.Column("value", sa.Text(), nullable=False),
    )


def _users() -> None:
    op.create_table(
        "users",
        sa.Column("id", sa.Integer(), primary_key=True, nullable=False),
        sa.Column("handle", sa.Text()),
        sa.Column("handle_key", sa.Text()),
        sa.Column("iss", sa.Text()),
        sa.Column("sub", sa.Text()),
        sa.Column("password_hash", sa.Text()),
        sa.Column("roles", sa.Text(), nullable=False, server_default=sa.text("'[]'")),
        sa.Column("disabled_at", sa.Integer()),
        sa.Column("deleted_at", sa.Integer()),
        sa.Column("not_before", sa.Integer(), nullable=False, server_default=sa.text("0")),
        sa.Column("created_at", sa.Integer(), nullable=False),
        sqlite_autoincrement=True,
    )
    lives = sa.text("deleted_at IS NULL")
    op.create_index(
        "users_handle_key",
        "users",
        ["handle_key"],
        unique=True,
        sqlite_where=lives,
        postgresql_where=lives,
    )
    op.create_index(
        "users_iss_sub",
        "users",
        ["iss", "sub"],
        unique=True,
        sqlite_where=lives,
        postgresql_where=lives,
    )
    op.create_index("users_iss_sub_all", "users", ["iss", "sub"])


def _devices() -> None:
    op.create_table(
        "devices",
        sa.Column("id", sa.Integer(), primary_key=True, nullable=False),
        sa.Column("user_id", sa.Integer(), sa.ForeignKey("users.id"), nullable=False),
        sa.Column("device_uuid", sa.Text(), nullable=False),
        sa.Column("device_type", sa.Text(), nullable=False),
        sa.Column("device_name", sa.Text()),
        sa.Column("os_info", sa.Text()),
        sa.Column("created_at", sa.Integer(), nullable=False),
        sa.Column("last_seen", sa.Integer(), nullable=False),
        sa.Column("removed_at", sa.Integer()),
        sa.Column("not_before", sa.Integer(), nullable=False, server_default=sa.text("0")),
        sqlite_autoincrement=True,
    )
    lives = sa.text("removed_at IS NULL")
    op.create_index(
        "devices_user_id_device_uuid",
        "devices",
        ["user_id", "device_uuid"],
        unique=True,
        sqlite_where=lives,
        postgresql_where=lives,
    )
    op.create_index("devices_user_id_device_uuid_all", "devices", ["user_id", "device_uuid"])


def _sessions() -> None:
    op.create_table(
        "sessions",
        sa.Column("id", sa.Integer(), primary_key=True, nullable=False),
        sa.Column("user_id", sa.Integer(), sa.ForeignKey("users.id"), nullable=False),
        sa.Column("device_id", sa.Integer(), sa.ForeignKey("devices.id")),
        sa.Column("token_hash", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", sa.Integer(), nullable=False),
        sa.Column("last_used", sa.Integer(), nullable=False),
        sa.Column("expires_at", sa.Integer(), nullable=False),
        sa.Column("label", sa.Text()),
        sqlite_autoincrement=True,
    )
    op.create_index("sessions_token_hash", "sessions", ["token_hash"], unique=True)
    op.create_index("sessions_user_id", "sessions", ["user_id"])
    op.create_index("sessions_device_id", "sessions", ["device_id"])
    op.create_index("sessions_expires_at", "sessions", ["expires_at"])
    op.create_index("sessions_last_used", "sessions", ["last_used"])
