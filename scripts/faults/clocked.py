"""Our command line under a machine's clock that a trial sets.

    python -m scripts.faults.clocked FILE AGREEMENT TOLERANCE serve …

FILE has how many seconds the clock is ahead, as `Shift` writes it. A jump is believed after
AGREEMENT seconds, and rows are removed every second, so that a trial does not take hours.
"""

import importlib
import mmap
import struct
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any, Final

from scripts.faults.hastened import hasten

_SHIFT: Final = struct.Struct("d")


class Shift:
    """How far a clock is ahead, in a file that two processes share."""

    def __init__(self, path: Path) -> None:
        if not path.exists():
            path.write_bytes(_SHIFT.pack(0))
        with path.open("r+b") as file:
            self._shared = mmap.mmap(file.fileno(), _SHIFT.size)

    @property
    def seconds(self) -> float:
        """How many seconds the clock is ahead; negative if it is behind."""
        return float(_SHIFT.unpack_from(self._shared)[0])

    @seconds.setter
    def seconds(self, value: float) -> None:
        _SHIFT.pack_into(self._shared, 0, value)


def _run(path: str, agreement: str, tolerance: str, *command: str) -> None:
    shift, true = Shift(Path(path)), time.time
    # Before anything of ours is loaded, which may keep the function.
    time.time = lambda: true() + shift.seconds
    hasten()
    server: Any = importlib.import_module("app.server")
    trust = importlib.import_module("app.base.clock").Trust(float(agreement), float(tolerance))
    server.serve = partial(server.serve, trust=trust)
    sys.argv[1:] = command
    importlib.import_module("app.cli.main").main()


if __name__ == "__main__":
    _run(*sys.argv[1:])
