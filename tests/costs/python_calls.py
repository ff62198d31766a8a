"""How many functions are called for something: ours by whomever, and any others by ours."""

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
"""What runs beside, such as a sweep, only adds, so the least of some turns is without it."""


@contextmanager
def python_calls() -> Iterator[Counter[str]]:
    """Give a count, by name, of the calls in this thread inside of the block.

    A coroutine that goes on counts as a call, too. What the event loop, aiohttp and the peers call
    among themselves is left out.
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
    """Return the calls of one of some turns, the one with the fewest."""
    turns = []
    for _ in range(TURNS):
        with python_calls() as found:
            await act()
        turns.append(found)
    return min(turns, key=Counter.total)


def _is_ours(frame: FrameType) -> bool:
    return frame.f_code.co_filename.startswith(OURS)
