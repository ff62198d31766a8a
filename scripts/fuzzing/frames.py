"""Frames: connections that say anything, and an account of the answers.

In each round the whole server starts inside of this process, some connections of a few devices
talk to it at once, and it stops. Every message with an id must get exactly one answer, every ping
its pong; errors and closes have codes of the documentation; who has broken no rule is not closed;
no log line tells of a failure, and no task, connection or descriptor is left.
"""

import argparse
import asyncio
import random
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any, Final

from scripts.fuzzing.documented import CLOSE_CODES, error_codes
from scripts.fuzzing.grammar import Grammar, Piece
from scripts.fuzzing.house import Faults, House, warm_up
from scripts.fuzzing.peer import SECONDS, Peer

ROUND: Final = 25_000
"""Frames of a round; starting and stopping the server takes as long as some thousand."""

FREE: Final[dict[str, Any]] = dict.fromkeys(
    (
        *("messages_per_second", "bytes_per_second", "user_messages_per_second"),
        *("user_bytes_per_second", "user_deliveries_per_second", "user_upgrades_per_second"),
        *("user_writes_per_second", "new_devices_per_day"),
    ),
    0,
)
"""Settings of most rounds; in every fifth the limits hold, and close."""

QUERIES: Final = (
    *("", "", "?instance=tab-1", "?instance=tab-2", "?resume=live", "?snapshot=1"),
    *("?epoch=EPOCH&offset=0", "?epoch=EPOCH&offset=3&snapshot=1", "?epoch=x&offset=1"),
    *("?epoch=EPOCH&offset=9223372036854775807", "?epoch=&offset=00", "?token=abc&x=%00"),
    *("?epoch=EPOCH&offset=9999999999999999999", "?epoch=%ff%00&offset=5", "?snapshot=0"),
    *("?offset=5", "?epoch=x", "?epoch=x&offset=-1", "?instance=", "?instance=%c3%a9"),
    *("?snapshot=2", "?resume=no", "?instance=a&instance=b", "?&&=&", "?epoch=x&offset=1.0"),
)


