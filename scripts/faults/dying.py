"""A program of peers that connect, and die in every way that we know.

    python -m scripts.faults.dying PLAN

`do` of the plan: `connects` (how many, by command), `at_once` (workers) and `certificate` (of a
server with TLS, else empty). Reports `ready`. After each command of `connects` so many peers live
and die; it reports `connects` meanwhile, and then, for a command `go`, `go ended` with how often
each way was gone. After any other command, such as `before`, it reports `before counted` with what
the server's process holds.

The first accounts of each user are of the workers, the others are for one death each: a session
that has ended does not come back.
"""

import asyncio
import random
import ssl
from collections import Counter, deque
from collections.abc import Callable, Coroutine, Mapping
from typing import Any, Final

import orjson

from scripts.faults.bare import CLOSE, PING, Bare, frame, message, request, upgrade
from scripts.faults.fleet import Fleet, commands, reporting, run, say
from scripts.faults.plan import Account

SOURCES: Final = [f"127.0.0.{last}" for last in range(2, 10)]
"""Where connections come from. The server exempts loopback from counting, so they also say that
they are a proxy, and name a client."""

CLIENTS: Final = 64
"""Addresses that they name."""

TOGETHER: Final = 15
"""Connections of one device whose death takes time: one less than a device may have."""

NORMAL: Final = (1000).to_bytes(2, "big")
LARGE: Final = "x" * 50_000
FLOOD: Final = 2000
"""Pings at once. One that finds room again begins the count of those refused anew, so twice the
burst would not always do."""

UPGRADED: Final = 101
OK: Final = 200
NO_CONTENT: Final = 204
UNAUTHORIZED: Final = 401


class World:
    """Where peers come from, and what they do not expect."""

    def __init__(self, fleet: Fleet) -> None:
        do = fleet.plan.do
        self.port = fleet.plan.port
        self.rng = random.Random(fleet.rng.random())
        certificate: str = do["certificate"]
        self.tls = ssl.create_default_context(cafile=certificate) if certificate else None
        self.connects = 0
        self.wrong: Counter[str] = Counter()
        """What came otherwise than it should."""

    async def connect(self) -> Bare:
        """Connect from one of the addresses."""
        self.connects += 1
        return await Bare.connect(self.port, self.rng.choice(SOURCES), self.tls)

    async def open(self, account: Account, query: str = "") -> Bare:
        """Connect, and open a WebSocket."""
        peer = await self.connect()
        peer.write(upgrade(account.token, query, self.client()))
        self.expect("upgrade", await peer.status(), UPGRADED)
        await peer.frame()
        return peer

    async def ask(self, account: Account, method: str, path: str) -> None:
        """Send a request that is to succeed."""
        peer = await Bare.connect(self.port, tls=self.tls)
        headers = {**self.client(), "Content-Length": "0"}
        peer.write(request(path, account.token, method, headers))
        self.expect(f"{method} {path.rstrip('0123456789')}", await peer.status(), OK, NO_CONTENT)
        peer.abort()

    def client(self) -> dict[str, str]:
        """Return the header by which a proxy names its client."""
        return {"X-Forwarded-For": f"203.0.113.{self.rng.randrange(CLIENTS)}"}

    def expect(self, what: str, came: int, *wanted: int) -> None:
        """Note it if something else came."""
        if came not in wanted:
            self.wrong[f"{what}: {came}"] += 1


class Worker:
    """Lives and dies with one device of its own, and with many that are for one death each."""

    def __init__(self, world: World, own: Account, mortal: deque[tuple[Account, Account]]) -> None:
        self.world = world
        self.own = own
        self._mortal = mortal
        self._number = 0

    def instance(self) -> str:
        """Return the query of an instance that was not there before."""
        self._number += 1
        return f"?instance=i{self._number}"

    async def open(self) -> Bare:
        """Open a WebSocket of its own device."""
        return await self.world.open(self.own, self.instance())

    async def open_some(self) -> list[Bare]:
        """Open some WebSockets of its own device, side by side."""
        return [await self.open() for _ in range(TOGETHER)]

    def mortal(self) -> tuple[Account, Account]:
        """Return a device that may die, and one of the same user that stays."""
        return self._mortal.popleft()

    async def hear(self, way: str, peer: Bare, *codes: int) -> None:
        """Wait for the server to close it with one of these codes."""
        self.world.expect(way, await peer.code(), *codes)
        peer.abort()


