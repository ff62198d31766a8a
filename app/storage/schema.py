"""The tables. Times are integer milliseconds since the epoch, UTC.

Ids are AUTOINCREMENT: SQLite gives a number out once, even when its row is deleted.
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
"""The largest id: a request may name a larger number, but SQLite takes none."""


def milliseconds(seconds: float) -> int:
    """Return the time since the epoch as the tables keep it."""
    return int(seconds * 1000)


users = Table(
    "users",
    metadata,
    Column("id", Integer, primary_key=True),
    # As people see it; NULL for users from outside.
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
    # The user's sessions with ids up to this are over, whether or not their rows are there yet, ...
    Column("sessions_over_upto", Integer, nullable=False, server_default=text("0")),
    # ... but for this one.
    Column("kept_session_id", Integer),
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
# Of tombstones too: their not_before still counts.
Index("users_iss_sub_all", users.c.iss, users.c.sub)
_user_is_gone = text("deleted_at IS NOT NULL")
Index(
    "users_deleted_at",
    users.c.deleted_at,
    sqlite_where=_user_is_gone,
    postgresql_where=_user_is_gone,
)

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
_device_is_gone = text("removed_at IS NOT NULL")
Index(
    "devices_removed_at",
    devices.c.removed_at,
    sqlite_where=_device_is_gone,
    postgresql_where=_device_is_gone,
)

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
# To find the least recently used of a user.
Index("sessions_user_id_last_used", sessions.c.user_id, sessions.c.last_used)
Index("sessions_device_id", sessions.c.device_id)
Index("sessions_expires_at", sessions.c.expires_at)
Index("sessions_last_used", sessions.c.last_used)

# What has ended and still has rows (app/storage/leftovers.py).
leftovers = Table(
    "leftovers",
    metadata,
    Column("kind", Text, primary_key=True),
    # Of the user or the device.
    Column("id", Integer, primary_key=True),
    sqlite_with_rowid=False,
)

# JWTs without a device that signed out: no `not_before` refuses them.
ended_jwts = Table(
    "ended_jwts",
    metadata,
    # SHA-256 of what is signed, 32 bytes.
    Column("jwt_hash", LargeBinary, primary_key=True),
    # The token's `exp`: nobody needs the row any more then.
    Column("expires_at", Integer, nullable=False),
    sqlite_with_rowid=False,
)

Index("ended_jwts_expires_at", ended_jwts.c.expires_at)

# Durable messages. The columns where 0 or "" means "none" are compared in the index of `latest`,
# where NULL would equal nothing.
messages = Table(
    "messages",
    metadata,
    Column("offset", Integer, primary_key=True),
    # 0: of everyone, kept once.
    Column("user_id", Integer, nullable=False),
    Column("type", Text, nullable=False),
    # JSON text.
    Column("payload", LargeBinary, nullable=False),
    Column("target_device", Integer, nullable=False, server_default=text("0")),
    Column("without_device", Integer, nullable=False, server_default=text("0")),
    Column("without_instance", Text, nullable=False, server_default=text("''")),
    Column("source_device", Integer, nullable=False, server_default=text("0")),
    Column("source_instance", Text, nullable=False, server_default=text("''")),
    # NULL for a row of the log; of rows with a key only the newest is kept.
    Column("key", Text),
    Column("created_at", Integer, nullable=False),
    Column("expires_at", Integer),
    # 1: says that the value of this key was deleted; its payload is `null`.
    Column("deleted", Integer, nullable=False, server_default=text("0")),
    # CRC-32 of all other columns; NULL for rows of before there was one.
    Column("crc", Integer),
    sqlite_autoincrement=True,
)

# SQLite ends each entry with the rowid, which is the offset. Were it named, each entry would have
# it twice, and a search would go by the one and return the other.
Index("messages_user_id_offset", messages.c.user_id)
_is_from_device = text("source_device <> 0")
# To count apart what a user's devices have stored.
Index(
    "messages_from_devices",
    messages.c.user_id,
    messages.c.offset,
    sqlite_where=_is_from_device,
    postgresql_where=_is_from_device,
)
_is_latest = text("key IS NOT NULL")
Index(
    "messages_latest",
    messages.c.user_id,
    messages.c.type,
    messages.c.key,
    messages.c.target_device,
    messages.c.without_device,
    unique=True,
    sqlite_where=_is_latest,
    postgresql_where=_is_latest,
)
_expires = text("expires_at IS NOT NULL")
Index(
    "messages_expires_at",
    messages.c.expires_at,
    sqlite_where=_expires,
    postgresql_where=_expires,
)

# Messages whose checksum was wrong, as they were found: nothing in them can be believed. They are
# removed when they have been here for the retention time.
damaged_messages = Table(
    "damaged_messages",
    metadata,
    Column("offset", Integer, primary_key=True),
    Column("user_id", Integer),
    Column("type", Text),
    Column("payload", LargeBinary),
    Column("target_device", Integer),
    Column("without_device", Integer),
    Column("without_instance", Text),
    Column("source_device", Integer),
    Column("source_instance", Text),
    Column("key", Text),
    Column("created_at", Integer),
    Column("expires_at", Integer),
    Column("deleted", Integer),
    Column("crc", Integer),
    Column("found_at", Integer, nullable=False),
)

Index("damaged_messages_user_id", damaged_messages.c.user_id)

# What other tables hold, in numbers (app/storage/sums.py).
sums = Table(
    "sums",
    metadata,
    Column("name", Text, primary_key=True),
    Column("rows", Integer, nullable=False),
    Column("sum", Integer, nullable=False),
)

# The ids that let senders repeat a message without storing it twice.
message_ids = Table(
    "message_ids",
    metadata,
    # Of the message that it stored. Rows of it are appended, and walked in the order of their age.
    Column("offset", Integer, primary_key=True),
    # Of owner and message id, 16 bytes (`app.storage.message_ids`).
    Column("hash", LargeBinary, nullable=False),
    # Of the whole request, 16 bytes.
    Column("digest", LargeBinary, nullable=False),
    Column("created_at", Integer, nullable=False),
)

Index("message_ids_hash", message_ids.c.hash, unique=True)

# How many ids were added in each hour. The hour comes first, so that the rows that are written are
# close together, and those to remove too.
message_id_counts = Table(
    "message_id_counts",
    metadata,
    # Hours since 1970.
    Column("hour", Integer, primary_key=True),
    # `user:7` for all devices of the user, `key:3` or `operator`.
    Column("sender", Text, primary_key=True),
    Column("ids", Integer, nullable=False),
    sqlite_with_rowid=False,
)

# What each device has acknowledged.
cursors = Table(
    "cursors",
    metadata,
    Column("device_id", Integer, primary_key=True),
    Column("user_id", Integer, nullable=False),
    Column("epoch", Text, nullable=False),
    Column("offset", Integer, nullable=False),
    Column("updated_at", Integer, nullable=False),
)

Index("cursors_user_id", cursors.c.user_id)

# The highest offset that retention has removed, by user; 0 is everyone.
floors = Table(
    "floors",
    metadata,
    Column("user_id", Integer, primary_key=True),
    Column("offset", Integer, nullable=False),
)

# Parts of the numbering, in the order in which they began. A row is never removed: a device may
# come back with a position of any of them.
generations = Table(
    "generations",
    metadata,
    Column("number", Integer, primary_key=True),
    # 128 random bits as hexadecimal digits.
    Column("id", Text, nullable=False),
    # The first offset that it may give out; the next one's ends it.
    Column("first", Integer, nullable=False),
)

# Keys that an application's backend presents instead of a session.
api_keys = Table(
    "api_keys",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("name", Text, nullable=False),
    # SHA-256 of the key, 32 bytes.
    Column("key_hash", LargeBinary, nullable=False),
    # JSON lists: of `send`, `read`, `admin`; of type prefixes, empty for all.
    Column("scopes", Text, nullable=False),
    Column("prefixes", Text, nullable=False, server_default=text("'[]'")),
    Column("created_at", Integer, nullable=False),
    Column("last_used", Integer),
    Column("revoked_at", Integer),
    sqlite_autoincrement=True,
)

Index("api_keys_key_hash", api_keys.c.key_hash, unique=True)

meta = Table(
    "meta",
    metadata,
    Column("key", Text, primary_key=True),
    Column("value", Text, nullable=False),
)
