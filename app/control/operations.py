"""Which parts of the server a command may use."""

from dataclasses import dataclass, field
from typing import Final

from app.auth.accounts import Accounts
from app.auth.api_keys import ApiKeys
from app.auth.endings import ToClose
from app.auth.sessions import Sessions
from app.base.errors import NoServer
from app.control.command import MAX_ID, NO_SERVER
from app.node.node import Node
from app.publishing.publisher import Publisher
from app.settings import Settings
from app.storage.database import Database
from app.storage.users import User

_ID_PREFIX: Final = "id="


@dataclass(frozen=True, slots=True)
class Operations:
    """The parts that commands use; those with a default, and `node`, are None without a server."""

    accounts: Accounts
    node: Node | None
    settings: Settings
    url: str | None = None
    publisher: Publisher | None = None
    api_keys: ApiKeys = field(kw_only=True)
    database: Database = field(kw_only=True)
    sessions: Sessions = field(kw_only=True)

    def end(self, ended: ToClose) -> int:
        """Close the live connections of the ended sessions; return how many there were."""
        if self.node is None:
            return 0
        return self.node.end(ended)

    def running_node(self) -> Node:
        """Return the node; raise NoServer when no server runs."""
        if self.node is None:
            raise NoServer(NO_SERVER)
        return self.node

    def running_publisher(self) -> Publisher:
        """Return what sends messages; raise NoServer when no server runs."""
        if self.publisher is None:
            raise NoServer(NO_SERVER)
        return self.publisher

    def online(self, user_id: int) -> frozenset[int]:
        """Return the user's devices that are connected to this server."""
        if self.node is None:
            return frozenset()
        return frozenset(self.node.manager.get_connected_devices(user_id))

    async def user(self, name: str) -> User:
        """Return the user of a handle, or of `id=NUMBER` since users from outside have no handle.

        Raises Problem `user_not_found`.
        """
        found = user_name(name)
        if isinstance(found, int):
            return await self.accounts.get_user(found)
        return await self.accounts.find_user(found)


def user_name(name: str) -> int | str:
    """Return the id in `id=NUMBER`, else the name, which is a handle."""
    number = name.removeprefix(_ID_PREFIX)
    if number != name and number.isascii() and number.isdigit() and int(number[:20]) <= MAX_ID:
        return int(number)
    return name
