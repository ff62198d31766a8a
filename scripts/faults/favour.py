"""Gives the processors first to what a trial measures: other programs' work is not its subject."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

NICENESS: Final = -15
"""Of what is favoured; all that it shares a processor with gets a thirtieth of the time then."""

_EVERY: Final = sorted(os.sched_getaffinity(0))
"""All processors that the trial may use."""


def favour(pid: int) -> None:
    """Have a process run before others; without root nothing changes.

    It leads a session of its own, since Linux schedules each session as one (sched_autogroup).
    """
    with suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, pid, NICENESS)
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
