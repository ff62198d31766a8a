"""Any features, any bursts, any end: order, one answer each, and nothing left behind."""

import asyncio
from collections import defaultdict
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from app.base.errors import Problem
from app.features.feature import Reply
from app.features.lines import LineLimits
from app.node.connection import Connection
from app.protocol.close import REVOKED, SHUTTING_DOWN
from app.protocol.messages import ClientMessage
from tests.features.sides import Side

LIMITS = LineLimits(messages=4, bytes=400, handler_seconds=0.05)

FEATURES = ("now", "wait", "mixed", "fail", "wrong", "hang", "call", "device")

# Mostly what is quick; a handler that hangs costs each history its time-out.
SENDS = st.tuples(st.sampled_from([*FEATURES[:5] * 4, *FEATURES[5:]]), st.integers(0, 3))
STEPS = st.lists(st.one_of(SENDS, SENDS, st.integers(1, 6)), min_size=1, max_size=40)
ENDS = st.sampled_from(["settle", "server", "shutdown", "peer", "peer, then server"])


class History:
    """One connection that says what the steps say, and what came of it."""

    def __init__(self) -> None:
        self.side = Side(
            {name: getattr(self, name) for name in FEATURES}, limits=LIMITS, pausing=("device",)
        )
        self.said: list[tuple[str, str]] = []
        self.begun: dict[str, list[str]] = defaultdict(list)
        self.running: set[str] = set()
        self.retired = False
        self.called: asyncio.Future[None] | None = None

    # Features

    def _begin(self, message: ClientMessage) -> str:
        assert not self.retired
        feature, _, name = message.type.partition(".")
        assert not any(one.partition(".")[0] == feature for one in self.running)
        self.begun[feature].append(name)
        return message.type

    async def _wait(self, message: ClientMessage) -> None:
        self.running.add(message.type)
        try:
            for _ in range(message.payload):
                await asyncio.sleep(0)
        finally:
            self.running.discard(message.type)

    def now(self, connection: Connection, message: ClientMessage) -> Any:
        self._begin(message)
        if self.called is not None and not self.called.done():
            self.called.set_result(None)
        return Reply("now.done", message.payload)

    async def wait(self, connection: Connection, message: ClientMessage) -> None:
        self._begin(message)
        await self._wait(message)

    def mixed(self, connection: Connection, message: ClientMessage) -> Any:
        self._begin(message)
        return self._wait(message) if message.payload > 1 else None

    async def fail(self, connection: Connection, message: ClientMessage) -> None:
        self._begin(message)
        await self._wait(message)
        raise (KeyError("x") if message.payload % 2 else Problem(409, "full", "no"))

    def wrong(self, connection: Connection, message: ClientMessage) -> Any:
        self._begin(message)
        answers = [{1: 2}, Reply("wrong.x", {1, 2}), object()]
        return answers[message.payload] if message.payload < 3 else self._wait(message)

    async def hang(self, connection: Connection, message: ClientMessage) -> None:
        self._begin(message)
        self.running.add(message.type)
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            self.running.discard(message.type)

    async def call(self, connection: Connection, message: ClientMessage) -> None:
        """Wait for something that the same connection says later."""
        self._begin(message)
        self.called = asyncio.get_running_loop().create_future()
        await self.called

    async def device(self, connection: Connection, message: ClientMessage) -> None:
        self._begin(message)
        await self._wait(message)

    # The history

    async def run(self, steps: list[Any], end: str) -> None:
        connection = self.side.connection
        for number, step in enumerate(steps):
            if isinstance(step, int):
                for _ in range(step):
                    await asyncio.sleep(0)
                continue
            await connection.readable()
            feature, payload = step
            self.said.append((feature, f"m{number}"))
            self.side.say(f"{feature}.m{number}", payload, f"m{number}")
        if end == "settle":
            await self.side.settled()
        if end == "server":
            connection.disconnect(REVOKED)
        if end == "shutdown":
            connection.disconnect(SHUTTING_DOWN, keep_outbox=True)
        finishing = asyncio.ensure_future(self.side.lines.finish(connection))
        if end == "peer, then server":
            await asyncio.sleep(0)
            connection.disconnect(REVOKED)
        await finishing
        self.retired = True
        await asyncio.sleep(0)
        self.check(end)

    def check(self, end: str) -> None:
        assert self.running == set()
        assert asyncio.all_tasks() == {asyncio.current_task()}
        answers: dict[str, list[str]] = defaultdict(list)
        for name, what in self.side.told():
            answers[str(name)].append(what)
        assert all(len(found) == 1 for found in answers.values())
        if end == "settle":
            assert set(answers) == {name for _, name in self.said}
        busy = {name for name, found in answers.items() if found == ["busy"]}
        for feature, begun in self.begun.items():
            taken = [name for of, name in self.said if of == feature and name not in busy]
            # Nothing was overtaken; at most the last ones never began, when it ended.
            assert begun == taken[: len(begun)]
            if end == "settle":
                assert begun == taken
        assert not any(name in busy for of, name in self.said if of == "device")
        metrics = self.side.metrics
        assert (metrics.handlers_running, metrics.messages_waiting) == (0, 0)
        assert metrics.busy == len(busy)


@given(steps=STEPS, end=ENDS)
def test_any_history_keeps_order_and_gives_one_answer_each(steps: list[Any], end: str) -> None:
    async def main() -> None:
        await History().run(steps, end)

    asyncio.run(main())
