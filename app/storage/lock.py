"""The lock of a data folder, which one process holds at a time."""

import asyncio
import contextlib
import os
import sys
import time
from pathlib import Path
from types import TracebackType

from app.base.errors import DataDirBusy
from app.storage.exposure import refuse_exposed

LOCK_NAME = "server.lock"

# How often a waiter tries again: too short for a person to notice, long next to a commit.
_RETRY_SECONDS = 0.05

if sys.platform == "win32":
    import msvcrt

    # Others cannot read a locked byte there, so it lies far behind the holder's pid.
    _LOCKED_BYTE = 1 << 20

    def _lock(descriptor: int) -> None:
        os.lseek(descriptor, _LOCKED_BYTE, os.SEEK_SET)
        msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        os.lseek(descriptor, 0, os.SEEK_SET)
else:
    import fcntl

    def _lock(descriptor: int) -> None:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)


class DataDirLock:
    """The right to write into a data folder, held from `acquire` to `release`.

    The kernel releases it when the process ends, however it ends; the file stays.
    """

    def __init__(self, data_dir: Path) -> None:
        self._path = data_dir / LOCK_NAME
        self._descriptor: int | None = None

    def acquire(self) -> None:
        """Take the lock and write this process's pid into its file; make the folder (mode 0700).

        Raises DataDirBusy if another process, or another lock of this one, holds it, and
        SettingsError if everybody may write to the folder.
        """
        refuse_exposed(self._path.parent)
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            _lock(descriptor)
        except OSError as error:
            os.close(descriptor)
            if isinstance(error, BlockingIOError | PermissionError):
                raise DataDirBusy(f"{self._holder()} holds {self._path}.") from None
            raise
        os.ftruncate(descriptor, 0)
        os.write(descriptor, f"{os.getpid()}\n".encode())
        self._descriptor = descriptor

    async def acquire_within(self, seconds: float) -> None:
        """Take the lock; raises DataDirBusy if it does not become free within `seconds`."""
        deadline = time.monotonic() + seconds
        while True:
            try:
                return self.acquire()
            except DataDirBusy:
                if time.monotonic() >= deadline:
                    raise
            await asyncio.sleep(_RETRY_SECONDS)

    def release(self) -> None:
        """Release the lock; do nothing if it is not held."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def _holder(self) -> str:
        with contextlib.suppress(OSError):
            pid = self._path.read_text(encoding="ascii", errors="ignore").strip()
            if pid.isdigit():
                return f"Another process (pid {pid})"
        return "Another process"

    def __enter__(self) -> "DataDirLock":
        self.acquire()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.release()
