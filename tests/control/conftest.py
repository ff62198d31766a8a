"""What commands work on: real accounts in a real database, and a node with connections."""

from collections.abc import AsyncIterator, Callable
from functools import partial
from pathlib import Path

import pytest
from wires import entered

from app.auth.accounts import Accounts
from app.auth.addressees import Addressees
from app.auth.api_keys import ApiKeys
from app.auth.limiter import FailureLimiter
from app.auth.passwords import Passwords
from app.auth.sessions import Sessions
from app.base.metrics import Metrics
from app.control.operations import Operations
from app.node.connection import Connection
from app.node.node import Node, NodeLimits
from app.node.outgoing import OutboxLimits
from app.node.registry import ConnectionManager
from app.publishing.publisher import Publisher
from app.settings import Settings
from app.storage.database import Database
from app.streams.generation import GUARD_NAME
from app.streams.sql import SqlStreamLog, StreamLimits
from tests.databases import place_database

LIMITS = StreamLimits(retention_days=30, retention_rows=10, max_keys_per_user=10)
URL = "http://127.0.0.1:8080"


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(data_dir=tmp_path)


@pytest.fixture
async def operations(settings: Settings) -> AsyncIterator[Operations]:
    """A server's parts without its listener."""
    place_database(settings.data_dir, "parts.db")
    database = await Database.open(settings.data_dir / "parts.db")
    passwords = Passwords(1, 8)
    sessions = Sessions(database, settings)
    accounts = Accounts(database, settings, sessions, passwords, FailureLimiter(0, 1))
    streams = await SqlStreamLog.open(database, settings.data_dir / GUARD_NAME, LIMITS)
    node = Node(
        ConnectionManager(), streams, Metrics(), NodeLimits(outbox=OutboxLimits(4, 100_000))
    )
    addressees = Addressees(database, sessions.owners)
    publisher = Publisher(node, addressees, settings.max_message_bytes)
    yield Operations(
        accounts,
        node,
        settings,
        URL,
        publisher,
        api_keys=ApiKeys(database),
        database=database,
        sessions=sessions,
    )
    await addressees.close()
    await streams.close()
    passwords.close()
    await database.close()


Connect = Callable[..., Connection]


@pytest.fixture
def connect(operations: Operations) -> Connect:
    """Return a function that connects a device to the node, without a socket."""

    return partial(entered, operations.running_node())
