"""Which sockets come in, and which go first when there is no room."""

from collections import Counter

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from app.node.sockets import (
    BUSY_SECONDS,
    FRESH_SECONDS,
    IDLE,
    LATE,
    OVERLOADED,
    REPLACED,
    SLOW,
    TOO_MANY,
    SocketLimits,
    Sockets,
)

HEADER_SECONDS = 10.0
KEEPALIVE_SECONDS = 150.0


class One:
    """A socket that notes why it was dropped."""

    def __init__(self, network: str | None = None) -> None:
        self.network = network
        self.counted = False
        self.dropped: list[str] = []
        self.silent = True

    def is_silent(self) -> bool:
        return self.silent

    def drop(self, reason: str) -> None:
        self.dropped.append(reason)


class Place:
    """Sockets whose clock a test moves."""

    def __init__(self, total: int = 2, per_network: int = 0) -> None:
        self.now = 100.0
        self.closed: Counter[str] = Counter()
        limits = SocketLimits(total, per_network, HEADER_SECONDS, KEEPALIVE_SECONDS)
        self.sockets = Sockets(limits, self.closed, lambda: self.now)

    def enter(self, network: str | None = None) -> One:
        assert self.sockets.refusal(network) is None
        one = One(network)
        self.sockets.enter(one)
        return one

    def busy(self) -> One:
        one = self.enter()
        self.sockets.begin(one)
        return one


def test_the_oldest_that_asked_for_nothing_makes_room() -> None:
    place = Place()
    first, second = place.enter(), place.enter()
    place.now += FRESH_SECONDS
    third = place.enter()
    assert (first.dropped, second.dropped, third.dropped) == ([REPLACED], [], [])
    assert place.sockets.open == 2


def test_one_that_rests_goes_before_one_that_has_just_come() -> None:
    place = Place()
    rested = place.busy()
    place.sockets.rest(rested)
    fresh = place.enter()
    place.enter()
    assert (rested.dropped, fresh.dropped) == ([REPLACED], [])


def rested(place: Place) -> One:
    one = place.busy()
    place.sockets.rest(one)
    return one


def test_one_that_rests_is_kept_for_as_long_as_told_and_then_closed() -> None:
    place = Place()
    one = rested(place)
    place.now += KEEPALIVE_SECONDS - 1
    place.sockets.drop_late()
    assert place.sockets.rests(one)
    place.now += 1
    place.sockets.drop_late()
    assert one.dropped == [IDLE]
    assert place.closed == {IDLE: 1}
    assert place.sockets.open == 0


def test_one_whose_next_request_is_not_read_yet_is_not_closed() -> None:
    place = Place()
    one = rested(place)
    one.silent = False
    place.now += KEEPALIVE_SECONDS
    place.sockets.drop_late()
    assert one.dropped == []
    place.sockets.begin(one)
    place.sockets.drop_late()
    assert one.dropped == []


def test_half_of_a_next_request_has_the_time_that_headers_have() -> None:
    place = Place()
    one = rested(place)
    place.now += KEEPALIVE_SECONDS - 1
    place.sockets.stir(one)
    place.now += HEADER_SECONDS - 1
    place.sockets.drop_late()
    assert one.dropped == []
    place.now += 1
    place.sockets.drop_late()
    assert one.dropped == [LATE]


def test_what_comes_beside_a_request_under_way_changes_nothing() -> None:
    place = Place()
    one = place.busy()
    place.sockets.stir(one)
    assert place.sockets.waiting == 0


def test_requests_under_way_are_left_alone_until_they_take_long() -> None:
    place = Place()
    first, second = place.busy(), place.busy()
    assert place.sockets.refusal(None) == OVERLOADED
    place.now += BUSY_SECONDS
    place.enter()
    assert (first.dropped, second.dropped) == ([SLOW], [])
    assert place.closed == {OVERLOADED: 1, SLOW: 1}


def test_a_websocket_never_makes_room() -> None:
    place = Place()
    for one in (place.busy(), place.busy()):
        place.sockets.upgrade(one)
    place.now += 3600
    assert place.sockets.refusal(None) == OVERLOADED


def test_a_network_that_is_full_drops_nobody() -> None:
    place = Place(total=10, per_network=2)
    mine = [place.enter("192.0.2.1") for _ in range(2)]
    assert place.sockets.refusal("192.0.2.1") == TOO_MANY
    place.enter("192.0.2.2")
    place.enter(None)
    assert [one.dropped for one in mine] == [[], []]
    place.sockets.leave(mine[0])
    place.enter("192.0.2.1")


def test_the_late_go_and_those_that_asked_in_time_stay() -> None:
    place = Place(total=10)
    late, asked = place.enter(), place.busy()
    place.now += HEADER_SECONDS - 1
    in_time = place.enter()
    place.now += 1
    place.sockets.drop_late()
    assert (late.dropped, asked.dropped, in_time.dropped) == ([LATE], [], [])


def test_a_successor_has_the_time_of_the_one_before_it() -> None:
    place = Place(total=10)
    front, handler = place.enter("192.0.2.1"), One("192.0.2.1")
    place.now += HEADER_SECONDS - 1
    place.sockets.succeed(front, handler)
    assert (place.sockets.open, place.sockets.networks) == (1, 1)
    place.now += 1
    place.sockets.drop_late()
    assert handler.dropped == [LATE]
    assert (place.sockets.open, place.sockets.networks) == (0, 0)


class Histories(RuleBasedStateMachine):
    """Whatever happens in whatever order, the counts are those of the sockets that are left."""

    def __init__(self) -> None:
        super().__init__()
        self.place = Place(total=4, per_network=2)
        self.inside: list[One] = []
        self.upgraded: list[One] = []

    @rule(network=st.sampled_from([None, "a", "b"]))
    def come(self, network: str | None) -> None:
        if self.place.sockets.refusal(network) is None:
            one = One(network)
            self.place.sockets.enter(one)
            self.inside.append(one)

    @rule(seconds=st.sampled_from([0.5, FRESH_SECONDS, BUSY_SECONDS, HEADER_SECONDS]))
    def wait(self, seconds: float) -> None:
        self.place.now += seconds
        self.place.sockets.drop_late()

    @precondition(lambda self: self.inside)
    @rule(data=st.data(), what=st.sampled_from(["begin", "rest", "leave", "upgrade", "succeed"]))
    def act(self, data: st.DataObject, what: str) -> None:
        one = data.draw(st.sampled_from(self.inside))
        sockets = self.place.sockets
        if what == "succeed":
            successor = One(one.network)
            if one in self.upgraded or not one.counted:
                return
            # Only one that waits is succeeded.
            sockets.leave(one)
            sockets.enter(successor)
            self.inside.append(successor)
        elif what == "upgrade":
            sockets.begin(one)
            sockets.upgrade(one)
            self.upgraded.append(one)
        elif one not in self.upgraded or what == "leave":
            getattr(sockets, what)(one)

    @invariant()
    def the_counts_are_right(self) -> None:
        left = [one for one in self.inside if one.counted]
        assert self.place.sockets.open == len(left) <= 4
        networks = Counter(one.network for one in left if one.network is not None)
        assert self.place.sockets.networks == len(networks)
        assert all(count <= 2 for count in networks.values())

    @invariant()
    def who_is_dropped_is_dropped_once_and_is_no_websocket(self) -> None:
        for one in self.inside:
            assert len(one.dropped) <= 1
            assert not (one.dropped and one.counted)
        assert not any(one.dropped for one in self.upgraded if one.counted)


TestHistories = Histories.TestCase
