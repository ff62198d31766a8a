"""Gives the processors first to what a trial measures: other programs' work is not its subject."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

NICENESS: Final = -15
"""Of what is favoured; all that it shares a processor with gets a thirtieth of the time then."""

OWN_SESSION: Final = ("setsid",)
"""The beginning of a command that leads a session, since Linux schedules each session as one."""

_EVERY: Final = sorted(os.sched_getaffinity(0))
"""All processors that the trial may use."""


def favour(pid: int) -> None:
    """Have a process that leads a session run before others; without root nothing changes."""
    with suppress(OSError):
        for thread in Path(f"/proc/{pid}/task").iterdir():
            os.setpriority(os.PRIO_PROCESS, int(thread.name), NICENESS)
        # Where the system schedules sessions, this counts instead (sched(7), autogroup).
        Path(f"/proc/{pid}/autogroup").write_text(str(NICENESS))


@contextmanager
def set_apart() -> Iterator[None]:
    """Give what is started in the block a processor that nothing gets which is started later."""
    if len(_EVERY) > 1:
        os.sched_setaffinity(0, _EVERY[:1])
    try:
        yield
    finally:
        os.sched_setaffinity(0, _EVERY[1:] or _EVERY)
