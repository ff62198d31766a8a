"""The accounts of a server: signing in and out, tokens, and all writes on users and devices."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from sqlalchemy.ext.asyncio import AsyncConnection

from app.auth.account_devices import DeviceWrites
from app.auth.account_users import UserWrites, no_password
from app.auth.endings import ToClose
from app.auth.enrolment import Enrolled
from app.auth.failures import Source, tell
from app.auth.limiter import FailureLimiter, Limit
from app.auth.names import clean_device, clean_handle, clean_name, handle_key
from app.auth.passwords import Passwords, check_new_password
from app.auth.sessions import DAY_SECONDS, Sessions, no_valid_session
from app.auth.tokens import Identity, hash_token, new_token
from app.base.clock import WALL, Clock
from app.base.errors import Problem
from app.base.lru import Lru
from app.protocol.close import SIGNED_OUT
from app.settings import Settings
from app.storage.database import Database
from app.storage.devices import Device, DeviceInfo, live_device_by_uuid
from app.storage.endings import (
    SessionEnding,
    end_device_jwts,
    end_jwt,
    end_session,
    end_session_of_token,
    replace_password,
)
from app.storage.schema import milliseconds
from app.storage.sessions import SessionRecord, add_session, sessions_of
from app.storage.users import User, user_by_handle_key, user_by_id

MAX_SUCCEEDED: Final = 32_768
"""Pairs of an account and a network that are sure to be remembered, about 10 MB."""


@dataclass(frozen=True, slots=True)
class SignIn:
    """Credentials, and the device that shows them; as sent, not yet cleaned."""

    user_handle: str
    password: str = field(repr=False)
    device_uuid: str
    device_type: str
    device_name: str | None = None
    os_info: str | None = None


@dataclass(frozen=True, slots=True)
class SignedIn:
    """A new session. Its token is shown nowhere else."""

    token: str = field(repr=False)
    session_id: int
    user: User
    device: Device | None
    ended: ToClose
    """The connections of devices and sessions that ended to stay within the limits."""


class Accounts(UserWrites, DeviceWrites):
    """The accounts of this server.

    A method that ends sessions returns the connections to close: hand them to `node.disconnect`.
    """

    def __init__(
        self,
        database: Database,
        settings: Settings,
        sessions: Sessions,
        passwords: Passwords,
        limiter: FailureLimiter,
        clock: Clock = WALL,
    ) -> None:
        super().__init__(database, settings, sessions, passwords, clock)
        self._limiter = limiter
        # Accounts, each with a network from which somebody signed in.
        self._succeeded: Lru[tuple[str, str], bool] = Lru(MAX_SUCCEEDED)

    async def sign_in(
        self, form: SignIn, networks: Sequence[str], address: str | None = None
    ) -> SignedIn:
        """Return a new session of the user on the device; `networks` is where the request is from.

        `address` is for the log; without one, the smallest network stands there.

        Raises Problem 400 `invalid_device`, 401 `invalid_credentials`, 429 `too_many_attempts`,
        429 `too_many_devices` for a new device of a user who had too many today, and 503 `busy`.
        """
        info = clean_device(
            device_uuid=form.device_uuid,
            device_type=form.device_type,
            device_name=form.device_name,
            os_info=form.os_info,
        )
        key = _account_key(form.user_handle)
        limits = await self._limits(key, info.device_uuid, networks)
        known = key if (key, networks[0]) in self._succeeded else None
        source = Source(address or networks[0], networks[-1], known)
        user = await self._authenticate(key, form.password, limits, source)
        self._succeeded.put((key, networks[0]), True)
        opening = self._open(user, info, None, _invalid_credentials(), by_operator=False)
        return await self._finish(opening, _ended_by)

    async def issue_token(
        self,
        user_id: int,
        device_uuid: str | None,
        device_type: str,
        device_name: str | None = None,
        label: str | None = None,
    ) -> SignedIn:
        """Return a new session of the user, on the device or on none, without a password.

        It is the operator who asks: the limit on new devices does not count.
        Raises Problem 400 `invalid_device`, 404 `user_not_found` and 409 `user_disabled`.
        """
        info = None
        if device_uuid is not None:
            info = clean_device(
                device_uuid=device_uuid,
                device_type=device_type,
                device_name=device_name,
                os_info=None,
            )
        user = await self.get_user(user_id)
        if not user.active:
            raise _user_disabled()
        opening = self._open(user, info, label, _user_disabled(), by_operator=True)
        return await self._finish(opening, _ended_by)

    async def sign_out(self, identity: Identity) -> ToClose:
        """End the presented session.

        For a JWT, end every one of its device up to now; without a device, end it alone.
        """
        return await self._finish_ending(self._sign_out(identity))

    async def revoke_token(self, session: int | str) -> ToClose:
        """End the session of this id or token; raises Problem 404 `session_not_found`."""
        return await self._finish_ending(self._revoke_token(session))

    async def list_sessions(self, user_id: int) -> list[SessionRecord]:
        """Return the sessions of the user that hold, by id; of very many the newest."""
        async with self._database.lookup() as connection:
            now = milliseconds(self._clock.trusted())
            sessions = await sessions_of(connection, user_id, now)
        idle_since = now - milliseconds(self._settings.session_idle_days * DAY_SECONDS)
        return [session for session in sessions if self._last_used(session) > idle_since]

    async def change_password(
        self, identity: Identity, old: str, new: str, address: str = "unknown"
    ) -> ToClose:
        """Replace the user's password and end every session but the one that asks.

        `address` is where the request is from, for the log.

        Raises Problem 400 `wrong_password` and what `set_password` raises, 429 `too_many_attempts`
        and 503 `busy`. A wrong old password is no 401, which clients take for a lost session.
        """
        user = await self.get_user(identity.user_id)
        if user.handle is None:
            raise no_password()
        check_new_password(new, self._settings.password_min_length)
        try:
            # Strangers who guess elsewhere have no part in this limit, nor it in theirs.
            own = Limit(("session", identity.user_id, identity.session_id, identity.device_id))
            source = Source(address, address, user.handle)
            user = await self._authenticate(_account_key(user.handle), old, (own,), source)
        except Problem as problem:
            if problem.code != "invalid_credentials":
                raise
            raise Problem(400, "wrong_password", "The old password is wrong.") from None
        password_hash = await self._passwords.hash(new)
        return await self._finish_ending(self._change_password(identity, user, password_hash))

    async def _limits(self, key: str, device_uuid: str, networks: Sequence[str]) -> Sequence[Limit]:
        """Return the limits that a try counts for.

        Those of the account and of where it comes from, unless they are used up: strangers must
        not lock the owner out. Then a device of the user, or an address from which the account was
        signed in to, has a limit of its own.
        """
        common = (
            Limit(("account", key)),
            *(Limit(("network", one), 4**power) for power, one in enumerate(networks)),
        )
        if self._limiter.admits(common):
            return common
        known = Limit(("address", key, networks[0]))
        if (key, networks[0]) in self._succeeded and self._limiter.admits((known,)):
            return (known,)
        known = Limit(("device", key, device_uuid))
        if self._limiter.admits((known,)) and await self._is_device_of(key, device_uuid):
            return (known,)
        return common

    async def _is_device_of(self, key: str, device_uuid: str) -> bool:
        async with self._database.read() as connection:
            user = await user_by_handle_key(connection, key)
            if user is None:
                return False
            return await live_device_by_uuid(connection, user.id, device_uuid) is not None

    async def _authenticate(
        self, key: str, password: str, limits: Sequence[Limit], source: Source
    ) -> User:
        """Return the user with these credentials, at the same cost whichever of them is wrong."""
        user: User | None = None
        try:
            async with self._limiter.attempt(limits) as attempt:
                async with self._database.lookup() as connection:
                    user = await user_by_handle_key(connection, key)
                password_hash = user.password_hash if user is not None and user.active else None
                verified = await self._passwords.verify(password_hash, password)
                if user is None or not verified:
                    attempt.failed = True
                    raise _invalid_credentials()
        except Problem as problem:
            tell(problem, user, source)
            raise
        return user

    async def _open(
        self,
        user: User,
        info: DeviceInfo | None,
        label: str | None,
        refusal: Problem,
        *,
        by_operator: bool,
    ) -> SignedIn:
        """Return a new session; raises `refusal` if the user has changed since it was verified."""
        token = new_token()
        enrolled: Enrolled | None = None
        async with self._database.write() as connection:
            if not _unchanged(user, await user_by_id(connection, user.id)):
                raise refusal
            if info is not None:
                enrolled = await self._sessions.enrolment.enrol(
                    connection, user.id, info, self._now(), by_operator=by_operator
                )
            device = enrolled.device if enrolled is not None else None
            session = await self._add_session(connection, user, device, token, label)
            limit = self._sessions.session_limit
            displaced = await limit.enforce(
                connection, user.id, but=(session.id,), handle=user.name
            )
        pruned = enrolled.pruned if enrolled is not None else ()
        if device is not None:
            self._sessions.owners.add(device.id, user.id)
        if enrolled is not None and enrolled.changed:
            self._sessions.on_devices_changed(user.id)
        ended = self._end([*pruned, *displaced])
        return SignedIn(token, session.id, user, device, ended)

    async def _add_session(
        self,
        connection: AsyncConnection,
        user: User,
        device: Device | None,
        token: str,
        label: str | None,
    ) -> SessionRecord:
        now = self._now()
        return await add_session(
            connection,
            user_id=user.id,
            device_id=device.id if device is not None else None,
            token_hash=hash_token(token),
            now=now,
            expires_at=now + milliseconds(self._settings.session_max_days * DAY_SECONDS),
            label=clean_name(label),
        )

    async def _change_password(self, identity: Identity, user: User, new_hash: str) -> ToClose:
        async with self._database.write() as connection:
            # Here no other write can come between: the old password, which was verified a moment
            # ago, must still be the user's, and the session must still hold.
            if not _unchanged(user, await user_by_id(connection, user.id)):
                raise no_valid_session()
            if not self._sessions.holds(identity):
                raise no_valid_session()
            ending = await replace_password(
                connection,
                user.id,
                new_hash,
                not_before=self._sessions.not_before(user.id),
                kept_session_id=identity.session_id,
            )
        return self._end([ending])

    async def _sign_out(self, identity: Identity) -> ToClose:
        user_id, session_id, device_id = identity.user_id, identity.session_id, identity.device_id
        if session_id is not None:
            async with self._database.write() as connection:
                await end_session(connection, session_id)
            # Also if the row was gone already: memory may not know that yet.
            ended = SessionEnding(user_id=user_id, session_id=session_id)
            return self._end([ended], SIGNED_OUT)
        if device_id is None:
            return await self._end_jwt(identity)
        async with self._database.write() as connection:
            not_before = self._sessions.not_before_of(user_id, [device_id])
            ending = await end_device_jwts(
                connection, user_id=user_id, device_id=device_id, not_before=not_before[device_id]
            )
        return self._end([ending], SIGNED_OUT)

    async def _end_jwt(self, identity: Identity) -> ToClose:
        if identity.jwt_hash is None or identity.expires_at is None:
            return []
        async with self._database.write() as connection:
            ending = await end_jwt(
                connection,
                user_id=identity.user_id,
                jwt_hash=identity.jwt_hash,
                # Rounded up: the token must not outlive its row.
                expires_at=milliseconds(identity.expires_at) + 1,
            )
        return self._end([ending], SIGNED_OUT)

    async def _revoke_token(self, session: int | str) -> ToClose:
        async with self._database.write() as connection:
            if isinstance(session, int):
                ending = await end_session(connection, session)
            else:
                ending = await end_session_of_token(connection, hash_token(session))
        if ending is None:
            raise Problem(404, "session_not_found", "There is no such session.")
        return self._end([ending])

    def _last_used(self, session: SessionRecord) -> int:
        return max(session.last_used, self._sessions.session_uses.last(session.id))


def _account_key(handle: str) -> str:
    """Return the key of the account; for what is no handle the empty one, which no user has."""
    try:
        return handle_key(clean_handle(handle))
    except Problem:
        return ""


def _unchanged(verified: User, current: User | None) -> bool:
    """Return whether a user may still act on a password that was verified before."""
    return (
        current is not None and current.active and current.password_hash == verified.password_hash
    )


def _ended_by(signed_in: SignedIn) -> ToClose:
    return signed_in.ended


def _invalid_credentials() -> Problem:
    return Problem(401, "invalid_credentials", "The handle or the password is wrong.")


def _user_disabled() -> Problem:
    return Problem(409, "user_disabled", "The user is disabled.")
