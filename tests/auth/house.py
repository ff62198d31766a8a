"""Accounts and sessions on a real database, with a clock that stands still until moved."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jwt
import outside
import pytest
from sqlalchemy import event

from app.auth.accounts import Accounts, SignedIn, SignIn
from app.auth.cleaner import Cleaner
from app.auth.endings import ToClose
from app.auth.jwt import JwtVerifier
from app.auth.limiter import FailureLimiter
from app.auth.passwords import Passwords
from app.auth.sessions import Sessions
from app.auth.tokens import Identity
from app.base.errors import Problem
from app.settings import Settings
from app.storage.database import Database
from app.storage.users import User
from tests.clocks import HandClock
from tests.databases import PASSWORD, add_person, place_database

NOON = 1_800_000_000.0
DAY = 86_400
JWT_SECRET = outside.SECRET
JWT_SETTINGS = outside.SETTINGS


class FakeClock(HandClock):
    """Stands at noon."""

    def __init__(self) -> None:
        super().__init__(NOON)


class Statements:
    """The statements that the database was asked, by their first word."""

    def __init__(self) -> None:
        self.seen: list[str] = []

    def count(self, word: str) -> int:
        return sum(statement.startswith(word) for statement in self.seen)


@contextmanager
def statements(database: Database) -> Iterator[Statements]:
    """Records what is executed inside the block."""
    recorded = Statements()

    def record(_connection: Any, _cursor: Any, statement: str, *_rest: Any) -> None:
        recorded.seen.append(statement.lstrip().upper())

    engines = [database.reader.sync_engine, database.writer.sync_engine]
    for engine in engines:
        event.listen(engine, "before_cursor_execute", record)
    try:
        yield recorded
    finally:
        for engine in engines:
            event.remove(engine, "before_cursor_execute", record)


@dataclass(frozen=True)
class House:
    """One server's accounts."""

    database: Database
    settings: Settings
    clock: FakeClock
    sessions: Sessions
    accounts: Accounts
    cleaner: Cleaner

    async def user(self, handle: str = "ada", **kwargs: Any) -> User:
        return await add_person(self.database, handle, clock=self.clock, **kwargs)

    async def sign_in(
        self, handle: str = "ada", uuid: str = "device-0001", password: str = PASSWORD, **info: Any
    ) -> SignedIn:
        networks = [info.pop("address", "192.0.2.1")]
        form = SignIn(handle, password, uuid, info.pop("device_type", "web"), **info)
        return await self.accounts.sign_in(form, networks)

    def jwt(self, **claims: Any) -> str:
        """Return a token of the application, issued now for an hour; None leaves a claim out."""
        now = self.clock()
        given = {
            "iss": JWT_SETTINGS["jwt_issuer"],
            "aud": JWT_SETTINGS["jwt_audience"],
            "sub": "customer-7",
            "iat": now,
            "exp": now + 3600,
            "device_id": "outside-0001",
            **claims,
        }
        payload = {name: value for name, value in given.items() if value is not None}
        return jwt.encode(payload, JWT_SECRET, algorithm="HS256")

    def touch(self, identity: Identity) -> None:
        """Use the identity as its live connection does."""
        self.sessions.touch_live([(identity.session_id, identity.device_id)])

    def restarted(self) -> Sessions:
        """Return sessions that remember nothing, on the same database."""
        verifier = JwtVerifier.from_settings(self.settings, self.clock)
        return Sessions(self.database, self.settings, verifier, self.clock)


Build = Callable[..., Awaitable[House]]


@asynccontextmanager
async def open_house(folder: Path, **options: Any) -> AsyncIterator[House]:
    """A house on a database of its own, with these settings."""
    settings = Settings(data_dir=folder, **options)
    clock = FakeClock()
    place_database(folder)
    database = await Database.open(folder / "switchboard.db")
    passwords = Passwords(settings.password_workers, settings.password_queue)
    limiter = FailureLimiter(settings.login_attempts, settings.login_window_seconds, clock)
    verifier = JwtVerifier.from_settings(settings, clock)
    sessions = Sessions(database, settings, verifier, clock)
    accounts = Accounts(database, settings, sessions, passwords, limiter, clock)
    try:
        cleaner = Cleaner(database, settings, sessions, clock, pause=0)
        yield House(database, settings, clock, sessions, accounts, cleaner)
    finally:
        passwords.close()
        await sessions.close()
        await database.close()


def closed(ended: ToClose) -> list[tuple[dict[str, Any], int, str]]:
    """Return the selectors' given fields, with code and reason of the close."""
    return [
        (
            {
                name: value
                for name in selector.__slots__
                if (value := getattr(selector, name)) is not None
            },
            close.code,
            close.reason,
        )
        for selector, close in ended
    ]


async def problem(awaitable: Any) -> tuple[int, str]:
    """Return status and code of the Problem that the call raises."""
    with pytest.raises(Problem) as caught:
        await awaitable
    return caught.value.status, caught.value.code


async def dead(house: House, token: str) -> bool:
    """Return whether the token is refused, from memory and from the database."""
    answers = await asyncio.gather(
        house.sessions.resolve(token, "header"),
        house.restarted().resolve(token, "header"),
        return_exceptions=True,
    )
    verdicts = [isinstance(answer, Problem) for answer in answers]
    assert verdicts[0] == verdicts[1]
    return verdicts[0]


async def refused(sessions: Sessions, token: str) -> None:
    """Check that the token is 401."""
    with pytest.raises(Problem) as caught:
        await sessions.resolve(token, "header")
    assert (caught.value.status, caught.value.code) == (401, "unauthorized")
