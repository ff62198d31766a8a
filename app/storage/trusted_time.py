"""The trusted time that is kept, so that a start with a wrong clock deletes nothing."""

from typing import Final

from sqlalchemy import Connection

_KEY: Final = "trusted_time"
_READ: Final = "SELECT value FROM meta WHERE key = ?"
_WRITE: Final = """
INSERT INTO meta (key, value) VALUES (?, ?)
ON CONFLICT (key) DO UPDATE SET value = excluded.value
"""
_LAST_SIGNS: Final = (
    'SELECT created_at FROM messages ORDER BY "offset" DESC LIMIT 1',
    "SELECT max(last_used) FROM sessions",
    "SELECT max(last_seen) FROM devices",
)


def last_trusted_time(connection: Connection, now: int) -> int | None:
    """Return the time that was kept last, in milliseconds since 1970.

    If none was ever kept, return when something was last stored, at most the machine's time `now`;
    None if nothing was.
    """
    kept = connection.exec_driver_sql(_READ, (_KEY,)).scalar()
    if kept is not None:
        return int(kept)
    found = [connection.exec_driver_sql(query).scalar() for query in _LAST_SIGNS]
    signs = [int(one) for one in found if one is not None]
    return min(now, max(signs)) if signs else None


def keep_trusted_time(connection: Connection, at: int) -> None:
    """Keep the time, in milliseconds since 1970."""
    connection.exec_driver_sql(_WRITE, (_KEY, str(at)))
