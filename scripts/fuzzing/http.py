"""HTTP: requests that keep to the OpenAPI document, nearly or not at all, and all answers checked.

Each refusal must be `application/problem+json` with a code that the documentation has, for this
operation if the request is one; each success is what the document says. No answer is 500, no log
line tells of a failure, nothing that was refused has changed the database, and no task, connection
or descriptor is left.
"""

import argparse
import asyncio
import hashlib
import json
import random
import sqlite3
import tempfile
import time
from collections import Counter
from contextlib import closing, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from pydantic import ValidationError

from app.application import ROUTES
from app.base.errors import Problem
from app.storage.database import DATABASE_NAME
from app.web.openapi import problems_of
from app.web.problems import PROBLEM_TYPE
from scripts.fuzzing.documented import problem_codes
from scripts.fuzzing.house import PASSWORD, Faults, House, warm_up
from scripts.fuzzing.requests import Catalogue, Credentials, Request

ROUND: Final = 2500
"""Requests of one server; then the database is new, and what was left is looked for."""

SECONDS: Final = 60
"""After which an answer does not come any more; the machine may have other work."""

UNFINISHED_SECONDS: Final = 0.2
"""How long a request that may have no end is waited for."""

UNWATCHED: Final = frozenset({"last_seen", "last_used"})
"""Columns that tell of use; they are written now and then, by no request."""

# The trusted time is written every half minute.
UNWATCHED_TABLES: Final = frozenset({"meta", "alembic_version", "leftovers", "sessions"})
"""Tables that the server itself changes; it removes ended sessions after the answer, in steps."""


@dataclass(slots=True)
class Response:
    """An answer, or `status` 0 if the server closed without one."""

    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""