Way = Callable[[Worker], Coroutine[Any, Any, None]]


async def closed(worker: Worker) -> None:
    """Close with a code, and hear the answer."""
    peer = await worker.open()
    peer.write(frame(NORMAL, CLOSE))
    await worker.hear("closed", peer, 1000)


async def closed_without_code(worker: Worker) -> None:
    """Close without one."""
    peer = await worker.open()
    peer.write(frame(b"", CLOSE))
    await worker.hear("closed without code", peer, 1000)


async def finished(worker: Worker) -> None:
    """End the stream without a close frame."""
    peer = await worker.open()
    peer.finish()
    await peer.ended()
    peer.abort()


async def reset(worker: Worker) -> None:
    """Reset the connection."""
    (await worker.open()).reset()


async def in_handshake(worker: Worker) -> None:
    """End in the middle of the request."""
    peer = await worker.world.connect()
    whole = upgrade(worker.own.token)
    peer.write(whole[: worker.world.rng.randrange(len(whole))])
    if worker.world.rng.random() < 0.5:
        peer.reset()
    else:
        peer.abort()


async def during_the_upgrade(worker: Worker) -> None:
    """End after the request, before its answer."""
    peer = await worker.world.connect()
    peer.write(upgrade(worker.own.token, worker.instance(), worker.world.client()))
    await asyncio.sleep(0)
    peer.reset()


async def refused(worker: Worker) -> None:
    """Come with a token of nobody."""
    peer = await worker.world.connect()
    peer.write(upgrade("x" * 43, headers=worker.world.client()))
    worker.world.expect("refused", await peer.status(), UNAUTHORIZED)
    peer.abort()


async def in_frame(worker: Worker) -> None:
    """End in the middle of a frame."""
    peer = await worker.open()
    whole = message("ping", LARGE)
    peer.write(whole[: worker.world.rng.randrange(1, len(whole))])
    peer.reset()


async def unread(worker: Worker) -> None:
    """Have much sent to oneself, read none of it, and end."""
    peer = await worker.open()
    peer.pause_reading()
    for _ in range(5):
        peer.write(message("device.send", {"to": "user", "type": "n.x", "payload": LARGE}))
    await asyncio.sleep(worker.world.rng.uniform(0, 0.05))
    peer.reset()


async def too_many(worker: Worker) -> None:
    """Have one instance more than a device may have."""
    peers: list[Bare] = []
    codes: list[asyncio.Task[int]] = []
    for _ in range(TOGETHER + 2):
        peers.append(await worker.open())
        # Each answers pings from now on: it may take long until there are too many.
        codes.append(asyncio.create_task(peers[-1].code()))
    done, _ = await asyncio.wait(codes, return_when=asyncio.FIRST_COMPLETED)
    for code in done:
        worker.world.expect("too many", await code, 1000)
    for peer in peers:
        peer.abort()
    await asyncio.gather(*codes)


async def replaced(worker: Worker) -> None:
    """Be replaced by the same instance."""
    query = worker.instance()
    first = await worker.world.open(worker.own, query)
    second = await worker.world.open(worker.own, query)
    await worker.hear("replaced", first, 1000)
    second.finish()
    second.abort()


async def signed_out(worker: Worker) -> None:
    """Sign out."""
    device, _ = worker.mortal()
    peer = await worker.world.open(device)
    signing_out = worker.world.ask(device, "POST", "/v1/auth/logout")
    await asyncio.gather(signing_out, worker.hear("signed out", peer, 1000))


async def revoked(worker: Worker) -> None:
    """Be removed by another device."""
    device, other = worker.mortal()
    peer = await worker.world.open(device)
    revoking = worker.world.ask(other, "DELETE", f"/v1/devices/{device.device}")
    await asyncio.gather(revoking, worker.hear("revoked", peer, 4502))


