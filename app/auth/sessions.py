"""From a token to an identity: a token seen before costs no select."""

import logging
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

from app.auth.addressees import DeviceOwners
from app.auth.enrolment import Admitted, Enrolment, Outsiders
from app.auth.jwt import MAX_JWT_BYTES, Claims, InvalidJwt, JwtVerifier
from app.auth.tokens import (
    TOKEN_LENGTH,
    Entry,
    Identity,
    RecentEndings,
    TokenCache,
    Via,
    hash_token,
)
from app.base.batches import Batches
from app.base.errors import Problem
from app.base.logs import fields
from app.base.lru import Lru
from app.protocol.close import REVOKED, Close
from app.protocol.selector import Selector
from app.settings import Settings
from app.storage.completion import complete
from app.storage.database import Database
from app.storage.endings import DeviceEnding, Ending, SessionEnding, UserEnding
from app.storage.schema import milliseconds
from app.storage.sessions import TokenOwner, delete_ended_sessions, token_owners
from app.storage.uses import Uses

# About 700 bytes each, and up to twice as many; above the 50,000 connections of a node, so that
# none needs a select twice.
CACHED_TOKENS = 65_536
# About 150 bytes each.
DEAD_TOKENS = 16_384
# Longer than any handshake takes at any rate of sign-outs.
REMEMBERED_ENDINGS = 65_536
PURGE_SECONDS = 3600
DAY_SECONDS = 86_400

ToClose = list[tuple[Selector, Close]]
"""Connections that the caller has to close, by `node.disconnect`."""

logger = logging.getLogger(__name__)


def no_valid_session() -> Problem:
    """Return the one answer for every token that does not hold."""
    return Problem(401, "unauthorized", "No valid session: sign in.")


