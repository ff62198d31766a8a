"""Which connections a page shows: those that match, sorted and cut, without holding up the loop."""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from heapq import nlargest, nsmallest
from typing import Final, Literal

from app.node.connection import Connection
from app.node.node import Node
from app.protocol.selector import Selector
from app.storage.directory import Search

SORTS: Final = ("age", "queue", "lag", "user", "address")

Sort = Literal["age", "queue", "lag", "user", "address"]

# Connections looked at in one go, about 3 ms; then the loop breathes.
_STEP: Final = 2000

_Sortable = float | str


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What to show: connections of `user_id`, or found by `search`, in this order.

    `users` and `devices` are those whose names match the search.
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


async def page_of(node: Node, wanted: Wanted) -> Page:
    """Return the page, of the connections that there were at the beginning."""
    key = _KEYS[wanted.sort]
    selector = Selector(user_id=wanted.user_id) if wanted.user_id is not None else None
    everyone = node.manager.connections(selector)
    first = nlargest if wanted.descending else nsmallest
    upto, total = wanted.offset + wanted.limit, 0
    found: list[tuple[_Sortable, int, Connection]] = []
    for start in range(0, len(everyone), _STEP):
        if start:
            await asyncio.sleep(0)
        # The number tells equals apart, as no two pages see otherwise: who came last is youngest,
        # also within one step of the clock.
        matching = [
            (key(node, one), -(start + number), one)
            for number, one in enumerate(everyone[start : start + _STEP])
            if _matches(one, wanted)
        ]
        total += len(matching)
        found += matching
        # What can be on no page up to this one goes early, so that there is never much to sort.
        if len(found) > upto + _STEP:
            found = first(upto, found)
    page = first(upto, found)[wanted.offset :]
    return Page(total, [one for _, _, one in page])


def lag_of(node: Node, connection: Connection) -> int:
    """Return how many offsets the connection is behind the head of its user's stream."""
    return max(0, node.delivery.standings.head(connection.user_id) - connection.place.position)


_KEYS: Final[Mapping[str, Callable[[Node, Connection], _Sortable]]] = {
    "age": lambda _, one: -one.started_at,
    "queue": lambda _, one: one.backlog_bytes,
    "lag": lag_of,
    "user": lambda _, one: one.user_id,
    "address": lambda _, one: one.address,
}


def _matches(connection: Connection, wanted: Wanted) -> bool:
    if connection.is_closing():
        return False
    search = wanted.search
    if search is None:
        return True
    text = search.handle_key
    return (
        connection.user_id in wanted.users
        or connection.device_id in wanted.devices
        or text in connection.instance.casefold()
        or text in connection.address
        or text in connection.connection_id
    )
