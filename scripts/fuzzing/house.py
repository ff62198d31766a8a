"""The whole server inside of this process, with people in it, and what must not stay behind."""

import asyncio
import gc
import logging
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, Self

from aiohttp import web

from app.application import build_application
from app.auth.api_keys import ALL_SCOPES
from app.base.listening import bind
from app.keys import ACCOUNTS, ADMISSION, API_KEYS, MANAGER, NODE
from app.settings import Settings

PASSWORD: Final = "correct horse battery"  # noqa: S105 (of people that only this process knows)
QUIET: Final = logging.WARNING
"""Lines below this are not kept; peers make thousands of them."""


class Faults(list[str]):
    """What went wrong, each as a sentence with what one needs to see it again."""

    def add(self, sentence: str) -> None:
        """Note a fault; after the first hundred they are only noise."""
        if len(self) < 100:
            self.append(sentence)


class LogWatch(logging.Handler):
    """Notes each log line that tells of a failure of ours: an error, or one with a traceback."""

    def __init__(self, faults: Faults) -> None:
        super().__init__(QUIET)
        self._faults = faults

    def emit(self, record: logging.LogRecord) -> None:
        """Note the line if it is a fault."""
        if record.levelno >= logging.ERROR or record.exc_info:
            text = logging.Formatter().format(record)
            self._faults.add(f"log line of {record.name}: {text[-1500:]}")


class House:
    """The server on a free port of this machine; an async context manager.

    When it ends, what is left of it is a fault: tasks, connections, descriptors.
    """

    def __init__(self, folder: Path, faults: Faults, **options: Any) -> None:
        # A pong of the peer would come between the pieces of what it sends.
        usual = {"web_app": "off", "drain_seconds": 0, "heartbeat_seconds": 3600}
        self.settings = Settings(data_dir=folder, **{**usual, **options})
        self._faults = faults
        self.app = build_application(self.settings)
        self._runner = web.AppRunner(self.app, shutdown_timeout=2, access_log=None)
        self._watch = LogWatch(faults)

    async def __aenter__(self) -> Self:
        root = logging.getLogger()
        self._level = root.level
        root.addHandler(self._watch)
        root.setLevel(QUIET)
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(self._uncaught)
        self._tasks = set(asyncio.all_tasks())
        self._descriptors = descriptors()
        await self._runner.setup()
        (listener,) = await bind("127.0.0.1", 0, self.settings.stall_seconds)
        self.port: int = listener.getsockname()[1]
        await web.SockSite(self._runner, listener).start()
        return self

    async def __aexit__(self, *failure: object) -> None:
        await self.app[NODE].close_all(self.settings.close_seconds)
        await self._runner.cleanup()
        logging.getLogger().removeHandler(self._watch)
        logging.getLogger().setLevel(self._level)
        if failure[0] is None:
            await self._look_around()

    async def _look_around(self) -> None:
        left: list[str] = []
        for turn in range(100):
            # What is in cycles takes a collection, what closes takes a moment.
            if turn % 20 == 0:
                gc.collect()
            tasks = set(asyncio.all_tasks()) - self._tasks - {asyncio.current_task()}
            left = [f"task {task!r}" for task in tasks]
            left += sorted(descriptors() - self._descriptors)
            if not left:
                return
            await asyncio.sleep(0.05)
        for one in left:
            self._faults.add(f"left after the server had stopped: {one}")

    def _uncaught(self, _loop: object, context: dict[str, Any]) -> None:
        self._faults.add(f"uncaught: {context.get('message')} {context.get('exception')!r}")

    async def settled(self) -> None:
        """Wait until nobody is connected; note as a fault what stays for ten seconds."""
        app = self.app
        for _ in range(1000):
            if not any(app[MANAGER].connections()) and app[ADMISSION].connections == 0:
                return
            await asyncio.sleep(0.01)
        self._faults.add(f"left: {len(list(app[MANAGER].connections()))} connections")

    async def person(self, handle: str, *, admin: bool = False) -> int:
        """Add a user; return the id."""
        roles = ("admin",) if admin else ()
        return (await self.app[ACCOUNTS].add_user(handle, PASSWORD, roles)).id

    async def device(self, user_id: int, uuid: str) -> tuple[str, int]:
        """Sign a device in; return its token and its id."""
        issued = await self.app[ACCOUNTS].issue_token(user_id, uuid, "web")
        if issued.device is None:
            raise RuntimeError("a token without a device")
        return issued.token, issued.device.id

    async def api_key(self) -> str:
        """Return the text of a new API key that may do everything."""
        return (await self.app[API_KEYS].add("fuzz", ALL_SCOPES, ("*",))).key


async def warm_up(folder: Path) -> None:
    """Start and stop a server, so that what the process opens once and for all is open."""
    async with House(folder, Faults()):
        pass


def descriptors() -> set[str]:
    """Return what this process has open, each with its number.

    A loop that listens keeps one of /dev/null in reserve until it is closed (libuv).
    """
    found = set[str]()
    for link in Path("/proc/self/fd").iterdir():
        # The folder itself is among them while it is read.
        with suppress(OSError):
            found.add(f"{link.name} {link.readlink()}")
    return {one for one in found if not one.endswith(" /dev/null")}