class Sessions:
    """What every token stands for, kept true by `Accounts`, which reports what it ended.

    `on_ended` gets the connections that a JWT's first use ends (the device limit), and those of a
    write whose caller went away: hand it to `node.disconnect`. `on_devices_changed` gets the id of
    a user of whom a device was added, renamed or removed.
    """

    def __init__(
        self,
        database: Database,
        settings: Settings,
        verifier: JwtVerifier | None = None,
        clock: Callable[[], float] = time.time,
        *,
        cached_tokens: int = CACHED_TOKENS,
        dead_tokens: int = DEAD_TOKENS,
    ) -> None:
        self.owners = DeviceOwners(database)
        self.session_uses = Uses.of_sessions()
        self.device_uses = Uses.of_devices()
        self.on_ended: Callable[[ToClose], object] = lambda _ended: None
        self.on_devices_changed: Callable[[int], None] = lambda _user_id: None
        self._database = database
        self._verifier = verifier
        self._clock = clock
        self._idle = milliseconds(settings.session_idle_days * DAY_SECONDS)
        self.enrolment = Enrolment(settings.max_devices_per_user, self.device_uses, self.not_before)
        self._outsiders = Outsiders(database, self.enrolment, clock)
        self._tokens = Batches(self._load_tokens)
        self._cache = TokenCache(cached_tokens)
        self._dead: Lru[bytes, bool] = Lru(dead_tokens)
        self._endings = RecentEndings(REMEMBERED_ENDINGS)
        self._changes = 0
        self._purged_at = clock()

    async def resolve(self, token: str, via: Via) -> Identity:
        """Return whose the token is, which counts as a use; raises Problem 401 `unauthorized`."""
        if len(token) != TOKEN_LENGTH and ("." not in token or len(token) > MAX_JWT_BYTES):
            raise no_valid_session()
        key = hash_token(token)
        if key in self._dead:
            raise no_valid_session()
        entry, reason = self._cache.get(key), None
        if entry is None and "." in token:
            try:
                entry = await self._admit(key, token)
            except InvalidJwt as fault:
                reason = fault.reason
                if not fault.final:
                    logger.info("refused a token for now", extra=fields(reason=reason))
                    raise no_valid_session() from None
        elif entry is None:
            entry = await self._tokens.get(key)
        if entry is None or entry.ended or not self._in_time(entry):
            self._bury(key, reason)
            raise no_valid_session()
        return self._use(entry, via)

    def cached(self, token: str, via: Via) -> Identity | None:
        """Return whose the token is, which counts as a use, if memory knows; else None."""
        entry = self._cache.get(hash_token(token))
        if entry is None or not self._in_time(entry):
            return None
        return self._use(entry, via)

    def holds(self, identity: Identity) -> bool:
        """Return whether session, device and user still hold, by what this process has ended."""
        in_time = identity.expires_at is None or identity.expires_at > self._clock()
        return in_time and not self._endings.include(identity)

    def touch_live(self, live: Iterable[tuple[int | None, int | None]]) -> None:
        """Count as used now the sessions and devices of these live connections.

        Each is a pair of session id, None for a JWT, and device id.
        """
        now = milliseconds(self._clock())
        for session_id, device_id in live:
            self._mark(session_id, device_id, now)
            entry = self._cache.of_session(session_id) if session_id is not None else None
            if entry is not None:
                entry.last_used = now

    async def flush(self) -> None:
        """Every use until now is in the database; sessions that time has ended are gone."""
        now = self._clock()
        purge = now - self._purged_at >= PURGE_SECONDS
        if not (self.session_uses or self.device_uses or purge):
            return
        async with self._database.write() as connection:
            sessions = await self.session_uses.write(connection)
            devices = await self.device_uses.write(connection)
            if purge:
                idle_since = milliseconds(now) - self._idle
                await delete_ended_sessions(connection, milliseconds(now), idle_since)
                self._purged_at = now
        self.session_uses.forget(sessions)
        self.device_uses.forget(devices)

    async def close(self) -> None:
        """Every use is in the database, and nothing is loading."""
        await self._tokens.close()
        await self._outsiders.close()
        await self.flush()

    def end(self, endings: Iterable[Ending]) -> None:
        """What a committed write has ended does not hold any more, in memory too."""
        self._changes += 1
        for ending in endings:
            self._endings.add(ending)
            self._forget_devices(ending)
            self._drop_ended(ending.user_id)

    def revive(self) -> None:
        """Tokens that were refused are looked up again: a user was enabled."""
        self._dead.clear()

    def set_roles(self, user_id: int, roles: tuple[str, ...]) -> None:
        """The user has these roles, as was committed; every token of theirs says so from now on."""
        self._changes += 1
        for _, entry in self._cache.of_user(user_id):
            entry.identity = replace(entry.identity, roles=roles)

    def not_before(self, user_id: int, device_id: int | None = None) -> int:
        """Return the time (milliseconds) up to which JWTs must be refused to end all known ones.

        That is now, or later if a token seen here was issued by a clock that is ahead.
        """
        issued = [
            milliseconds(entry.identity.issued_at or 0)
            for _, entry in self._cache.of_user(user_id)
            if device_id is None or entry.identity.device_id == device_id
        ]
        return max([milliseconds(self._clock()), *issued])

    def _forget_devices(self, ending: Ending) -> None:
        match ending:
            case DeviceEnding(removed=True):
                self.owners.remove(ending.device_id)
                self.on_devices_changed(ending.user_id)
            case UserEnding():
                for device_id in ending.removed_devices:
                    self.owners.remove(device_id)

    def _drop_ended(self, user_id: int) -> None:
        for key, entry in self._cache.of_user(user_id):
            if self._endings.include(entry.identity):
                entry.ended = True
                self._cache.drop(key)

    def _in_time(self, entry: Entry) -> bool:
        now = self._clock()
        identity = entry.identity
        if identity.expires_at is not None and identity.expires_at <= now:
            return False
        return identity.session_id is None or entry.last_used + self._idle > milliseconds(now)

    def _use(self, entry: Entry, via: Via) -> Identity:
        identity = entry.identity
        if identity.via != via:
            identity = replace(identity, via=via)
        now = milliseconds(self._clock())
        entry.last_used = now
        self._mark(identity.session_id, identity.device_id, now)
        return identity

    def _mark(self, session_id: int | None, device_id: int | None, now: int) -> None:
        if session_id is not None:
            self.session_uses.mark(session_id, now)
        if device_id is not None:
            self.device_uses.mark(device_id, now)

    def _bury(self, key: bytes, reason: str | None) -> None:
        """The token is refused from memory from now on; this is its only log line."""
        self._cache.drop(key)
        self._dead.put(key, True)
        logger.info(
            "refused a token that is unknown or whose session is over", extra=fields(reason=reason)
        )

    def _keep(self, key: bytes, identity: Identity, last_used: int) -> Entry:
        entry = Entry(identity, last_used)
        self._cache.put(key, entry)
        return entry

    async def _load_tokens(self, keys: Sequence[bytes]) -> dict[bytes, Entry]:
        while True:
            changes = self._changes
            async with self._database.lookup() as connection:
                owners = await token_owners(connection, keys)
            # Something may have ended while the answer was on its way: ask again.
            if changes == self._changes:
                return {key: self._keep_owner(key, owner) for key, owner in owners.items()}

    def _keep_owner(self, key: bytes, owner: TokenOwner) -> Entry:
        identity = Identity(
            owner.user_id,
            # One text for all devices of a user.
            sys.intern(owner.handle),
            owner.roles,
            owner.device_id,
            owner.session_id,
            owner.expires_at / 1000,
            "header",
        )
        used = max(owner.last_used, self.session_uses.last(owner.session_id))
        return self._keep(key, identity, used)

    async def _admit(self, key: bytes, token: str) -> Entry | None:
        if self._verifier is None:
            return None
        claims = self._verifier.verify(token)
        return await complete(self._admit_claims(key, claims))

    async def _admit_claims(self, key: bytes, claims: Claims) -> Entry | None:
        while True:
            changes = self._changes
            admitted = await self._outsiders.admit(claims)
            if changes != self._changes:
                self._report(admitted)
                continue
            if admitted is None:
                return None
            self._report(admitted)
            if admitted.device is not None:
                self.owners.add(admitted.device.id, admitted.user.id)
            return self._keep(key, _outside_identity(admitted, claims), 0)

    def _report(self, admitted: Admitted | None) -> None:
        """Tell what the first use of a token has changed."""
        if admitted is not None and admitted.changed:
            self.on_devices_changed(admitted.user.id)
        if admitted is not None and admitted.pruned:
            self.end(admitted.pruned)
            self.on_ended(connections_of(admitted.pruned))


def connections_of(endings: Iterable[Ending], close: Close = REVOKED) -> ToClose:
    """Return the connections of what was ended."""
    return [(_selector(ending), close) for ending in endings]


def _selector(ending: Ending) -> Selector:
    match ending:
        case SessionEnding():
            return Selector(session_id=ending.session_id)
        case DeviceEnding():
            return Selector(user_id=ending.user_id, device_id=ending.device_id)
        case UserEnding():
            return Selector(user_id=ending.user_id, except_session_id=ending.kept_session_id)


def _outside_identity(admitted: Admitted, claims: Claims) -> Identity:
    return Identity(
        admitted.user.id,
        admitted.user.name,
        admitted.user.roles,
        admitted.device.id if admitted.device is not None else None,
        None,
        claims.exp,
        "header",
        claims.iat,
    )
