"""Sessions: from a token to its identity, without a select for a token seen before."""

import logging
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import replace

from app.auth.addressees import DeviceOwners
from app.auth.endings import RecentEndings, ToClose, connections_of
from app.auth.enrolment import Admitted, Enrolment, Holder, Outsiders
from app.auth.jwt import MAX_JWT_BYTES, Claims, InvalidJwt, JwtVerifier
from app.auth.new_devices import NewDevices
from app.auth.session_limit import SessionLimit
from app.auth.tokens import (
    TOKEN_LENGTH,
    Entry,
    Identity,
    TokenCache,
    Via,
    hash_token,
)
from app.base.clock import WALL, Clock, Verdict
from app.base.errors import Problem
from app.base.logs import fields
from app.base.lru import Lru
from app.base.storms import at_most
from app.base.tasks import Batches, complete
from app.settings import Settings
from app.storage.database import Database
from app.storage.endings import DeviceEnding, Ending, UserEnding, lower_not_before
from app.storage.schema import milliseconds
from app.storage.sessions import TokenOwner, token_owners
from app.storage.uses import Uses, flush

# About 700 bytes each, and up to twice as many; above the 50,000 connections of a node, so that
# none needs a select twice.
CACHED_TOKENS = 65_536
# About 150 bytes each, and up to twice as many.
DEAD_TOKENS = 16_384
# More than can end while a handshake lasts.
REMEMBERED_ENDINGS = 65_536
# Above the leeway for JWTs: an ending that is further ahead is of a clock that has jumped.
AHEAD_SECONDS = 60
DAY_SECONDS = 86_400

logger = logging.getLogger(__name__)


def no_valid_session() -> Problem:
    """Return the answer for every token that does not hold, whatever the reason."""
    return Problem(401, "unauthorized", "No valid session: sign in.")


