"""Trusted time: what moves it, how soon, and what does not."""

import logging

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.base.clock import LOOK_SECONDS, TRUST, TrustedClock, Verdict

NOON = 1_790_000_000.0
HOUR, DAY = 3600.0, 86_400.0


class Machine:
    """A machine's two clocks: one that people set, and one that only ever goes on."""

    def __init__(self, last: float | None = NOON) -> None:
        self.true = NOON
        self.error = 0.0
        self.last = last
        self.clock = self.start()

    def wall(self) -> float:
        return self.true + self.error

    def steady(self) -> float:
        return self.true - NOON + 100

    def start(self) -> TrustedClock:
        return TrustedClock(self.last, wall=self.wall, steady=self.steady)

    def restart(self) -> None:
        """Start again with what was trusted last."""
        self.last = self.clock.trusted()
        self.clock = self.start()

    def jump(self, seconds: float) -> None:
        self.error += seconds

    def run(self, seconds: float, drift: float = 0.0) -> list[Verdict]:
        """Let time pass, with looks in between; return the verdicts."""
        found = []
        for _ in range(int(seconds / LOOK_SECONDS)):
            self.true += LOOK_SECONDS
            self.error += drift * LOOK_SECONDS
            if (verdict := self.clock.look()) is not None:
                found.append(verdict)
        return found

    @property
    def trust_error(self) -> float:
        """How far trusted time is ahead of the true time."""
        return self.clock.trusted() - self.true


@pytest.fixture
def machine() -> Machine:
    return Machine()


@pytest.mark.parametrize("jump", [-400 * DAY, -HOUR, -6, 6, HOUR, 40 * DAY, 400 * DAY])
@pytest.mark.parametrize("seconds", [1, 5, 70, TRUST.agreement - 2])
def test_a_jump_that_is_taken_back_moves_nothing(
    machine: Machine, jump: float, seconds: float
) -> None:
    machine.jump(jump)
    assert machine.run(seconds) == []
    assert machine.trust_error == pytest.approx(0)
    machine.jump(-jump)
    assert machine.run(1) == [Verdict.TAKEN_BACK]
    assert machine.trust_error == pytest.approx(0)


@pytest.mark.parametrize("jump", [-HOUR, 40 * DAY])
def test_a_jump_that_lasts_is_believed_after_ten_minutes(machine: Machine, jump: float) -> None:
    machine.jump(jump)
    assert machine.run(TRUST.agreement) == []
    assert machine.trust_error == pytest.approx(0)
    assert machine.run(1) == [Verdict.BELIEVED]
    assert machine.trust_error == pytest.approx(jump)
    assert not machine.clock.doubted


def test_a_second_jump_begins_the_ten_minutes_anew(machine: Machine) -> None:
    machine.jump(DAY)
    machine.run(TRUST.agreement - 10)
    machine.jump(DAY)
    assert machine.run(TRUST.agreement) == []
    assert machine.run(1) == [Verdict.BELIEVED]
    assert machine.trust_error == pytest.approx(2 * DAY)


def test_steps_within_the_tolerance_are_followed_at_once(machine: Machine) -> None:
    machine.jump(TRUST.tolerance - 0.5)
    assert machine.run(1) == []
    assert machine.trust_error == pytest.approx(TRUST.tolerance - 0.5)


def test_small_steps_do_not_add_up_to_a_large_one_within_ten_minutes(machine: Machine) -> None:
    for _ in range(100):
        machine.jump(4)
        machine.run(1)
    assert machine.trust_error <= TRUST.tolerance


def test_a_clock_that_is_slewed_is_followed(machine: Machine) -> None:
    # NTP corrects by at most 500 parts in a million.
    assert machine.run(DAY, drift=500e-6) == []
    assert machine.trust_error == pytest.approx(machine.error, abs=0.01)


def test_a_clock_that_runs_too_fast_is_not_followed(machine: Machine) -> None:
    machine.run(2 * HOUR, drift=0.1)
    assert machine.error == pytest.approx(720)
    assert machine.trust_error <= TRUST.tolerance
    assert machine.clock.doubted


