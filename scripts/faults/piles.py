"""Makes users who have very many rows, as an older server or years of use leave them."""

import random
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, Final

from argon2 import PasswordHasher
from sqlalchemy import Connection

from app.auth.api_keys import KEY_PREFIX
from app.auth.tokens import hash_token, new_token
from app.storage.database import Database
from app.storage.schema import milliseconds

PASSWORD: Final = "correct horse battery staple"  # noqa: S105 - of users of the trial

DAY_MS: Final = 86_400_000

_COUNT: Final = "WITH RECURSIVE n (i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n WHERE i < ?)"
_USER: Final = """
INSERT INTO users (id, handle, handle_key, password_hash, created_at) VALUES (?, ?, ?, ?, ?)
"""
_SESSIONS: Final = f"""
{_COUNT} INSERT INTO sessions (user_id, token_hash, created_at, last_used, expires_at)
SELECT ?, randomblob(32), ?, ? - i, ? FROM n
"""  # noqa: S608 - constants, like all here
_SESSION: Final = """
INSERT INTO sessions (user_id, token_hash, created_at, last_used, expires_at)
VALUES (?, ?, ?, ?, ?)
"""
_MESSAGES: Final = f"""
{_COUNT} INSERT INTO messages (user_id, type, payload, created_at, source_device)
SELECT ?, 'note.text', CAST('"' || hex(randomblob(50)) || '"' AS BLOB), ?, ? FROM n
"""  # noqa: S608
_VALUES: Final = f"""
{_COUNT} INSERT INTO messages (user_id, type, payload, "key", created_at)
SELECT ?, 'note.text', CAST('1' AS BLOB), 'k' || i, ? FROM n
"""  # noqa: S608
_CURSORS: Final = f"{_COUNT} INSERT INTO cursors SELECT ? + i, ?, 'e', 1, 1 FROM n"  # noqa: S608
_IDS: Final = f"""
{_COUNT} INSERT INTO message_ids SELECT ? + i, randomblob(16), randomblob(16), ? FROM n
"""  # noqa: S608
# As of a server that made no checksums yet.
_WITHOUT_CHECKSUMS: Final = """
UPDATE sums SET rows = seq, sum = ~seq
FROM (SELECT seq FROM sqlite_sequence WHERE name = 'messages') WHERE name = 'unchecked'
"""
_KEY: Final = """
INSERT INTO api_keys (name, key_hash, scopes, created_at) VALUES ('trial', ?, '["send"]', ?)
"""


@dataclass(frozen=True, slots=True)
class Sizes:
    """How many rows there are: sessions of each user, messages past their age, and of one user."""

    sessions: int
    old: int
    rows: int
    keys: int
    ids: int


@dataclass(slots=True)
class Piles:
    """Users with very many rows, by what becomes of them."""

    HOARDER: ClassVar[int] = 6
    """Whose messages are all too old."""

    owner: int = 1
    """Changes the password, by the session of `keeper`."""
    disabled: int = 2
    deleted: int = 3
    above: int = 4
    """Has more sessions than the limit."""
    bystander: int = 5
    keeper: str = ""
    api_key: str = ""
    tokens: Mapping[str, str] = field(default_factory=dict)
    """A token of each user whose sessions end, by what ends them."""


async def pile_up(path: Path, sizes: Sizes, dice: random.Random) -> Piles:
    """Fill a new database."""
    piles = Piles(keeper=new_token(), api_key=KEY_PREFIX + new_token())
    endings = {
        "password change": piles.owner,
        "disabling a user": piles.disabled,
        "deleting a user": piles.deleted,
    }
    piles.tokens = {name: new_token() for name in endings}
    database = await Database.open(path)
    now = milliseconds(time.time())

    def fill(connection: Connection) -> None:
        run = connection.exec_driver_sql
        password = PasswordHasher(time_cost=2, memory_cost=19_456, parallelism=1).hash(PASSWORD)
        for user in range(1, Piles.HOARDER + 1):
            run(_USER, (user, f"user{user}", f"user{user}", password, now))
        end = now + 30 * DAY_MS
        for user in (piles.owner, piles.disabled, piles.deleted, piles.above):
            before = dice.randrange(sizes.sessions)
            for token, owner in [(piles.tokens[name], one) for name, one in endings.items()]:
                if owner == user:
                    run(_SESSIONS, (before + 1, user, now, now, end))
                    run(_SESSION, (user, hash_token(token), now, now, end))
            run(_SESSIONS, (sizes.sessions - before, user, now, now, end))
        run(_SESSION, (piles.owner, hash_token(piles.keeper), now, now, end))
        # First, as they came: retention looks no further than the first that is young.
        run(_MESSAGES, (sizes.old, Piles.HOARDER, now - 40 * DAY_MS, 0))
        run(_MESSAGES, (sizes.rows, piles.deleted, now, 0))
        run(_MESSAGES, (sizes.rows, piles.deleted, now, 1))
        run(_VALUES, (sizes.keys, piles.deleted, now))
        run(_CURSORS, (1000, 1_000_000, piles.deleted))
        run(_IDS, (sizes.ids, 0, now))
        run(_WITHOUT_CHECKSUMS)
        run(_KEY, (hash_token(piles.api_key), now))

    try:
        await database.transact(fill)
    finally:
        await database.close()
    return piles
