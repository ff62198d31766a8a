"""Handlers that wait: order, bounds, time-outs, and what the end of a connection does to them."""

import asyncio
import logging
from contextlib import suppress
from typing import Any

import pytest

from app.features.feature import Reply
from app.features.lines import CLOSING_SECONDS, LineLimits
from app.protocol.close import REVOKED
from tests.features.sides import Side


class Gate:
    """A feature whose handlers wait until the test lets each one through."""

    def __init__(self) -> None:
        self.begun: list[Any] = []
        self.ended: list[Any] = []
        self._doors: dict[Any, asyncio.Future[Any]] = {}

    async def handle(self, connection: Any, message: Any) -> None:
        name = message.payload
        self.begun.append(name)
        self._doors[name] = asyncio.get_running_loop().create_future()
        try:
            await self._doors[name]
        finally:
            self.ended.append(name)

    def let(self, name: Any) -> None:
        self._doors[name].set_result(None)


async def breathe() -> None:
    """Let everything happen that needs no waiting."""
    for _ in range(5):
        await asyncio.sleep(0)


@pytest.fixture
def gate() -> Gate:
    return Gate()


def waiting(side: Side) -> tuple[int, int]:
    found = side.connection.inflow.waiting
    return (found.count, found.bytes) if found is not None else (0, 0)


async def test_messages_of_one_feature_keep_their_order_and_others_go_on(gate: Gate) -> None:
    side = Side({"slow": gate.handle, "note": lambda *_: None})
    side.say("slow.x", 1, "1")
    side.say("slow.x", 2, "2")
    side.say("note.x", None, "3")
    side.say("ping", None, "4")
    await breathe()
    assert (gate.begun, side.told()) == ([1], [("3", "ok"), ("4", "pong")])
    gate.let(1)
    await breathe()
    assert gate.begun == [1, 2]
    gate.let(2)
    await side.settled()
    assert [id for id, _ in side.told()] == ["3", "4", "1", "2"]
    assert waiting(side) == (0, 0)


async def test_what_needs_no_wait_stands_in_line_too_while_something_waits(gate: Gate) -> None:
    def mixed(connection: Any, message: Any) -> Any:
        return gate.handle(connection, message) if message.payload else None

    side = Side({"mixed": mixed})
    side.say("mixed.x", 1, "1")
    side.say("mixed.x", 0, "2")
    await breathe()
    assert side.told() == []
    gate.let(1)
    await side.settled()
    assert side.told() == [("1", "ok"), ("2", "ok")]
    side.say("mixed.x", 0, "3")
    assert side.told()[-1] == ("3", "ok")


async def test_a_feature_that_asks_its_own_callers_device_gets_its_answer() -> None:
    asked: asyncio.Future[Any] = asyncio.get_running_loop().create_future()

    async def ask(connection: Any, message: Any) -> None:
        await asked

    def answer(connection: Any, message: Any) -> None:
        asked.set_result(message.payload)

    side = Side({"ask": ask, "answer": answer})
    side.say("ask.x", None, "1")
    side.say("answer.x", 5, "2")
    await side.settled()
    assert side.told() == [("2", "ok"), ("1", "ok")]


@pytest.mark.parametrize(
    "limits",
    [LineLimits(messages=3), LineLimits(bytes=150), LineLimits(node_bytes=150)],
    ids=["messages", "bytes", "bytes of the node"],
)
async def test_more_than_may_wait_is_busy_and_nothing_is_lost(gate: Gate, limits: Any) -> None:
    side = Side({"slow": gate.handle}, limits=limits)
    for number in range(6):
        side.say("slow.x", number, str(number))
    await breathe()
    assert side.told() == [("4", "busy"), ("5", "busy")]
    assert not side.connection.full
    assert side.metrics.busy == 2
    for number in range(4):
        gate.let(number)
        await breathe()
    assert side.told()[2:] == [(str(number), "ok") for number in range(4)]
    assert side.metrics.messages_waiting == 0


