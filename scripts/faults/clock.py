"""clock: sets the server's clock wrong, also at starts; nothing goes and nobody is signed out."""

import argparse
import asyncio
import random
import secrets
import sqlite3
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import jwt

from app.protocol.close import REVOKED, SESSION_EXPIRED
from app.requests.cookies import COOKIE_NAME
from scripts.benchmark.population import cookie_maker, populate
from scripts.faults.clocked import Shift
from scripts.faults.journal import Left, read
from scripts.faults.link import Link
from scripts.faults.outcome import Outcome, run_checker
from scripts.faults.plan import Plan, accounts
from scripts.faults.program import Program
from scripts.faults.server import Server

USERS: Final = 5
DEVICES_EACH: Final = 4

HOUR: Final = 3600
DAY: Final = 86_400

TRUE_SHARE: Final = 5 / 600
"""The tolerance as a share of the agreement, as it is for people."""

HOLD_SHARE: Final = 0.3
"""How long a wrong clock stays wrong, as a share of the agreement: well below it."""

LOOK_SECONDS: Final = 0.1
PATIENCE_SECONDS: Final = 60
"""For what happens at once, on a machine that is busy."""


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of this trial."""
    parser.add_argument("--jumps", type=int, default=30, help="every kind comes at least once")
    parser.add_argument("--messages", type=int, default=20_000)
    parser.add_argument(
        "--agreement", type=int, default=60, help="seconds in place of the ten minutes"
    )


@dataclass(slots=True)
class Trial:
    """The server, its clock, and who must stay signed in."""

    server: Server
    shift: Shift
    agreement: float
    credentials: Mapping[str, Mapping[str, str]]
    rng: random.Random
    faults: list[str] = field(default_factory=list)
    asked: int = 0

    @property
    def hold(self) -> float:
        """How long the clock is wrong for, in seconds."""
        return self.agreement * HOLD_SHARE * self.rng.uniform(0.05, 1)

    def refused(self) -> list[str]:
        """Return the credentials that the server refuses now."""
        self.asked += 1
        return [name for name, headers in self.credentials.items() if not self._holds(headers)]

    def watch(self, seconds: float, when: str) -> None:
        """Have every credential hold all the time for so many seconds."""
        until, refused = time.monotonic() + seconds, set(self.refused())
        while time.monotonic() < until:
            time.sleep(LOOK_SECONDS)
            refused.update(self.refused())
        self.faults += [f"{name} was refused: {when}" for name in sorted(refused)]

    def _holds(self, headers: Mapping[str, str]) -> bool:
        address = f"http://127.0.0.1:{self.server.port}/v1/auth/session"
        request = urllib.request.Request(address, headers=dict(headers))
        try:
            urllib.request.urlopen(request, timeout=PATIENCE_SECONDS).close()  # noqa: S310
        except urllib.error.HTTPError as error:
            if error.code != 401:
                raise
            return False
        return True


# The ways in which a clock goes wrong


def _wrong(seconds: float) -> Callable[[Trial], None]:
    """Return a jump there and back."""

    def jump(trial: Trial) -> None:
        trial.shift.seconds = seconds
        trial.watch(trial.hold, f"the clock was {seconds:+} s wrong")
        trial.shift.seconds = 0

    return jump


def _wrong_start(seconds: float) -> Callable[[Trial], None]:
    """Return a start with a wrong clock, after a stop or a kill."""

    def start(trial: Trial) -> None:
        if trial.rng.random() < 0.5:
            trial.server.stop()
        else:
            trial.server.kill()
        trial.shift.seconds = seconds
        trial.server.start()
        trial.server.wait_until_healthy()
        trial.watch(trial.hold, f"started with a clock that was {seconds:+} s wrong")
        trial.shift.seconds = 0

    return start


def _drift(trial: Trial) -> None:
    """Run slightly fast and then slightly slow, as while NTP corrects."""
    reached = trial.agreement * TRUE_SHARE * 0.8
    for share in (0.25, 0.5, 0.75, 1, 0.75, 0.5, 0.25, 0):
        trial.shift.seconds = reached * share
        trial.watch(trial.hold / 8, "the clock drifted")


KINDS: Final[Mapping[str, Callable[[Trial], None]]] = {
    "an hour back": _wrong(-HOUR),
    "40 days ahead": _wrong(40 * DAY),
    "400 days ahead": _wrong(400 * DAY),
    "400 days back": _wrong(-400 * DAY),
    "a drift": _drift,
    "a start 40 days ahead": _wrong_start(40 * DAY),
    "a start 400 days back": _wrong_start(-400 * DAY),
}


def plan_jumps(count: int, rng: random.Random) -> list[str]:
    """Return the kinds of jumps in their order: each at least once."""
    names = list(KINDS)
    more = rng.choices(names, k=max(0, count - len(names)))
    return rng.sample([*names, *more], k=len(names) + len(more))


def run(options: argparse.Namespace, folder: Path) -> Outcome:
    """Set the clock while devices write, and at last let it be believed."""
    rng = random.Random(options.seed)
    secret = secrets.token_hex(32)
    names = {"JWT_ISSUER": "https://trial.example", "JWT_AUDIENCE": "trial"}
    folder.mkdir(parents=True, exist_ok=True)
    shift = Shift(folder / "shift")
    scale = (str(options.agreement), str(options.agreement * TRUE_SHARE))
    program = ("scripts.faults.clocked", str(folder / "shift"), *scale)
    settings = {"JWT_ALGORITHM": "HS256", "JWT_SECRET": secret, **names}
    began = time.time()
    with Server(folder / "data", settings, program=program) as server:
        tokens = asyncio.run(populate(server.database, USERS, DEVICES_EACH))
        credentials = _credentials(server, tokens[0], secret, names)
        trial = Trial(server, shift, options.agreement, credentials, rng)
        server.start()
        server.wait_until_healthy()
        jumps = plan_jumps(options.jumps, rng)
        journal = folder / "journal"
        _write_meanwhile(trial, jumps, options.messages, _plan(server, tokens, journal, rng))
        rows, oldest = _kept(server)
        # Somebody who was signed out cannot show when the others are.
        believed = _believe(trial, tokens[0]) if not trial.faults else Believed(0, [])
        lines = server.log.read_text().count("clock jumped")
        server.stop()
        errors = server.errors()
    faults = [*trial.faults, *believed.faults]
    faults += [f"the server logged an error: {line[:300]}" for line in errors[:5]]
    if rows != options.messages:
        faults.append(f"the table has {rows} rows, not {options.messages}")
    if oldest < began * 1000 - 1:
        faults.append("a message was stamped before the trial began")
    ended = [one.code for one in read(journal) if isinstance(one, Left)]
    signed_out = sum(code in (SESSION_EXPIRED.code, REVOKED.code) for code in ended)
    if signed_out:
        faults.append(f"{signed_out} connections were closed as signed out")
    facts = {
        "jumps": f"{len(jumps)}, then one that is believed after {believed.seconds:.1f} s",
        "rows in the table": f"{rows:,}",
        "asked who is signed in": f"{trial.asked:,} times, {len(trial.credentials)} credentials",
        "jumps in the log": f"{lines}",
        "duration": f"{time.time() - began:.0f} s",
    }
    return Outcome(facts, faults, run_checker([journal], expect=options.messages))


def _plan(server: Server, tokens: Sequence[str], journal: Path, rng: random.Random) -> Plan:
    # Nothing is given up, so that every message is kept once.
    do: dict[str, Any] = {"nameless_share": 0, "abandoned_share": 0}
    theirs = accounts(tokens, DEVICES_EACH)
    return Plan(server.port, rng.getrandbits(32), str(journal), theirs, do)


def _write_meanwhile(trial: Trial, jumps: Sequence[str], messages: int, plan: Plan) -> None:
    # About as long as the jumps take, so that devices write during each of them.
    seconds = len(jumps) * trial.agreement * HOLD_SHARE
    pause = seconds * len(plan.accounts) * 4 / messages
    do = {**plan.do, "messages": messages, "pause": min(1.0, pause)}
    plan = Plan(plan.port, plan.seed, plan.journal, plan.accounts, do)
    with Program("scripts.faults.writing", plan, Path(plan.journal).parent) as program:
        program.until("ready")
        program.tell("go")
        for kind in jumps:
            KINDS[kind](trial)
            # Until the server has seen that the clock is right again.
            trial.watch(trial.agreement * 0.05 + 1.5, f"after {kind}")
        program.until("done", seconds=1800)


def _credentials(
    server: Server, token: str, secret: str, names: Mapping[str, str]
) -> dict[str, dict[str, str]]:
    now = time.time()
    claims = {
        "iss": names["JWT_ISSUER"],
        "aud": names["JWT_AUDIENCE"],
        "sub": "somebody",
        "iat": now,
        # It must outlast the trial.
        "exp": now + DAY,
        "device_id": "device-of-a-jwt",
    }
    signed = jwt.encode(claims, secret, algorithm="HS256")
    cookie = cookie_maker(server.folder)(token)
    return {
        "a session": {"Authorization": f"Bearer {token}"},
        "a cookie": {"Cookie": f"{COOKIE_NAME}={cookie}"},
        "a JWT": {"Authorization": f"Bearer {signed}"},
    }


def _kept(server: Server) -> tuple[int, int]:
    with closing(sqlite3.connect(server.database)) as connection:
        query = "SELECT count(*), coalesce(min(created_at), 0) FROM messages"
        rows, oldest = connection.execute(query).fetchone()
    return int(rows), int(oldest)


# A jump that lasts


@dataclass(slots=True)
class Believed:
    """What came of a clock that stays ahead."""

    seconds: float
    faults: list[str]


def _believe(trial: Trial, token: str) -> Believed:
    """Leave the clock ahead: after the agreement, sessions end and rows go."""
    return asyncio.run(_believed(trial, token))


async def _believed(trial: Trial, token: str) -> Believed:
    link = Link(lambda _message: None)
    address = f"ws://127.0.0.1:{trial.server.port}/v1/ws?instance=believed"
    await link.open(address, {"Authorization": f"Bearer {token}"})
    began = time.monotonic()
    # Further than any before: what was stamped then must be old, too.
    trial.shift.seconds = 800 * DAY
    when = "the clock was not to be believed yet"
    await asyncio.to_thread(trial.watch, trial.agreement * 0.9, when)
    faults: list[str] = []
    until = time.monotonic() + trial.agreement + PATIENCE_SECONDS
    while len(await asyncio.to_thread(trial.refused)) < len(trial.credentials):
        if time.monotonic() > until:
            faults.append("sessions did not end when the clock was to be believed")
            break
        await asyncio.sleep(LOOK_SECONDS)
    seconds = time.monotonic() - began
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            code = await link.ended()
    except TimeoutError:
        code = 0
    if code != SESSION_EXPIRED.code:
        faults.append(f"a connection whose session ended was closed with {code}")
    until = time.monotonic() + PATIENCE_SECONDS
    while _kept(trial.server)[0]:
        if time.monotonic() > until:
            faults.append("messages of long ago were not removed")
            break
        await asyncio.sleep(LOOK_SECONDS)
    return Believed(seconds, faults)