async def rate_limited(worker: Worker) -> None:
    """Send far more than one may."""
    peer = await worker.open()
    peer.write(frame(b"", PING) * FLOOD)
    await worker.hear("rate limited", peer, 4003)


async def unanswered(worker: Worker) -> None:
    """Answer no ping of the server."""
    for peer in await worker.open_some():
        peer.mute = True
        await worker.hear("unanswered", peer, 4001)


async def cut_in_tls_handshake(worker: Worker) -> None:
    """End in the middle of the handshake of TLS."""
    world = worker.world
    world.connects += 1
    peer = await Bare.connect(world.port, world.rng.choice(SOURCES))
    # A handshake record that says it is longer (RFC 8446, section 5.1).
    peer.write(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03")
    peer.reset()


WAYS: Final[tuple[Way, ...]] = (
    *(closed, closed_without_code, finished, reset, in_handshake, during_the_upgrade, refused),
    *(in_frame, unread, too_many, replaced, signed_out, revoked, rate_limited, unanswered),
)
WAYS_OF_TLS: Final[tuple[Way, ...]] = (*WAYS, cut_in_tls_handshake)

CONNECTS: Final[Mapping[Way, int]] = {too_many: TOGETHER + 2, replaced: 2, unanswered: TOGETHER}
"""Connections of one death, where there are more than one."""

MORTALS: Final = 2
"""Ways that take a device for good."""


def mortals(connects: int) -> int:
    """Return how many devices that may die are enough for so many connects."""
    return -(-connects // len(WAYS)) * MORTALS


def _deaths(connects: int, ways: tuple[Way, ...], rng: random.Random) -> deque[Way]:
    """Return ways that together take about so many connects, each of them the same number."""
    share = connects / len(ways)
    chosen = [way for way in ways for _ in range(round(share / CONNECTS.get(way, 1)) or 1)]
    rng.shuffle(chosen)
    return deque(chosen)


async def _work(worker: Worker, deaths: deque[Way]) -> None:
    while deaths:
        way = deaths.popleft()
        try:
            await way(worker)
        except (EOFError, OSError) as error:
            # A wait that was too long is a TimeoutError, which is an OSError.
            worker.world.wrong[f"{way.__name__}: {type(error).__name__}"] += 1


async def _die(world: World, workers: list[Worker], connects: int, word: str) -> None:
    ways = WAYS_OF_TLS if world.tls else WAYS
    deaths = _deaths(connects, ways, world.rng)
    times = Counter(way.__name__ for way in deaths)
    before = world.connects
    async with reporting("connects", lambda: world.connects):
        await asyncio.gather(*(_work(worker, deaths) for worker in workers))
    say(f"{word} ended", connects=world.connects - before, times=times, wrong=world.wrong)


async def _count(world: World, account: Account, word: str) -> None:
    peer = await world.open(account)
    peer.write(message("census.take", id="census"))
    while True:
        _, payload = await peer.frame()
        told: dict[str, Any] = orjson.loads(payload)
        if told.get("reply_to") == "census":
            break
    peer.write(frame(NORMAL, CLOSE))
    await peer.ended()
    peer.abort()
    say(f"{word} counted", **told["payload"])


async def live_and_die(fleet: Fleet) -> None:
    """Do as told until there are no more commands."""
    do = fleet.plan.do
    world = World(fleet)
    staying: list[Account] = []
    mortal: deque[tuple[Account, Account]] = deque()
    for account in fleet.plan.accounts:
        if not staying or staying[-1].user != account.user:
            staying.append(account)
        else:
            mortal.append((account, staying[-1]))
    workers = [Worker(world, own, mortal) for own in staying[: do["at_once"]]]
    orders = await commands()
    say("ready")
    while word := (await orders.readline()).decode().strip():
        if word in do["connects"]:
            await _die(world, workers, do["connects"][word], word)
        else:
            await _count(world, staying[-1], word)


if __name__ == "__main__":
    run(live_and_die)