async def test_an_empty_line_takes_any_one_message(gate: Gate) -> None:
    side = Side({"slow": gate.handle}, limits=LineLimits(bytes=10))
    side.say("slow.x", 1, "1")
    side.say("slow.x", 2, "2")
    side.say("slow.x", 3, "3")
    assert side.told() == [("3", "busy")]


async def test_a_pausing_feature_refuses_nothing_and_reading_pauses(gate: Gate) -> None:
    limits = LineLimits(messages=2)
    side = Side({"device": gate.handle}, limits=limits, pausing=("device",))
    side.say("device.x", 1)
    side.say("device.x", 2)
    assert not side.connection.full
    side.say("device.x", 3)
    assert side.connection.full
    reading = asyncio.ensure_future(side.connection.readable())
    await breathe()
    assert not reading.done()
    gate.let(1)
    await reading
    assert side.told() == [("7", "ok")]


async def test_a_line_of_another_feature_pauses_no_reading(gate: Gate) -> None:
    side = Side({"slow": gate.handle}, limits=LineLimits(messages=1), pausing=("device",))
    for number in range(3):
        side.say("slow.x", number)
    assert not side.connection.full


async def test_a_handler_that_takes_too_long_is_cancelled_and_its_line_goes_on(gate: Gate) -> None:
    side = Side({"slow": gate.handle}, limits=LineLimits(handler_seconds=0.02))
    side.say("slow.x", 1, "1")
    side.say("slow.x", 2, "2")
    await side.settled()
    assert side.told() == [("1", "timed_out"), ("2", "timed_out")]
    assert gate.ended == [1, 2]


async def test_a_handler_that_will_not_end_is_answered_in_time_and_its_line_waits() -> None:
    over, cancelled = asyncio.Event(), asyncio.Event()

    async def stubborn(connection: Any, message: Any) -> None:
        while not over.is_set():
            with suppress(asyncio.CancelledError):
                await over.wait()
            cancelled.set()

    side = Side({"slow": stubborn}, limits=LineLimits(handler_seconds=0.02))
    side.say("slow.x", 1, "1")
    side.say("slow.x", 2, "2")
    await cancelled.wait()
    assert side.told() == [("1", "timed_out")]
    assert waiting(side)[0] == 1
    over.set()
    await side.settled()
    assert side.told() == [("1", "timed_out"), ("2", "ok")]


async def test_a_handler_cancelled_by_itself_is_an_internal_error() -> None:
    async def broken(connection: Any, message: Any) -> None:
        raise asyncio.CancelledError

    side = Side({"slow": broken})
    side.say("slow.x", 1, "1")
    side.say("slow.x", 2, "2")
    await side.settled()
    assert side.told() == [("1", "internal_error"), ("2", "internal_error")]


async def test_when_the_server_closes_nothing_in_line_begins_and_what_runs_is_cancelled(
    gate: Gate, caplog: pytest.LogCaptureFixture
) -> None:
    side = Side({"slow": gate.handle})
    side.say("slow.x", 1)
    side.say("slow.x", 2)
    await breathe()
    side.connection.disconnect(REVOKED)
    clock = asyncio.get_running_loop().time
    begun = clock()
    await side.lines.finish(side.connection)
    assert clock() - begun >= CLOSING_SECONDS * 0.9
    assert (gate.begun, gate.ended) == ([1], [1])
    assert waiting(side) == (0, 0)
    assert side.told() == []
    # No feature failed: its connection ended.
    assert caplog.records == []


async def test_nothing_begins_once_the_server_has_decided_to_close(gate: Gate) -> None:
    side = Side({"slow": gate.handle})
    side.say("slow.x", 1)
    side.say("slow.x", 2)
    await breathe()
    side.connection.disconnect(REVOKED)
    gate.let(1)
    await side.settled()
    assert (gate.begun, waiting(side)) == ([1], (0, 0))