@dataclass(slots=True)
class Tally:
    """What was sent and what came."""

    frames: int = 0
    messages: int = 0
    answers: int = 0
    connections: int = 0
    refused: int = 0
    closes: dict[int, int] = field(default_factory=dict)


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add how many, and the one round to try again."""
    parser.add_argument("--frames", type=int, default=10_000_000, help="sent altogether")
    parser.add_argument("--round", type=int, help="only this one of the seed, to see it again")


def run(options: argparse.Namespace) -> tuple[Faults, str]:
    """Send the frames; return the faults, and a line with the figures."""
    faults, tally, begun = Faults(), Tally(), time.monotonic()
    number = options.round or 0
    with tempfile.TemporaryDirectory(prefix="switchboard-fuzz-") as folder:
        asyncio.run(warm_up(Path(folder)))
    while tally.frames < options.frames and not faults:
        count = min(ROUND, options.frames - tally.frames)
        with tempfile.TemporaryDirectory(prefix="switchboard-fuzz-") as folder:
            asyncio.run(_round(Path(folder), options.seed, number, count, tally, faults))
        if options.round is not None:
            break
        number += 1
        if number % 4 == 0:
            print(f"{tally.frames:,} frames", flush=True)
    closes = ", ".join(f"{code} {count:,}×" for code, count in sorted(tally.closes.items()))
    figures = (
        f"{tally.frames:,} frames, {tally.messages:,} messages, {tally.answers:,} answers, "
        f"{tally.connections:,} connections, {tally.refused:,} refused; closed by the server: "
        f"{closes or 'none'}; {time.monotonic() - begun:.0f} s"
    )
    return faults, figures


class _Round:
    """One server, and all who talk to it."""

    def __init__(self, house: House, name: str, tally: Tally, faults: Faults, free: bool) -> None:
        self.house = house
        self.dice = random.Random(name)
        self.name = name
        self.tally = tally
        self.faults = faults
        self.free = free
        self.codes = error_codes()
        self.epoch = "none"
        self.left = 0
        self.count = 0
        self.places: list[tuple[str, Grammar]] = []

    async def populate(self) -> None:
        """Sign in three devices of one user, and one of another."""
        ada, bob = await self.house.person("ada"), await self.house.person("bob")
        people = [(ada, "uuid-phone"), (ada, "uuid-laptop"), (ada, "uuid-tv-1"), (bob, "uuid-bob")]
        signed_in = [await self.house.device(user, uuid) for user, uuid in people]
        ids = [device for _, device in signed_in]
        for at, (token, _) in enumerate(signed_in):
            dice = random.Random(f"{self.name}:{at}")
            self.places.append((token, Grammar(dice, [*ids, 999_999])))

    async def talk(self, token: str, grammar: Grammar) -> None:
        """Have one connection after the other until enough was sent."""
        while self.left > 0 and not self.faults:
            self.count += 1
            peer = Peer(self.codes, self.faults, f"--round {self.name}, connection {self.count}")
            peer.limited = not self.free
            await self.converse(peer, token, grammar)

    async def converse(self, peer: Peer, token: str, grammar: Grammar) -> None:
        """Have one connection from its upgrade to its end."""
        loop, dice, port = asyncio.get_running_loop(), grammar.dice, self.house.port
        await loop.create_connection(lambda: peer, "127.0.0.1", port)
        query = dice.choice(QUERIES).replace("EPOCH", self.epoch)
        offer = "Sec-WebSocket-Extensions: permessage-deflate\r\n" if dice.random() < 0.2 else ""
        try:
            head = await peer.upgrade(port, query, token, offer)
            if not head.startswith(b"HTTP/1.1 101"):
                self._refused(peer, head, query)
                return
            self.tally.connections += 1
            if b"extensions" in head.lower():
                peer.fault("compression was negotiated, and is off")
            await self._say(peer, grammar)
        except TimeoutError:
            peer.fault(f"no answer in {SECONDS} s to {peer.unanswered()[:5]}")
        finally:
            peer.transport.abort()
            await peer.until_lost()
            self._count(peer)

    def _refused(self, peer: Peer, head: bytes, query: str) -> None:
        self.tally.refused += 1
        # Each of them costs as much as some frames, and a round must end.
        self.left -= 1
        if not head.startswith(b"HTTP/1.1 400") or b"application/problem+json" not in head:
            peer.fault(f"the upgrade with {query!r} was answered {head[:100]!r}")

    async def _say(self, peer: Peer, grammar: Grammar) -> None:
        """Say some pieces, then end."""
        dice, lawful, waiting = grammar.dice, True, b""
        for _ in range(dice.choice([1, 20, 100, 200, 400])):
            piece = grammar.piece()
            self._note(peer, piece)
            waiting += piece.data
            if dice.random() < 0.6 or len(waiting) > 100_000:
                waiting = await self._send(peer, waiting, dice)
            lawful = piece.lawful
            if not lawful or peer.close_code is not None or self.left <= 0:
                break
        await peer.write(waiting)
        self.epoch = peer.epoch or self.epoch
        if lawful:
            await self._finish(peer, grammar)
        else:
            # Whether it closes or waits for more of a frame, the end of the stream ends it.
            if not peer.transport.is_closing():
                peer.transport.write_eof()
            await asyncio.wait_for(peer.until_lost(), SECONDS)

    def _note(self, peer: Peer, piece: Piece) -> None:
        peer.note(piece)
        self.left -= piece.frames
        self.tally.frames += piece.frames
        self.tally.messages += piece.text is not None

    async def _send(self, peer: Peer, data: bytes, dice: Random) -> bytes:
        """Send all bytes, or all but some that go with the next ones; return those."""
        keep = dice.randint(1, len(data)) if dice.random() < 0.2 else 0
        await peer.write(data[: len(data) - keep])
        await asyncio.sleep(0)
        return data[len(data) - keep :]

    async def _finish(self, peer: Peer, grammar: Grammar) -> None:
        """Wait for all answers, then leave in one of three ways."""
        if self.free:
            last = grammar.last()
            self._note(peer, last)
            await peer.write(last.data)
        await asyncio.wait_for(self._answered(peer), SECONDS)
        if self.free and (peer.lost or peer.close_code is not None):
            peer.fault(f"closed with {peer.close_code} for nothing unlawful")
        match grammar.dice.randrange(3):
            case 0:
                peer.say_goodbye(grammar.dice.choice([1000, 1001, 3000, 4999]))
                await asyncio.wait_for(peer.until_lost(), SECONDS)
                if peer.close_code is None and self.free:
                    peer.fault("a close frame was not answered")
            case 1:
                if not peer.transport.is_closing():
                    peer.transport.write_eof()
                await asyncio.wait_for(peer.until_lost(), SECONDS)

    async def _answered(self, peer: Peer) -> None:
        if not self.free:
            # Pings above the limit are answered by errors, which do not name them.
            peer.pings.clear()
        await peer.until_answered()

    def _count(self, peer: Peer) -> None:
        self.tally.answers += sum(peer.answered.values())
        if peer.close_code is not None:
            closes = self.tally.closes
            closes[peer.close_code] = closes.get(peer.close_code, 0) + 1
            if peer.close_code not in CLOSE_CODES:
                peer.fault(f"close code {peer.close_code} is in no table")


async def _round(
    folder: Path, seed: int, number: int, count: int, tally: Tally, faults: Faults
) -> None:
    free = number % 5 != 4
    limits = FREE if free else {}
    async with House(folder, faults, durable_per_second=0, **limits) as house:
        one = _Round(house, f"{number} --seed {seed}", tally, faults, free)
        await one.populate()
        one.left = count
        await asyncio.gather(*[one.talk(token, grammar) for token, grammar in one.places])
        await house.settled()
