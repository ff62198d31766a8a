"""One page of all connections: those that match, sorted and cut, without holding up the loop."""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from heapq import nlargest, nsmallest
from typing import Final

from app.node.connection import Connection
from app.node.node import Node
from app.protocol.close import Selector
from app.storage.directory import Search

SORTS: Final = ("age", "queue", "lag", "user", "address")

STEP: Final = 2000
"""Connections that are examined in one go, in about 3 ms; then the event loop has its turn."""

_Sortable = float | str


@dataclass(frozen=True, slots=True, kw_only=True)
class PageQuery:
    """The connections to show: those of `user_id`, or found by `search`, in this order.

    `users` and `devices` are the ids of those whose names match the search.
    """

    search: Search | None = None
    users: frozenset[int] = frozenset()
    devices: frozenset[int] = frozenset()
    user_id: int | None = None
    sort: str = "age"
    descending: bool = False
    offset: int = 0
    limit: int = 50


@dataclass(frozen=True, slots=True)
class Page:
    """The connections of a page, and how many match in all."""

    total: int
    connections: list[Connection]


async def page_of(node: Node, query: PageQuery) -> Page:
    """Return the page, made of the connections that existed when the call began."""
    key = _KEYS[query.sort]
    selector = Selector(user_id=query.user_id) if query.user_id is not None else None
    everyone = node.manager.connections(selector)
    first = nlargest if query.descending else nsmallest
    upto, total = query.offset + query.limit, 0
    found: list[tuple[_Sortable, int, Connection]] = []
    for start in range(0, len(everyone), STEP):
        if start:
            await asyncio.sleep(0)
        # The number puts equals in an order that is the same on every page: the connection that
        # came last is the youngest, also within one step of the clock.
        matching = [
            (key(node, one), -(start + number), one)
            for number, one in enumerate(everyone[start : start + STEP])
            if _matches(one, query)
        ]
        total += len(matching)
        found += matching
        # What no page up to this one can show is dropped early, so that there is little to sort.
        if len(found) > upto + STEP:
            found = first(upto, found)
    page = first(upto, found)[query.offset :]
    return Page(total, [one for _, _, one in page])


_KEYS: Final[Mapping[str, Callable[[Node, Connection], _Sortable]]] = {
    "age": lambda _, one: -one.started_at,
    "queue": lambda _, one: one.backlog_bytes,
    "lag": lambda node, one: node.delivery.lag_of(one),
    "user": lambda _, one: one.user_id,
    "address": lambda _, one: one.address,
}


def _matches(connection: Connection, query: PageQuery) -> bool:
    if connection.is_closing():
        return False
    search = query.search
    if search is None:
        return True
    text = search.handle_key
    return (
        connection.user_id in query.users
        or connection.device_id in query.devices
        or text in connection.instance.casefold()
        or text in connection.address
        or text in connection.connection_id
    )
