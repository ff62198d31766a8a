"""The typed keys of `app[...]`: each names one resource that `application` made."""

import asyncio
from dataclasses import dataclass

from aiohttp import web
from aiohttp.typedefs import Middleware
from aiohttp_session import AbstractStorage

from app.auth.accounts import Accounts
from app.auth.api_keys import ApiKeys
from app.auth.sessions import Sessions
from app.base.clock import TrustedClock
from app.base.metrics import Metrics
from app.features.door import Door
from app.node.admission import Admission
from app.node.node import Node
from app.node.registry import ConnectionManager
from app.node.sockets import Sockets
from app.publishing.publisher import Publisher
from app.publishing.receipts import Receipts
from app.settings import Settings
from app.storage.database import Database
from app.storage.last_writes import LastWrites
from app.streams.sql import SqlStreamLog


@dataclass(slots=True)
class Readiness:
    """Whether new work is welcome; `draining` is set once the server is asked to stop."""

    draining: bool = False


SETTINGS = web.AppKey("settings", Settings)
STARTED_AT = web.AppKey("started_at", int)
"""When the server was built; milliseconds since 1970, UTC."""
METRICS = web.AppKey("metrics", Metrics)
DATABASE = web.AppKey("database", Database)
LAST_WRITES = web.AppKey("last_writes", LastWrites)
CLOCK = web.AppKey("clock", TrustedClock)
STREAMS = web.AppKey("streams", SqlStreamLog)
SESSIONS = web.AppKey("sessions", Sessions)
ACCOUNTS = web.AppKey("accounts", Accounts)
API_KEYS = web.AppKey("api_keys", ApiKeys)
PUBLISHER = web.AppKey("publisher", Publisher)
RECEIPTS = web.AppKey("receipts", Receipts)
MANAGER = web.AppKey("manager", ConnectionManager)
NODE = web.AppKey("node", Node)
DOOR = web.AppKey("door", Door)
ADMISSION = web.AppKey("admission", Admission)
SOCKETS = web.AppKey("sockets", Sockets)
READINESS = web.AppKey("readiness", Readiness)
FAILED = web.AppKey("failed", asyncio.Event)
"""Set when a task that must not end has died; the server then stops, to be started again."""
ANSWERING_PROBLEMS: web.AppKey[Middleware] = web.AppKey("answering_problems")
"""Makes an answer of whatever an upgrade raises."""
EXPORTS = web.AppKey("exports", asyncio.Semaphore)
"""Held while an export of a user is made: each takes a thread and space on the disk."""
COOKIES = web.AppKey("cookies", AbstractStorage)
