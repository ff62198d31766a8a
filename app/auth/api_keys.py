"""API keys, which an application's backend presents instead of a session."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from app.auth.tokens import TOKEN_LENGTH, hash_token, new_token
from app.base.clock import WALL, Clock
from app.base.errors import Problem
from app.base.lru import Lru
from app.base.storms import at_most
from app.base.tasks import Batches, complete
from app.storage.api_keys import (
    ApiKey,
    add_api_key,
    live_api_keys,
    page_of_api_keys,
    set_api_key_revoked,
)
from app.storage.database import Database
from app.storage.schema import milliseconds
from app.storage.uses import Uses, flush

KEY_PREFIX: Final = "sbk_"
KEY_LENGTH: Final = len(KEY_PREFIX) + TOKEN_LENGTH
"""Characters of a key. No session token has as many, and no JWT is without a dot."""

ALL_SCOPES: Final = ("send", "read", "admin")
"""What a key may be for; `admin` implies the others."""

# About 400 bytes each; a server has a handful of keys.
CACHED_KEYS: Final = 4096
# About 150 bytes each, and up to twice as many.
DEAD_KEYS: Final = 16_384

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class NewApiKey:
    """A new key. Nobody can read it again: the database has its hash only."""

    key: str = field(repr=False)
    record: ApiKey


def no_valid_api_key() -> Problem:
    """Return the answer for everything that is no valid API key, whatever the reason."""
    return Problem(401, "unauthorized", "No valid API key: `keys add` makes one.")


def allows(key: ApiKey, scope: str) -> bool:
    """Return whether the key has the scope."""
    return scope in key.scopes or "admin" in key.scopes


def may_send(key: ApiKey, prefix: str) -> bool:
    """Return whether the key may send types of this prefix."""
    return not key.prefixes or prefix in key.prefixes


class ApiKeys:
    """The API keys of this server; a key seen before, dead or not, costs no select."""

    def __init__(
        self,
        database: Database,
        clock: Clock = WALL,
        *,
        cached_keys: int = CACHED_KEYS,
        dead_keys: int = DEAD_KEYS,
    ) -> None:
        self._database = database
        self._clock = clock
        self._live: Lru[bytes, ApiKey] = Lru(cached_keys)
        self._dead: Lru[bytes, bool] = Lru(dead_keys)
        self._revoked: Lru[int, bool] = Lru(dead_keys)
        self._loads = Batches(self._load)
        self._uses = Uses.of_api_keys()

    async def resolve(self, presented: str) -> ApiKey:
        """Return the key, and count this as a use; raises Problem 401 `unauthorized`."""
        if len(presented) != KEY_LENGTH or not presented.startswith(KEY_PREFIX):
            raise no_valid_api_key()
        key_hash = hash_token(presented)
        if key_hash in self._dead:
            raise no_valid_api_key()
        key = self._live.get(key_hash) or await self._loads.get(key_hash)
        if key is None or not self.holds(key):
            self._remember_dead(key_hash)
            raise no_valid_api_key()
        self._uses.mark(key.id, milliseconds(self._clock.stamp()))
        return key

    def holds(self, key: ApiKey) -> bool:
        """Return whether this process has not revoked the key since it was resolved."""
        return key.id not in self._revoked

    async def add(self, name: str, scopes: Sequence[str], prefixes: Sequence[str]) -> NewApiKey:
        """Add a key that nobody can guess; return it."""
        key = KEY_PREFIX + new_token()
        async with self._database.write() as connection:
            record = await add_api_key(
                connection,
                name=name,
                key_hash=hash_token(key),
                scopes=scopes,
                prefixes=prefixes,
                now=milliseconds(self._clock.stamp()),
            )
        return NewApiKey(key, record)

    async def revoke(self, key_id: int) -> ApiKey | None:
        """Revoke the key and return it; None if it is unknown or was revoked before."""
        return await complete(self._revoke(key_id))

    async def page(self, *, include_revoked: bool, after: int, limit: int) -> list[ApiKey]:
        """Return the first `limit` keys with ids above `after`, by id, as last used up to now."""
        async with self._database.lookup() as connection:
            found = await page_of_api_keys(
                connection, include_revoked=include_revoked, after=after, limit=limit
            )
        return [self._seen(key) for key in found]

    async def flush(self) -> None:
        """Write every use until now into the database."""
        await flush(self._database, self._uses)

    async def close(self) -> None:
        """Wait for a running load to finish and write every use into the database."""
        await self._loads.close()
        await self.flush()

    async def _revoke(self, key_id: int) -> ApiKey | None:
        async with self._database.write() as connection:
            gone = await set_api_key_revoked(connection, key_id, milliseconds(self._clock.stamp()))
        if gone is None:
            return None
        key, key_hash = gone
        self._live.pop(key_hash)
        self._dead.put(key_hash, True)
        # For requests under way, and for a load that began before.
        self._revoked.put(key.id, True)
        return self._seen(key)

    async def _load(self, hashes: Sequence[bytes]) -> dict[bytes, ApiKey]:
        async with self._database.lookup() as connection:
            found = await live_api_keys(connection, hashes)
        for key_hash, key in found.items():
            if self.holds(key):
                self._live.put(key_hash, key)
        return found

    def _remember_dead(self, key_hash: bytes) -> None:
        """Refuse the key from memory from now on; this is its only log line."""
        self._dead.put(key_hash, True)
        logger.info("refused an API key that is unknown or revoked", extra=at_most("anyone"))

    def _seen(self, key: ApiKey) -> ApiKey:
        used = self._uses.last(key.id)
        return replace(key, last_used=used) if used > (key.last_used or 0) else key
