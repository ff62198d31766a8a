"""Writes on users."""

from collections.abc import Sequence

from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from app.auth.names import clean_handle, handle_key
from app.auth.passwords import Passwords, check_new_password
from app.auth.sessions import Ended
from app.auth.writes import Writes, require_user, user_not_found
from app.base.errors import Problem
from app.storage.endings import UserEnding, delete_user, disable_user, replace_password
from app.storage.users import (
    ADMIN,
    User,
    add_local_user,
    all_users,
    set_user_enabled,
    set_user_roles,
    user_by_handle_key,
    user_by_id,
)


class UserWrites(Writes):
    """Users are added, changed, disabled and deleted."""

    _passwords: Passwords

    async def add_user(self, handle: str, password: str, roles: Sequence[str] = ()) -> User:
        """Return a new user who can sign in.

        Raises Problem 400 `invalid_handle`, `password_too_short`, `password_too_long`, 409
        `handle_taken` and 503 `busy`.
        """
        shown = clean_handle(handle)
        check_new_password(password, self._settings.password_min_length)
        password_hash = await self._passwords.hash(password)
        try:
            async with self._database.write() as connection:
                return await add_local_user(
                    connection,
                    handle=shown,
                    handle_key=handle_key(shown),
                    password_hash=password_hash,
                    roles=roles,
                    now=self._now(),
                )
        except IntegrityError:
            raise Problem(409, "handle_taken", "Another user has this handle.") from None

    async def list_users(self) -> list[User]:
        """Return all users but the deleted ones, by id."""
        async with self._database.lookup() as connection:
            return await all_users(connection)

    async def find_user(self, handle: str) -> User:
        """Return the user with this handle; raises Problem 404 `user_not_found`."""
        try:
            key = handle_key(clean_handle(handle))
        except Problem:
            raise user_not_found() from None
        async with self._database.lookup() as connection:
            user = await user_by_handle_key(connection, key)
        if user is None:
            raise user_not_found()
        return user

    async def get_user(self, user_id: int) -> User:
        """Return the user; raises Problem 404 `user_not_found`."""
        async with self._database.lookup() as connection:
            return await require_user(connection, user_id)

    async def set_password(
        self, user_id: int, new_password: str, *, keep_session_id: int | None = None
    ) -> Ended:
        """The password is new and every session of the user but the kept one is over.

        Raises Problem 400 `password_too_short`, `password_too_long`, `no_password` (a user from
        outside), 404 `user_not_found` and 503 `busy`.
        """
        check_new_password(new_password, self._settings.password_min_length)
        user = await self.get_user(user_id)
        if user.handle is None:
            raise no_password()
        password_hash = await self._passwords.hash(new_password)
        return await self._end(self._set_password(user_id, password_hash, keep_session_id))

    async def disable_user(self, user_id: int) -> Ended:
        """The user may not act, and every session is over; raises Problem 404 `user_not_found`."""
        return await self._end(self._disable(user_id))

    async def enable_user(self, user_id: int) -> None:
        """The user may sign in again; raises Problem 404 `user_not_found`."""
        async with self._database.write() as connection:
            await require_user(connection, user_id)
            await set_user_enabled(connection, user_id)
        self._sessions.revive()

    async def change_user(
        self, user_id: int, *, disabled: bool | None, admin: bool | None, by: int | None
    ) -> tuple[User, Ended]:
        """The user is as asked, in one step; None leaves as it is. Return the user too.

        `by` is the administrator who asks, None for others. Raises Problem 404 `user_not_found`,
        and 403 `forbidden` when `by` is no administrator any more.
        """
        work = self._change(user_id, disabled, admin, by)
        return await self._finish(work, lambda outcome: outcome[1])

    async def delete_user(self, user_id: int) -> Ended:
        """User, devices and sessions are gone, the handle is free; raises 404 `user_not_found`."""
        return await self._end(self._delete(user_id))

    async def _set_password(self, user_id: int, password_hash: str, keep: int | None) -> Ended:
        async with self._database.write() as connection:
            await require_user(connection, user_id)
            ending = await replace_password(
                connection,
                user_id,
                password_hash,
                not_before=self._sessions.not_before(user_id),
                kept_session_id=keep,
            )
        return self._ended([ending])

    async def _change(
        self, user_id: int, disabled: bool | None, admin: bool | None, by: int | None
    ) -> tuple[User, Ended]:
        endings = []
        async with self._database.write() as connection:
            await _require_admin(connection, by)
            user = await require_user(connection, user_id)
            roles = _roles(user, admin)
            if roles != user.roles:
                await set_user_roles(connection, user_id, roles)
            if disabled and user.active:
                endings.append(await self._disable_row(connection, user_id))
            elif disabled is False and not user.active:
                await set_user_enabled(connection, user_id)
            changed = await require_user(connection, user_id)
        self._sessions.set_roles(user_id, roles)
        if changed.active and not user.active:
            self._sessions.revive()
        return changed, self._ended(endings)

    async def _disable(self, user_id: int) -> Ended:
        async with self._database.write() as connection:
            await require_user(connection, user_id)
            ending = await self._disable_row(connection, user_id)
        return self._ended([ending])

    async def _disable_row(self, connection: AsyncConnection, user_id: int) -> UserEnding:
        not_before = self._sessions.not_before(user_id)
        return await disable_user(connection, user_id, now=self._now(), not_before=not_before)

    async def _delete(self, user_id: int) -> Ended:
        async with self._database.write() as connection:
            await require_user(connection, user_id)
            not_before = self._sessions.not_before(user_id)
            ending = await delete_user(connection, user_id, now=self._now(), not_before=not_before)
        return self._ended([ending])


def not_an_admin() -> Problem:
    """Return the refusal of what only administrators may do."""
    return Problem(403, "forbidden", "This is for administrators.")


async def _require_admin(connection: AsyncConnection, user_id: int | None) -> None:
    """Raises Problem 403 `forbidden` if this user is no administrator, by what is stored now."""
    if user_id is None:
        return
    user = await user_by_id(connection, user_id)
    if user is None or not (user.active and user.is_admin):
        raise not_an_admin()


def _roles(user: User, admin: bool | None) -> tuple[str, ...]:
    if admin is None or admin == user.is_admin:
        return user.roles
    others = tuple(role for role in user.roles if role != ADMIN)
    return (*others, ADMIN) if admin else others


def unchanged(verified: User, current: User | None) -> bool:
    """Return whether a user may still act on a password that was verified before."""
    return (
        current is not None and current.active and current.password_hash == verified.password_hash
    )


def no_password() -> Problem:
    return Problem(400, "no_password", "This user's password is kept outside of Switchboard.")
