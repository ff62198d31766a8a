"""Which positions hold in a numbering, over any history of starts, copies and put-backs."""

from copy import deepcopy
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.protocol.position import (
    MAX_OFFSET,
    PLAIN,
    Generation,
    Numbering,
    Position,
    Query,
    Start,
    resume,
)

ZERO = Generation("0" * 32, 1)


def numbering(*firsts: int) -> Numbering:
    """Return an epoch `e` whose generations after zero, `1`, `2` and so on, begin at these."""
    later = [Generation(str(number), first) for number, first in enumerate(firsts, 1)]
    return Numbering("e", [ZERO, *later])


def test_whoever_gives_no_parameter_asks_for_nothing() -> None:
    assert Query(None, positioned=False, position=None, live=False, snapshot=False) == PLAIN
    assert MAX_OFFSET == 9_223_372_036_854_775_807


def test_the_text_of_generation_zero_is_the_bare_epoch() -> None:
    assert numbering().text == "e"
    assert numbering(1).text == "e.1"
    assert numbering(1, 1, 6).text == "e.3"


@pytest.mark.parametrize(
    ("text", "below"),
    [("e", 4), ("e.1", 4), ("e.2", 9), ("e.3", 13)],
    ids=["zero", "without a message", "ended", "newest"],
)
def test_a_position_holds_below_the_next_generation_or_up_to_the_newest_offset(
    text: str, below: int
) -> None:
    known = numbering(4, 4, 9)
    held = [offset for offset in range(20) if known.holds(Position(text, offset), last=12)]
    assert held == list(range(below))


@pytest.mark.parametrize("text", ["", "f", "e.", "e.9", "e.1.1", "f.1", "1", ".1", f"e.{ZERO.id}"])
def test_no_other_text_holds(text: str) -> None:
    assert not numbering(1, 1).holds(Position(text, 0), last=5)


def test_a_cursor_needs_no_generation() -> None:
    known = numbering(1, 4)
    assert known.holds(known.of_cursor(Position("e", 9)), last=9)
    assert not known.holds(known.of_cursor(Position("e", 10)), last=9)
    assert not known.holds(known.of_cursor(Position("f", 1)), last=9)


@pytest.mark.parametrize(
    ("wanted", "start"),
    [
        (None, Start("live", 8)),
        (Position("e.1", 5), Start("resumed", 5)),
        (Position("e.1", 4), Start("reset", 4)),
        (Position("e", 2), Start("reset", 2)),
        (Position("e.1", 9), Start("resumed", 9)),
        (Position("e.1", 10), Start("reset", 8)),
        (Position("e", 5), Start("reset", 8)),
        (Position("f", 4), Start("reset", 8)),
    ],
    ids=[
        *("none", "at the floor", "below the floor", "below it in an older generation"),
        *("at the last", "above", "ended before", "below the floor of another epoch"),
    ],
)
def test_where_a_connection_starts(wanted: Position | None, start: Start) -> None:
    assert resume(wanted, numbering(3), head=8, floor=5, last=9) == start


# Any history


@dataclass
class Folder:
    """A data folder: the messages by offset, and the numbering as the database has it."""

    epoch: str = "e0"
    last: int = 0
    rows: dict[int, int] = field(default_factory=dict)
    generations: list[Generation] = field(default_factory=lambda: [ZERO])

    @property
    def numbering(self) -> Numbering:
        return Numbering(self.epoch, self.generations)


@dataclass
class Client:
    """A client that keeps what it got, and its position: None before the first visit."""

    position: Position | None = None
    seen: dict[int, int] = field(default_factory=dict)
    live: bool = False


class World:
    """One folder in use, copies of it, and clients that come and go."""

    def __init__(self) -> None:
        self.folder = Folder()
        self.copies: list[Folder] = []
        self.clients = [Client() for _ in range(3)]
        self.number = 0
        self.resets = 0
        self.start()

    def start(self, *, put_back_alone: bool = False) -> None:
        """Start the server; the guard notices a database that was put back alone."""
        self.number += 1
        for client in self.clients:
            client.live = False
        if put_back_alone:
            self.folder.epoch = f"e{self.number}"
        begun = Generation(f"g{self.number}", self.folder.last + 1)
        self.folder.generations.append(begun)

    def append(self) -> None:
        self.number += 1
        self.folder.last += 1
        self.folder.rows[self.folder.last] = self.number
        for client in self.clients:
            if client.live:
                self.reach(client, self.folder.last)

    def copy(self) -> None:
        self.copies.append(deepcopy(self.folder))

    def put_back(self, which: int, *, alone: bool) -> None:
        if self.copies:
            self.folder = deepcopy(self.copies[which % len(self.copies)])
            self.start(put_back_alone=alone)

    def reach(self, client: Client, offset: int) -> None:
        """Hand over everything up to the offset."""
        client.seen |= {o: row for o, row in self.folder.rows.items() if o <= offset}
        client.position = Position(self.folder.numbering.text, offset)

    def visit(self, client: Client, share: int) -> None:
        """Connect, or leave; a `share` in quarters of what was missed is handed over."""
        folder = self.folder
        if client.live:
            client.live = False
            return
        start = resume(
            client.position, folder.numbering, head=folder.last, floor=0, last=folder.last
        )
        if start.outcome == "resumed":
            rows = {o: row for o, row in folder.rows.items() if o <= start.offset}
            assert client.seen == rows, "resumed over a gap"
        else:
            self.resets += start.outcome == "reset"
            client.seen.clear()
        missed = folder.last - start.offset
        self.reach(client, start.offset + missed * share // 4)
        client.live = share == 4


clients = st.integers(0, 2)
steps = st.one_of(
    st.just(("append",)),
    st.just(("append",)),
    st.just(("start",)),
    st.just(("copy",)),
    st.tuples(st.just("put back"), st.integers(0, 5), st.sampled_from([False, False, True])),
    st.tuples(st.just("visit"), clients, st.sampled_from([0, 1, 2, 3, 4, 4, 4])),
    st.tuples(st.just("visit"), clients, st.sampled_from([0, 1, 2, 3, 4, 4, 4])),
)
ordinary = steps.filter(lambda step: step[0] not in ("copy", "put back"))


def play(history: list[tuple]) -> World:
    world = World()
    for name, *details in history:
        match name:
            case "append":
                world.append()
            case "start":
                world.start()
            case "copy":
                world.copy()
            case "put back":
                world.put_back(details[0], alone=details[1])
            case _:
                world.visit(world.clients[details[0]], details[1])
    for client in world.clients:
        client.live = False
        world.visit(client, 4)
    return world


@settings(max_examples=1000, deadline=None)
@given(st.lists(steps, max_size=60))
def test_nobody_is_resumed_over_a_gap_whatever_is_put_back(history: list[tuple]) -> None:
    play(history)


@settings(max_examples=300, deadline=None)
@given(st.lists(ordinary, max_size=60))
def test_without_a_copy_put_back_nobody_is_reset(history: list[tuple]) -> None:
    assert play(history).resets == 0