@pytest.mark.parametrize("error", [-400 * DAY, -HOUR, 40 * DAY])
def test_a_start_with_a_wrong_clock_goes_on_from_what_was_trusted_last(error: float) -> None:
    machine = Machine()
    machine.run(HOUR)
    machine.jump(error)
    machine.restart()
    assert machine.trust_error == pytest.approx(0)
    machine.run(70)
    machine.jump(-error)
    assert machine.run(1) == [Verdict.TAKEN_BACK]
    assert machine.trust_error == pytest.approx(0)


def test_after_a_long_stop_the_clock_is_believed_after_ten_minutes() -> None:
    machine = Machine(last=NOON - 40 * DAY)
    assert machine.trust_error == pytest.approx(-40 * DAY)
    assert machine.run(TRUST.agreement) == [Verdict.BELIEVED]
    assert machine.trust_error == pytest.approx(0)


def test_a_long_stop_is_told_as_one(caplog: pytest.LogCaptureFixture) -> None:
    Machine(last=NOON - 40 * DAY)
    assert [one.getMessage() for one in caplog.records] == [
        "clock not trusted yet, as after a long stop"
    ]


def test_starts_in_quick_succession_never_end_the_doubt() -> None:
    machine = Machine(last=NOON - 40 * DAY)
    for _ in range(5):
        assert machine.run(TRUST.agreement / 2) == []
        machine.restart()
    assert machine.trust_error == pytest.approx(-40 * DAY)


@pytest.mark.parametrize("off", [0, 30, TRUST.agreement])
def test_after_a_short_stop_the_clock_is_believed_at_once(off: float) -> None:
    assert Machine(last=NOON - off).trust_error == pytest.approx(0)


def test_where_nothing_was_ever_trusted_the_clock_is_believed() -> None:
    assert not Machine(last=None).clock.doubted


@pytest.mark.parametrize("jump", [-HOUR, HOUR])
def test_a_stamp_is_never_older_than_either_clock_says(machine: Machine, jump: float) -> None:
    machine.jump(jump)
    machine.run(5)
    assert machine.clock.stamp() == pytest.approx(machine.true + max(0, jump))
    assert machine.clock.ahead() == pytest.approx(jump)


def test_a_jump_and_its_end_are_each_one_line(
    machine: Machine, caplog: pytest.LogCaptureFixture
) -> None:
    machine.jump(DAY)
    machine.run(TRUST.agreement / 2)
    machine.jump(DAY)
    machine.run(TRUST.agreement + 1)
    lines = [(one.levelno, one.getMessage(), vars(one)["fields"]) for one in caplog.records]
    jumped = {"seconds": DAY, "steady_seconds": TRUST.agreement}
    assert lines == [
        (logging.WARNING, "clock jumped", jumped),
        (logging.WARNING, "clock trusted", {"moved_seconds": 2 * DAY}),
    ]


def test_a_clock_that_jumps_to_and_fro_does_not_fill_the_log(
    machine: Machine, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(60):
        machine.jump(HOUR)
        machine.run(1)
        machine.jump(-HOUR)
        machine.run(1)
    # Two minutes.
    assert len(caplog.records) <= 6


JUMPS = st.lists(
    st.tuples(
        st.floats(-500 * DAY, 500 * DAY), st.integers(1, int(TRUST.agreement) - 1), st.booleans()
    ),
    max_size=6,
)


@given(JUMPS)
def test_no_series_of_short_jumps_and_starts_moves_trusted_time(
    jumps: list[tuple[float, int, bool]],
) -> None:
    machine = Machine()
    machine.run(5)
    for error, seconds, restarts in jumps:
        machine.error = error
        if restarts:
            machine.restart()
        machine.run(seconds)
        machine.error = 0
        machine.run(2)
        # A start believes a clock that is ahead by less than the agreement.
        assert abs(machine.trust_error) <= (
            TRUST.agreement * len(jumps) if any(one[2] for one in jumps) else TRUST.tolerance
        )