class Sessions:
    """Finds whom a token stands for; `Accounts` reports every change to sessions and devices.

    `on_ended` gets the connections to close for which there is no caller to close them: those of
    devices that a JWT's first use removes (the limit), and those of a write whose caller was
    cancelled. `on_devices_changed` gets a user's id when one of their devices was added, renamed
    or removed. `on_left_over` is called when rows may be left over that somebody has to remove.
    """

    def __init__(
        self,
        database: Database,
        settings: Settings,
        verifier: JwtVerifier | None = None,
        clock: Clock = WALL,
        *,
        cached_tokens: int = CACHED_TOKENS,
        dead_tokens: int = DEAD_TOKENS,
    ) -> None:
        self.owners = DeviceOwners(database)
        self.session_uses = Uses.of_sessions()
        self.device_uses = Uses.of_devices()
        self.on_ended: Callable[[ToClose], object] = lambda _to_close: None
        self.on_devices_changed: Callable[[int], None] = lambda _user_id: None
        self.on_left_over: Callable[[], None] = lambda: None
        self._database = database
        self._verifier = verifier
        self._clock = clock
        self._idle = milliseconds(settings.session_idle_days * DAY_SECONDS)
        self.session_limit = SessionLimit(settings.max_sessions_per_user, self.session_uses)
        self.enrolment = Enrolment(
            settings.max_devices_per_user,
            self.device_uses,
            self.not_before_of,
            NewDevices(settings.new_devices_per_day),
        )
        self._outsiders = Outsiders(database, self.enrolment, clock)
        self._tokens = Batches(self._load_tokens)
        self._cache = TokenCache(cached_tokens)
        self._dead: Lru[bytes, bool] = Lru(dead_tokens)
        self._endings = RecentEndings(REMEMBERED_ENDINGS)
        self._doubtful: list[DeviceEnding | UserEnding] = []
        self._changes = 0

    async def resolve(self, token: str, via: Via, holder: Holder | None = None) -> Identity:
        """Return the token's identity, and count this as a use of its session and device.

        With a `holder` the token of anybody else is refused, and a JWT's first use makes no device.
        Raises Problem 401 `unauthorized`, and 429 `too_many_devices` if a JWT's first use had to
        make one more than the user may have in a day.
        """
        if len(token) != TOKEN_LENGTH and ("." not in token or len(token) > MAX_JWT_BYTES):
            raise no_valid_session()
        key = hash_token(token)
        if key in self._dead:
            raise no_valid_session()
        entry, reason = self._cache.get(key), None
        if entry is None:
            entry, reason = await self._load(key, token, holder)
        if entry is None or entry.ended or not self._in_time(entry):
            self._remember_dead(key, reason)
            raise no_valid_session()
        identity = entry.identity
        if holder is not None and (identity.user_id, identity.device_id) != holder:
            raise no_valid_session()
        return self._use(entry, via)

    def cached(self, token: str, via: Via) -> Identity | None:
        """Return what `resolve` does, for a token that is in memory; None for any other."""
        entry = self._cache.get(hash_token(token))
        if entry is None or not self._in_time(entry):
            return None
        return self._use(entry, via)

    def holds(self, identity: Identity) -> bool:
        """Return whether the identity is in time and nothing in this process has ended it."""
        return self.in_time(identity) and not self._endings.include(identity)

    def in_time(self, identity: Identity) -> bool:
        """Return whether the identity's token has not reached its own end."""
        return identity.expires_at is None or identity.expires_at > self._clock.trusted()

    def touch_live(self, live: Iterable[tuple[int | None, int | None]]) -> None:
        """Count as used now the sessions and devices of these live connections.

        Each is a pair of session id, None for a JWT, and device id.
        """
        now = milliseconds(self._clock.stamp())
        used = list(live)
        sessions = [session_id for session_id, _ in used if session_id is not None]
        self.session_uses.mark_all(sessions, now)
        self.device_uses.mark_all((one for _, one in used if one is not None), now)
        for session_id in sessions:
            if (entry := self._cache.of_session(session_id)) is not None:
                entry.use(now)

    async def flush(self) -> None:
        """Write every use until now into the database, in steps that let others write."""
        await flush(self._database, self.session_uses, self.device_uses)

    async def close(self) -> None:
        """Wait for running loads to finish and write every use into the database."""
        await self._tokens.close()
        await self._outsiders.close()
        await self.flush()

    def end(self, endings: Iterable[Ending]) -> None:
        """End in memory what a committed write has ended in the database."""
        self._changes += 1
        ahead = milliseconds(self._clock.trusted() + AHEAD_SECONDS)
        users: set[int] = set()
        for ending in endings:
            if isinstance(ending, DeviceEnding | UserEnding) and ending.not_before > ahead:
                self._doubtful.append(ending)
            self._endings.add(ending)
            self._forget_devices(ending)
            users.add(ending.user_id)
        for user_id in users:
            self._drop_ended(user_id)
        self.on_left_over()

    async def settle(self, verdict: Verdict) -> None:
        """Correct what was decided while the clock was in doubt, now that there is a verdict.

        JWTs that were refused since the clock was wrong may hold again.
        """
        doubtful, self._doubtful = self._doubtful, []
        if verdict is Verdict.TAKEN_BACK and doubtful:
            try:
                await complete(self._lower(doubtful))
            except BaseException:
                self._doubtful += doubtful
                raise
        self._dead.clear()

    def forget_dead(self) -> None:
        """Forget which tokens were refused, since a user was enabled."""
        self._dead.clear()

    def set_roles(self, user_id: int, roles: tuple[str, ...]) -> None:
        """Give every known token of the user the roles that a write has committed."""
        self._changes += 1
        for _, entry in self._cache.of_user(user_id):
            entry.identity = replace(entry.identity, roles=roles)

    def not_before(self, user_id: int) -> int:
        """Return the time up to which JWTs must be refused to end all of the user.

        That is now, in milliseconds since the epoch, or later if a known JWT was issued by a clock
        that is ahead. If our own has jumped forward it may be right, and what is refused by it is
        corrected by `settle` if it was not.
        """
        issued = [
            milliseconds(entry.identity.issued_at or 0) for _, entry in self._cache.of_user(user_id)
        ]
        return max([milliseconds(self._clock.stamp()), *issued])

    def not_before_of(self, user_id: int, device_ids: Collection[int]) -> dict[int, int]:
        """Return the same for each of these devices of the user, by id."""
        times = dict.fromkeys(device_ids, milliseconds(self._clock.stamp()))
        for _, entry in self._cache.of_user(user_id):
            device_id = entry.identity.device_id
            if device_id is not None and device_id in times:
                issued = milliseconds(entry.identity.issued_at or 0)
                times[device_id] = max(times[device_id], issued)
        return times

    async def _lower(self, doubtful: Sequence[DeviceEnding | UserEnding]) -> None:
        async with self._database.write() as connection:
            now = milliseconds(self._clock.trusted())
            lowered = [one for one in doubtful if await lower_not_before(connection, one, now)]
        for ending in lowered:
            self._endings.add(replace(ending, not_before=now))

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
        if not self.in_time(entry.identity):
            return False
        idle_since = milliseconds(self._clock.trusted()) - self._idle
        return entry.identity.session_id is None or entry.last_used > idle_since

    def _use(self, entry: Entry, via: Via) -> Identity:
        identity = entry.identity
        if identity.via != via:
            identity = replace(identity, via=via)
        now = milliseconds(self._clock.stamp())
        entry.use(now)
        if identity.session_id is not None:
            self.session_uses.mark(identity.session_id, now)
        if identity.device_id is not None:
            self.device_uses.mark(identity.device_id, now)
        return identity

    def _remember_dead(self, key: bytes, reason: str | None) -> None:
        """Refuse the token from memory from now on; this is its only log line."""
        self._cache.drop(key)
        self._dead.put(key, True)
        logger.info(
            "refused a token that is unknown or whose session is over",
            extra=fields(reason=reason) | at_most("anyone"),
        )

    def _remember(self, key: bytes, identity: Identity, last_used: int) -> Entry:
        entry = Entry(identity, last_used)
        self._cache.put(key, entry)
        return entry

    async def _load(
        self, key: bytes, token: str, holder: Holder | None
    ) -> tuple[Entry | None, str | None]:
        """Return the entry of a token that memory does not know; None, and the reason, if none."""
        if "." not in token:
            return await self._tokens.get(key), None
        try:
            return await self._admit(key, token, holder), None
        except InvalidJwt as fault:
            if fault.final:
                return None, fault.reason
            extra = fields(reason=fault.reason) | at_most("anyone")
            logger.info("refused a token for now", extra=extra)
            raise no_valid_session() from None

    async def _load_tokens(self, keys: Sequence[bytes]) -> dict[bytes, Entry]:
        while True:
            changes = self._changes
            async with self._database.lookup() as connection:
                owners = await token_owners(connection, keys)
            # Something may have ended while the answer was on its way: ask again.
            if changes == self._changes:
                return {key: self._remember_owner(key, owner) for key, owner in owners.items()}

    def _remember_owner(self, key: bytes, owner: TokenOwner) -> Entry:
        identity = Identity(
            user_id=owner.user_id,
            handle=owner.handle,
            roles=owner.roles,
            device_id=owner.device_id,
            session_id=owner.session_id,
            expires_at=owner.expires_at / 1000,
            via="header",
        )
        used = max(owner.last_used, self.session_uses.last(owner.session_id))
        return self._remember(key, identity, used)

    async def _admit(self, key: bytes, token: str, holder: Holder | None) -> Entry | None:
        if self._verifier is None:
            return None
        claims = self._verifier.verify(token)
        return await complete(self._admit_claims(key, claims, holder))

    async def _admit_claims(
        self, key: bytes, claims: Claims, holder: Holder | None
    ) -> Entry | None:
        while True:
            changes = self._changes
            admitted = await self._outsiders.admit(claims, holder)
            # Something may have ended while the answer was on its way: then ask again.
            is_current = changes == self._changes
            if admitted is not None:
                self._report(admitted)
            if is_current:
                break
        if admitted is None:
            return None
        if admitted.device is not None:
            self.owners.add(admitted.device.id, admitted.user.id)
        return self._remember(key, _outside_identity(admitted, claims), 0)

    def _report(self, admitted: Admitted) -> None:
        """Tell what a JWT's first use has changed."""
        if admitted.changed:
            self.on_devices_changed(admitted.user.id)
        if admitted.pruned:
            self.end(admitted.pruned)
            self.on_ended(connections_of(admitted.pruned))


def _outside_identity(admitted: Admitted, claims: Claims) -> Identity:
    return Identity(
        user_id=admitted.user.id,
        handle=admitted.user.name,
        roles=admitted.user.roles,
        device_id=admitted.device.id if admitted.device is not None else None,
        session_id=None,
        expires_at=claims.exp,
        via="header",
        issued_at=claims.iat,
        jwt_hash=claims.jwt_hash,
    )
