"""Counts calls of functions in app/, and calls that these make themselves."""

import sys
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any, Final

import app

OURS: Final = str(Path(str(app.__file__)).parent)

TURNS: Final = 5
"""A sweep or the like only adds calls, so the turn with the fewest is without it."""


@contextmanager
def python_calls() -> Iterator[Counter[str]]:
    """Count the calls in this thread inside of the block, by name.

    Resuming a coroutine counts as a call, too. Calls among the event loop, aiohttp and the peers do
    not count.
    """
    found: Counter[str] = Counter()

    def see(frame: FrameType, kind: str, argument: Any) -> None:
        if kind == "call":
            if _is_ours(frame) or (frame.f_back is not None and _is_ours(frame.f_back)):
                found[frame.f_code.co_qualname] += 1
        elif kind == "c_call" and _is_ours(frame):
            found[getattr(argument, "__qualname__", "?")] += 1

    former = sys.getprofile()
    sys.setprofile(see)
    try:
        yield found
    finally:
        sys.setprofile(former)


async def fewest_calls(act: Callable[[], Awaitable[object]]) -> Counter[str]:
    """Return the calls of that of several turns which has the fewest."""
    turns = []
    for _ in range(TURNS):
        with python_calls() as found:
            await act()
        turns.append(found)
    return min(turns, key=Counter.total)


def _is_ours(frame: FrameType) -> bool:
    return frame.f_code.co_filename.startswith(OURS)
