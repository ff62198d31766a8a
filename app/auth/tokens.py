"""Tokens: how they are made and stored, whom they stand for, and which are in memory."""

import hashlib
import secrets
from dataclasses import dataclass
from typing import Final, Literal

from app.base.lru import Lru
from app.storage.users import ADMIN

TOKEN_BYTES = 32
TOKEN_LENGTH = 43
"""Characters of a token: 256 bits in base64 without padding. Never a dot, as JWTs have."""

Via = Literal["header", "protocol", "cookie"]
"""How a request carried its token."""


def new_token() -> str:
    """Return a token that nobody can guess."""
    return secrets.token_urlsafe(TOKEN_BYTES)


def hash_token(token: str) -> bytes:
    """Return the SHA-256 of a token; without a salt, since 256 random bits need none."""
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()


def hash_jwt(token: str) -> bytes:
    """Return the SHA-256 of what is signed in a JWT: its header and claims, as they are written.

    Not of the whole token: one signature can be written in several ways (with padding, for one),
    and an ES256 signature has a twin that holds too.
    """
    return hash_token(token.rpartition(".")[0])


@dataclass(frozen=True, slots=True)
class Identity:
    """Whom a presented token stands for: a user, usually on a device.

    Times are seconds since the epoch.
    """

    user_id: int
    handle: str
    roles: tuple[str, ...]
    device_id: int | None
    session_id: int | None
    """None for JWTs."""
    expires_at: float | None
    """The absolute end of the token, used or not."""
    via: Via
    issued_at: float | None = None
    """When a JWT says that it was issued; None for sessions."""
    jwt_hash: bytes | None = None
    """What `hash_jwt` returns for a JWT; None for sessions."""

    @property
    def permissions(self) -> list[str]:
        return list(self.roles)

    @property
    def is_admin(self) -> bool:
        return ADMIN in self.roles


# Tokens in memory

TOKENS_OF_USER: Final = 1000
"""Tokens of one user in memory: all that devices of theirs use, and some that JWTs replaced."""


@dataclass(slots=True, eq=False)
class Entry:
    """A token that is known to hold."""

    identity: Identity
    last_used: int
    """Milliseconds since the epoch."""
    ended: bool = False
    """Set when the entry was dropped because its session has ended."""

    def use(self, at: int) -> None:
        """Note a use; one of a clock that is behind does not make the session older."""
        self.last_used = max(at, self.last_used)


class TokenCache:
    """The entries of the tokens used last, by the tokens' hashes, by user and by session."""

    def __init__(self, kept: int) -> None:
        self._entries: Lru[bytes, Entry] = Lru(kept)
        # Lists: a user has some dozens of tokens, and a set takes four times the memory.
        self._by_user: dict[int, list[bytes]] = {}
        self._by_session: dict[int, Entry] = {}

    def get(self, key: bytes) -> Entry | None:
        """Return the entry of the token, and keep it among those used last."""
        return self._entries.get(key)

    def of_session(self, session_id: int) -> Entry | None:
        """Return the entry of the session's token."""
        return self._by_session.get(session_id)

    def of_user(self, user_id: int) -> list[tuple[bytes, Entry]]:
        """Return the entries of the user's tokens."""
        found = ((key, self._entries.get(key)) for key in self._by_user.get(user_id, ()))
        return [(key, entry) for key, entry in found if entry is not None]

    def put(self, key: bytes, entry: Entry) -> None:
        """Remember the entry of a token."""
        self.drop(key)
        known = self._by_user.get(entry.identity.user_id)
        if known is not None and len(known) >= TOKENS_OF_USER:
            # Whatever ends something of the user goes through all of them.
            self.drop(known[0])
        self._by_user.setdefault(entry.identity.user_id, []).append(key)
        if entry.identity.session_id is not None:
            self._by_session[entry.identity.session_id] = entry
        for displaced in self._entries.put(key, entry):
            self._unlink(*displaced)

    def drop(self, key: bytes) -> None:
        """Forget the token; one that is not known is no error."""
        if (entry := self._entries.pop(key)) is not None:
            self._unlink(key, entry)

    def _unlink(self, key: bytes, entry: Entry) -> None:
        identity = entry.identity
        keys = self._by_user[identity.user_id]
        keys.remove(key)
        if not keys:
            del self._by_user[identity.user_id]
        if identity.session_id is not None:
            self._by_session.pop(identity.session_id, None)