@dataclass(slots=True)
class Tally:
    """What came, by status."""

    requests: int = 0
    statuses: Counter[int] = field(default_factory=Counter)


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add how many, and the one round to try again."""
    parser.add_argument("--requests", type=int, default=100_000, help="sent altogether")
    parser.add_argument("--round", type=int, help="only this one of the seed, to see it again")


def run(options: argparse.Namespace) -> tuple[Faults, str]:
    """Send the requests; return the faults, and a line with the figures."""
    faults, tally, begun = Faults(), Tally(), time.monotonic()
    catalogue = Catalogue(ROUTES)
    number = options.round or 0
    with tempfile.TemporaryDirectory(prefix="switchboard-fuzz-") as folder:
        asyncio.run(warm_up(Path(folder)))
    while tally.requests < options.requests and not faults:
        count = min(ROUND, options.requests - tally.requests)
        with tempfile.TemporaryDirectory(prefix="switchboard-fuzz-") as folder:
            name = f"{number} --seed {options.seed}"
            asyncio.run(_round(Path(folder), catalogue, name, count, tally, faults))
        if options.round is not None:
            break
        number += 1
        if number % 4 == 0:
            print(f"{tally.requests:,} requests", flush=True)
    statuses = ", ".join(f"{code} {count:,}×" for code, count in sorted(tally.statuses.items()))
    seconds = time.monotonic() - begun
    return faults, f"{tally.requests:,} requests: {statuses}; {seconds:.0f} s"


class _Round:
    """One server, and one connection after the other that asks it."""

    def __init__(self, house: House, name: str, faults: Faults, tally: Tally) -> None:
        self._house = house
        self._name = name
        self._faults = faults
        self._tally = tally
        self._codes = problem_codes()
        self._known = Credentials()
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
        self._store = Store(house.settings.data_dir / DATABASE_NAME)
        self._people: dict[str, int] = {}
        self._handles: dict[str, str] = {}

    async def populate(self) -> None:
        """Add an administrator, a user, and one whose ids requests name."""
        self._key = await self._house.api_key()
        await self.sign_in()

    async def _signed_in(self, name: str) -> tuple[str, int]:
        """Return a new token of the person, and the device; of another one if it is gone."""
        if name in self._people:
            # Requests may have removed or disabled this one.
            with suppress(Problem):
                return await self._house.device(self._people[name], f"uuid-{name}")
        handle = self._handles[name] = f"{name}-{self._tally.requests}"
        self._people[name] = await self._house.person(handle, admin=name == "root")
        return await self._house.device(self._people[name], f"uuid-{name}")

    async def sign_in(self) -> None:
        """Issue new tokens: requests end them now and then."""
        root_token, _ = await self._signed_in("root")
        token, device = await self._signed_in("ada")
        await self._signed_in("bob")
        bob = self._people["bob"]
        body = json.dumps(
            {"handle": self._handles["ada"], "password": PASSWORD, "device_uuid": "uuid-cookie"}
        )
        login = Request("POST", "/v1/auth/login", ["Host: 127.0.0.1"], body.encode(), None, "")
        login.headers += ["Content-Type: application/json", f"Content-Length: {len(body)}"]
        answer = await self.ask(login)
        cookie = answer.headers.get("set-cookie", "").partition(";")[0]
        self._known = Credentials(
            [
                *(f"Authorization: Bearer {root_token}", f"Authorization: Bearer {self._key}"),
                *(f"Authorization: Bearer {token}", f"Authorization: {token}", f"Cookie: {cookie}"),
                *(f"Authorization: Bearer {root_token}", "Authorization: Bearer wrong"),
            ],
            [device, bob, bob, 1 << 40],
            ["c-1", "x", "%00"],
        )
        self._store.changed()

    def credentials(self) -> Credentials:
        """Return what requests may present now."""
        return self._known

    async def try_one(self, request: Request) -> None:
        """Send a request and check its answer."""
        self._tally.requests += 1
        answer = await self.ask(request)
        self._tally.statuses[answer.status] += 1
        changed = self._store.changed()
        fault = self._fault(request, answer)
        if changed and 400 <= answer.status < 500:
            fault = f"it was refused, and {changed} changed"
        if fault is not None:
            about = f"{request.data()[:1500]!r} was answered {answer.status} {answer.body[:300]!r}"
            self._faults.add(f"--round {self._name}: {fault}: {about}")

    def _fault(self, request: Request, answer: Response) -> str | None:
        if answer.status == 0:
            return "no answer" if request.whole else None
        if answer.status >= 400:
            return self._refusal_fault(request, answer)
        route = request.route
        if route is None or request.method == "HEAD" or answer.status == 304:
            return None
        if answer.status != route.status:
            return f"the document says {route.status}"
        if route.answer is not None:
            try:
                route.answer.model_validate_json(answer.body)
            except ValidationError as error:
                return f"the document says something else ({error.errors()[:2]})"
        return None

    def _refusal_fault(self, request: Request, answer: Response) -> str | None:
        if request.method == "HEAD":
            return "the server failed" if answer.status >= 500 else None
        if not answer.headers.get("content-type", "").startswith(PROBLEM_TYPE):
            return "no problem+json"
        problem = json.loads(answer.body)
        code = problem.get("code")
        if (answer.status, code) not in self._codes:
            return f"problem {code!r} is in no table"
        if problem.get("status") != answer.status:
            return "it tells another status"
        if answer.status == 500:
            return "the server failed"
        if request.route is not None and code not in problems_of(request.route).get(
            answer.status, []
        ):
            return f"problem {code!r} is not in the document of {request.label}"
        return None

    async def ask(self, request: Request) -> Response:
        """Write a request and read its answer, once more if the connection was not a new one."""
        reused = self._streams is not None
        answer = await self._ask(request)
        if answer.status == 0 and reused and request.whole:
            # The server may have closed it after the last answer (RFC 9112, section 9.3.1).
            answer = await self._ask(request)
        return answer

    async def _ask(self, request: Request) -> Response:
        if self._streams is None:
            self._streams = await asyncio.open_connection("127.0.0.1", self._house.port)
        reader, writer = self._streams
        writer.write(request.data())
        try:
            async with asyncio.timeout(SECONDS if request.whole else UNFINISHED_SECONDS):
                answer = await _read(reader, request.method)
        except (ConnectionError, asyncio.IncompleteReadError, TimeoutError):
            answer = Response()
        if not request.whole or answer.status == 0 or _closes(answer) or request.route is None:
            await self.hang_up()
        return answer

    async def hang_up(self) -> None:
        """Close the connection; what was left on it is no answer to the next request."""
        if self._streams is not None:
            _, writer = self._streams
            self._streams = None
            writer.transport.abort()
            with suppress(ConnectionError):
                await writer.wait_closed()

    def close(self) -> None:
        """Let go of the database."""
        self._store.close()


class Store:
    """The database seen from outside: what has changed since the last look?"""

    def __init__(self, path: Path) -> None:
        self._connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
        self._version = -1
        self._digests: dict[str, str] = {}
        self._columns = {
            table: [name for _, name, *_ in self._rows(f"PRAGMA table_info({table})")]
            for (table,) in self._rows("SELECT name FROM sqlite_master WHERE type = 'table'")
            if table not in UNWATCHED_TABLES
        }

    def changed(self) -> list[str]:
        """Return the tables whose rows are others than at the last look."""
        ((version,),) = self._rows("PRAGMA data_version")
        if version == self._version:
            return []
        self._version = version
        before, self._digests = self._digests, {name: self._digest(name) for name in self._columns}
        return [name for name, digest in self._digests.items() if before.get(name) != digest]

    def _digest(self, table: str) -> str:
        columns = ", ".join(f'"{name}"' for name in self._columns[table] if name not in UNWATCHED)
        rows = self._rows(f"SELECT {columns} FROM {table}")  # noqa: S608 (of its own schema)
        return hashlib.sha256(repr(rows).encode()).hexdigest()

    def _rows(self, statement: str) -> list[Any]:
        with closing(self._connection.execute(statement)) as cursor:
            return cursor.fetchall()

    def close(self) -> None:
        """Close it."""
        self._connection.close()


async def _read(reader: asyncio.StreamReader, method: str) -> Response:
    """Return the answer; raises IncompleteReadError if the connection ended before."""
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    status = int(head[0].split(" ")[1])
    if status == 100:
        return await _read(reader, method)
    lines = [line.partition(":") for line in head[1:] if line]
    headers = {name.strip().lower(): value.strip() for name, _, value in lines}
    if method == "HEAD" or status in (101, 204, 304):
        return Response(status, headers)
    if "content-length" in headers:
        body = await reader.readexactly(int(headers["content-length"]))
    elif headers.get("transfer-encoding") == "chunked":
        body = b""
        while size := int(await reader.readline(), 16):
            body += await reader.readexactly(size)
            await reader.readline()
        await reader.readline()
    else:
        body = await reader.read()
    return Response(status, headers, body)


def _closes(answer: Response) -> bool:
    return answer.headers.get("connection", "").lower() == "close"


async def _round(
    folder: Path, catalogue: Catalogue, name: str, count: int, tally: Tally, faults: Faults
) -> None:
    async with House(folder, faults, login_attempts=0) as house:
        one = _Round(house, name, faults, tally)
        try:
            await one.populate()
            requests = catalogue.requests(random.Random(name), one.credentials)
            for at in range(count):
                if at % 50 == 49:
                    await one.sign_in()
                await one.try_one(next(requests))
                if faults:
                    break
        finally:
            await one.hang_up()
            one.close()
        await house.settled()
