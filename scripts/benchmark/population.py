"""Makes users, devices, tokens and cookies in bulk, before the server starts."""

import json
import time
from collections.abc import Callable
from itertools import count
from pathlib import Path

from cryptography.fernet import Fernet
from sqlalchemy import insert

from app.auth.tokens import hash_token, new_token
from app.requests.cookies import SESSION_FIELD, load_fernet_keys
from app.settings import Settings
from app.storage.database import Database
from app.storage.schema import devices, milliseconds, sessions, users

DAY_MILLISECONDS = 86_400_000


async def populate(path: Path, owners: int, devices_each: int) -> list[str]:
    """Fill a new database, in one transaction, and return one token for each device."""
    now = milliseconds(time.time())
    tokens = [new_token() for _ in range(owners * devices_each)]
    people = [
        {"id": user, "handle": f"user{user}", "handle_key": f"user{user}", "created_at": now}
        for user in range(1, owners + 1)
    ]
    theirs = [
        {
            "id": device,
            "user_id": 1 + (device - 1) // devices_each,
            "device_uuid": f"device-{device:08}",
            "device_type": "web",
            "created_at": now,
            "last_seen": now,
        }
        for device in range(1, len(tokens) + 1)
    ]
    signed_in = [
        {
            "user_id": 1 + (device - 1) // devices_each,
            "device_id": device,
            "token_hash": hash_token(token),
            "created_at": now,
            "last_used": now,
            "expires_at": now + 30 * DAY_MILLISECONDS,
        }
        for device, token in zip(count(1), tokens, strict=False)
    ]
    database = await Database.open(path)
    try:
        async with database.write() as connection:
            await connection.execute(insert(users), people)
            await connection.execute(insert(devices), theirs)
            await connection.execute(insert(sessions), signed_in)
    finally:
        await database.close()
    return tokens


def cookie_maker(data_dir: Path) -> Callable[[str], str]:
    """Return a function from a token to the session cookie's value, as a sign-in would set it."""
    fernet = Fernet(load_fernet_keys(Settings(), data_dir)[0])

    def cookie(token: str) -> str:
        session = {"created": int(time.time()), "session": {SESSION_FIELD: token}}
        return fernet.encrypt(json.dumps(session).encode()).decode().rstrip("=")

    return cookie
