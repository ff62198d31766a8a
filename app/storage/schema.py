"""The tables. Times are integer milliseconds since the epoch, UTC.

Ids are AUTOINCREMENT: a number once given out never comes back, also after its row is gone.
"""

from sqlalchemy import (
    Column,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    text,
)

metadata = MetaData()

MAX_ID = 2**63 - 1
"""A larger number, which a request may well name, is no id and cannot be asked for."""

users = Table(
    "users",
    metadata,
    Column("id", Integer, primary_key=True),
    # What people see; NULL for users from outside.
    Column("handle", Text),
    # The handle as it is compared.
    Column("handle_key", Text),
    Column("iss", Text),
    Column("sub", Text),
    Column("password_hash", Text),
    Column("roles", Text, nullable=False, server_default=text("'[]'")),
    Column("disabled_at", Integer),
    Column("deleted_at", Integer),
    Column("not_before", Integer, nullable=False, server_default=text("0")),
    Column("created_at", Integer, nullable=False),
    sqlite_autoincrement=True,
)

_user_lives = text("deleted_at IS NULL")
Index(
    "users_handle_key",
    users.c.handle_key,
    unique=True,
    sqlite_where=_user_lives,
    postgresql_where=_user_lives,
)
Index(
    "users_iss_sub",
    users.c.iss,
    users.c.sub,
    unique=True,
    sqlite_where=_user_lives,
    postgresql_where=_user_lives,
)
# Tombstones are looked up too: their not_before outlives them.
Index("users_iss_sub_all", users.c.iss, users.c.sub)

devices = Table(
    "devices",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("user_id", Integer, ForeignKey("users.id"), nullable=False),
    Column("device_uuid", Text, nullable=False),
    Column("device_type", Text, nullable=False),
    Column("device_name", Text),
    Column("os_info", Text),
    Column("created_at", Integer, nullable=False),
    Column("last_seen", Integer, nullable=False),
    Column("removed_at", Integer),
    Column("not_before", Integer, nullable=False, server_default=text("0")),
    sqlite_autoincrement=True,
)

_device_lives = text("removed_at IS NULL")
Index(
    "devices_user_id_device_uuid",
    devices.c.user_id,
    devices.c.device_uuid,
    unique=True,
    sqlite_where=_device_lives,
    postgresql_where=_device_lives,
)
Index("devices_user_id_device_uuid_all", devices.c.user_id, devices.c.device_uuid)

sessions = Table(
    "sessions",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("user_id", Integer, ForeignKey("users.id"), nullable=False),
    Column("device_id", Integer, ForeignKey("devices.id")),
    # SHA-256 of the token, 32 bytes.
    Column("token_hash", LargeBinary, nullable=False),
    Column("created_at", Integer, nullable=False),
    Column("last_used", Integer, nullable=False),
    # The absolute end, used or not.
    Column("expires_at", Integer, nullable=False),
    Column("label", Text),
    sqlite_autoincrement=True,
)

Index("sessions_token_hash", sessions.c.token_hash, unique=True)
Index("sessions_user_id", sessions.c.user_id)
Index("sessions_device_id", sessions.c.device_id)
Index("sessions_expires_at", sessions.c.expires_at)
Index("sessions_last_used", sessions.c.last_used)

meta = Table(
    "meta",
    metadata,
    Column("key", Text, primary_key=True),
    Column("value", Text, nullable=False),
)
