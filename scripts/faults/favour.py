"""Gives the processors first to what a trial measures: other programs' work is not its subject."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Final

NICENESS: Final = -15
"""Of what is measured; all that it shares a processor with gets a thirtieth of the time then."""

_EVERY: Final = sorted(os.sched_getaffinity(0))
"""All processors that the trial may use."""


@contextmanager
def favoured(*, alone: bool = False) -> Iterator[None]:
    """Start what is started in the block before others, which takes root, and on other processors.

    `alone` gives it the first processor, which nothing else gets that the trial starts later.
    """
    before = os.getpriority(os.PRIO_PROCESS, 0)
    if alone and len(_EVERY) > 1:
        os.sched_setaffinity(0, _EVERY[:1])
    with suppress(PermissionError):
        os.setpriority(os.PRIO_PROCESS, 0, NICENESS)
    try:
        yield
    finally:
        os.setpriority(os.PRIO_PROCESS, 0, before)
        if alone:
            os.sched_setaffinity(0, _EVERY[1:] or _EVERY)