async def test_a_handler_that_ends_in_its_last_moment_is_let_finish(gate: Gate) -> None:
    side = Side({"slow": gate.handle})
    side.say("slow.x", 1)
    await breathe()
    side.connection.disconnect(REVOKED)
    finishing = asyncio.ensure_future(side.lines.finish(side.connection))
    await breathe()
    gate.let(1)
    await finishing
    assert gate.ended == [1]
    assert side.told() == []


async def test_what_a_peer_sent_before_it_left_is_finished(gate: Gate) -> None:
    side = Side({"slow": gate.handle})
    side.say("slow.x", 1)
    side.say("slow.x", 2)
    finishing = asyncio.ensure_future(side.lines.finish(side.connection))
    await breathe()
    gate.let(1)
    await breathe()
    gate.let(2)
    await finishing
    assert gate.ended == [1, 2]


async def test_a_server_that_closes_while_a_left_peers_handlers_run_waits_no_longer(
    gate: Gate,
) -> None:
    side = Side({"slow": gate.handle})
    side.say("slow.x", 1)
    side.say("slow.x", 2)
    finishing = asyncio.ensure_future(side.lines.finish(side.connection))
    await breathe()
    side.connection.disconnect(REVOKED)
    await finishing
    assert gate.begun == gate.ended == [1]


async def test_what_a_left_peer_sent_has_the_time_of_one_handler(gate: Gate) -> None:
    side = Side({"slow": gate.handle}, limits=LineLimits(handler_seconds=0.02))
    for number in range(50):
        side.say("slow.x", number)
    await side.lines.finish(side.connection)
    assert len(gate.begun) <= 2
    assert gate.begun == gate.ended
    assert side.metrics.messages_waiting == side.metrics.handlers_running == 0


async def test_handlers_that_take_long_are_named_in_the_log_one_in_a_second(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch, gate: Gate
) -> None:
    monkeypatch.setattr("app.features.lines.SLOW_SECONDS", 0.01)
    side = Side({"slow": gate.handle}, limits=LineLimits(handler_seconds=0.02))
    with caplog.at_level(logging.WARNING):
        side.say("slow.x", 1)
        await side.settled()
    [line] = caplog.records
    assert line.getMessage() == "slow handler"
    assert (line.fields["prefix"], line.fields["connection"]) == ("slow", "c-1")


async def test_handlers_are_counted_while_they_run_and_timed(gate: Gate) -> None:
    side = Side({"slow": gate.handle})
    side.say("slow.x", 1)
    side.say("slow.x", 2)
    await breathe()
    assert (side.metrics.handlers_running, side.metrics.messages_waiting) == (1, 1)
    gate.let(1)
    await breathe()
    gate.let(2)
    await side.settled()
    assert (side.metrics.handlers_running, side.metrics.messages_waiting) == (0, 0)
    [timed] = [one for one in side.metrics.collect() if one.name == "switchboard_handler_seconds"]
    counts = [one for one in timed.samples if one.name.endswith("_count")]
    assert [(one.labels, one.value) for one in counts] == [({"prefix": "slow"}, 2.0)]


async def test_a_handler_that_another_message_cancels_is_answered_and_its_line_goes_on() -> None:
    jobs: list[asyncio.Task[Any]] = []

    async def work(connection: Any, message: Any) -> None:
        task = asyncio.current_task()
        assert task is not None
        jobs.append(task)
        if message.payload:
            await asyncio.Event().wait()

    def stop(connection: Any, message: Any) -> None:
        jobs[-1].cancel()

    side = Side({"work": work, "stop": stop})
    side.say("work.x", 1, "1")
    side.say("work.x", 0, "2")
    await breathe()
    side.say("stop.x", None, "3")
    await side.settled()
    assert side.told() == [("3", "ok"), ("1", "internal_error"), ("2", "ok")]


