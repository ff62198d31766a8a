"""How many may come in, and how many upgrades pass in each turn of the event loop."""

import asyncio

from app.base.metrics import Metrics
from app.node.admission import Admission, AdmissionLimits, Pacer


class Turns:
    """Counts the turns of the loop, and notes in which one each came through."""

    def __init__(self, each_turn: int) -> None:
        self.pacer = Pacer(each_turn)
        self.passed: list[tuple[int, str]] = []
        self._turn = 0

    async def enter(self, name: str) -> None:
        await self.pacer.wait()
        self.passed.append((self._turn, name))

    async def until_passed(self, count: int) -> None:
        while len(self.passed) < count:
            await asyncio.sleep(0)
            self._turn += 1


async def test_so_many_pass_at_once_and_the_others_in_order() -> None:
    turns = Turns(2)
    tasks = [asyncio.create_task(turns.enter(name)) for name in "abcdefg"]
    await turns.until_passed(7)
    assert [name for _, name in turns.passed] == list("abcdefg")
    each = [turn for turn, _ in turns.passed]
    assert max(each.count(turn) for turn in each) == 2
    await asyncio.gather(*tasks)


async def test_nobody_waits_when_few_come() -> None:
    pacer = Pacer(2)
    for _ in range(5):
        await pacer.wait()
        await pacer.wait()
        await asyncio.sleep(0)


async def test_who_gives_up_takes_nobodys_place() -> None:
    turns = Turns(1)
    tasks = [asyncio.create_task(turns.enter(name)) for name in "abcd"]
    await asyncio.sleep(0)
    tasks[1].cancel()
    await turns.until_passed(3)
    assert [name for _, name in turns.passed] == list("acd")
    await asyncio.gather(*tasks, return_exceptions=True)


async def test_the_metrics_tell_who_has_a_place() -> None:
    metrics = Metrics()
    admission = Admission(
        AdmissionLimits(connections=10, per_address=5, handshakes=5, retry_after=1)
    )
    admission.show_on(metrics)

    def told() -> list[float | None]:
        names = ("places_taken", "handshakes", "addresses")
        return [metrics.registry.get_sample_value(f"switchboard_{name}") for name in names]

    for address in ("203.0.113.1", "203.0.113.2", "127.0.0.1"):
        admission.enter(address)
    assert told() == [3, 3, 2]
    admission.settle("203.0.113.1", upgraded=True)
    admission.settle("203.0.113.2", upgraded=False)
    admission.settle("127.0.0.1", upgraded=True)
    assert told() == [2, 0, 1]
    admission.leave("203.0.113.1")
    admission.leave("127.0.0.1")
    assert told() == [0, 0, 0]