async def test_a_handler_whose_connection_is_closed_before_it_began_does_not_run(
    gate: Gate,
) -> None:
    side = Side({"slow": gate.handle})
    side.say("slow.x", 1)
    side.connection.disconnect(REVOKED)
    await side.lines.finish(side.connection)
    assert gate.begun == []


async def test_a_future_of_several_connections_survives_the_time_out_of_one() -> None:
    shared: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    handlers = {"slow": lambda *_: shared}
    hasty = Side(handlers, limits=LineLimits(handler_seconds=0.01))
    patient = Side(handlers)
    for side in (hasty, patient):
        side.say("slow.x")
    await hasty.settled()
    assert hasty.told() == [("7", "timed_out")]
    shared.set_result(None)
    await patient.settled()
    assert patient.told() == [("7", "ok")]


async def test_a_handler_that_cleans_up_is_cancelled_once() -> None:
    cleaned, cancelled, cancellations = asyncio.Event(), asyncio.Event(), []

    async def careful(connection: Any, message: Any) -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancellations.append(1)
            cancelled.set()
            await cleaned.wait()
            cancellations.append(2)
            raise

    side = Side({"slow": careful})
    side.say("slow.x")
    await breathe()
    side.connection.disconnect(REVOKED)
    finishing = asyncio.ensure_future(side.lines.finish(side.connection))
    await cancelled.wait()
    # Longer than it had before it was cancelled.
    await asyncio.sleep(2 * CLOSING_SECONDS)
    assert (cancellations, finishing.done()) == ([1], False)
    cleaned.set()
    await finishing
    assert cancellations == [1, 2]


async def test_a_line_waits_while_its_peer_takes_no_answers(gate: Gate) -> None:
    def chatty(connection: Any, message: Any) -> Any:
        return gate.handle(connection, message) if message.payload == 1 else Reply("note.x", 5)

    side = Side({"slow": chatty}, outbox=2)
    for number in range(1, 9):
        side.say("slow.x", number, str(number))
    side.wire.unread = 1
    await breathe()
    gate.let(1)
    await breathe()
    assert side.connection.backlog == 2
    assert waiting(side)[0] == 6
    side.wire.unread = 0
    while waiting(side)[0]:
        assert side.connection.backlog <= 2
        side.wire.written += [taken for taken in [side.connection.take()] if taken]
        await breathe()
    side.wire.written += [taken for taken in [side.connection.take()] if taken]
    assert [name for name, _ in side.told()] == [str(number) for number in range(1, 9)]


async def test_the_bound_of_the_node_is_shared_and_what_waited_gives_it_back(gate: Gate) -> None:
    first = Side({"slow": gate.handle}, limits=LineLimits(node_bytes=100))
    second = first.beside()
    for side, name in ((first, 1), (second, 2)):
        side.say("slow.x", name, "1")
    first.say("slow.x", 3, "2")
    first.say("slow.x", 4, "3")
    second.say("slow.x", 5, "2")
    assert (first.told(), second.told()) == ([], [("2", "busy")])
    first.connection.disconnect(REVOKED)
    await first.lines.finish(first.connection)
    second.say("slow.x", 6, "3")
    assert second.told() == [("2", "busy")]


async def test_a_full_node_pauses_reading_where_nothing_may_be_refused(gate: Gate) -> None:
    limits = LineLimits(node_bytes=100, message_bytes=50)
    first = Side({"device": gate.handle, "slow": gate.handle}, limits=limits, pausing=("device",))
    second = first.beside()
    second.say("device.x", 1)
    assert not second.connection.full
    first.say("slow.x", 2)
    first.say("slow.x", 3, "a" * 30)
    assert second.connection.full
    await breathe()
    gate.let(1)
    await second.settled()
    assert not second.connection.full


async def test_nothing_is_kept_for_a_connection_whose_lines_have_ended(gate: Gate) -> None:
    side = Side({"slow": gate.handle})
    side.say("slow.x", 1)
    await breathe()
    gate.let(1)
    await side.settled()
    assert side.connection.inflow.waiting is None
