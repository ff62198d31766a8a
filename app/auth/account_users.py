"""Writes on users."""

from collections.abc import Sequence

from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from app.auth.account_writes import AccountWrites, require_admin, require_user, user_not_found
from app.auth.endings import ToClose
from app.auth.names import clean_handle, handle_key
from app.auth.passwords import check_new_password
from app.base.errors import Problem
from app.storage.endings import UserEnding, delete_user, disable_user, replace_password
from app.storage.users import (
    ADMIN,
    User,
    add_local_user,
    live_users,
    set_user_enabled,
    set_user_roles,
    user_by_handle_key,
    user_by_subject,
)


class UserWrites(AccountWrites):
    """Adds, changes, disables and deletes users."""

    async def add_user(self, handle: str, password: str, roles: Sequence[str] = ()) -> User:
        """Add a user who can sign in.

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

    async def list_users(self, *, after: int = 0, limit: int | None = None) -> list[User]:
        """Return the users with ids above `after` but the deleted ones, by id.

        Without a `limit` that may be very many, which hold up the event loop.
        """
        async with self._database.lookup() as connection:
            return await live_users(connection, after=after, limit=limit)

    async def has_users(self) -> bool:
        """Tell whether there is a user who is not deleted."""
        return bool(await self.list_users(limit=1))

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

    async def find_outsider(self, iss: str, sub: str) -> User:
        """Return the user from outside; raises Problem 404 `user_not_found`."""
        async with self._database.lookup() as connection:
            user = await user_by_subject(connection, iss, sub)
        if user is None:
            raise user_not_found()
        return user

    async def get_user(self, user_id: int) -> User:
        """Return the user; raises Problem 404 `user_not_found`."""
        async with self._database.lookup() as connection:
            return await require_user(connection, user_id)

    async def set_password(self, user_id: int, new_password: str) -> ToClose:
        """Replace the user's password and end every session.

        Raises Problem 400 `password_too_short`, `password_too_long`, `no_password` (a user from
        outside), 404 `user_not_found` and 503 `busy`.
        """
        check_new_password(new_password, self._settings.password_min_length)
        user = await self.get_user(user_id)
        if user.handle is None:
            raise no_password()
        password_hash = await self._passwords.hash(new_password)
        return await self._finish_ending(self._set_password(user_id, password_hash))

    async def disable_user(self, user_id: int) -> ToClose:
        """Disable the user and end every session; raises Problem 404 `user_not_found`."""
        return await self._finish_ending(self._disable(user_id))

    async def enable_user(self, user_id: int) -> None:
        """Let the user sign in again; raises Problem 404 `user_not_found`."""
        async with self._database.write() as connection:
            await require_user(connection, user_id)
            await set_user_enabled(connection, user_id)
        self._sessions.forget_dead()

    async def change_user(
        self, user_id: int, *, disabled: bool | None, admin: bool | None, by: int | None
    ) -> tuple[User, ToClose]:
        """Disable or enable the user and give or take the role, in one step; return the user too.

        None leaves things as they are. `by` is the administrator who asks, None for others. Raises
        Problem 404 `user_not_found`, and 403 `forbidden` when `by` is no administrator any more.
        """
        work = self._change(user_id, disabled, admin, by)
        return await self._finish(work, lambda outcome: outcome[1])

    async def delete_user(self, user_id: int) -> ToClose:
        """Delete the user, every device and session; raises Problem 404 `user_not_found`.

        Another user may take the handle then.
        """
        return await self._finish_ending(self._delete(user_id))

    async def _set_password(self, user_id: int, password_hash: str) -> ToClose:
        async with self._database.write() as connection:
            await require_user(connection, user_id)
            ending = await replace_password(
                connection,
                user_id,
                password_hash,
                not_before=self._sessions.not_before(user_id),
            )
        return self._end([ending])

    async def _change(
        self, user_id: int, disabled: bool | None, admin: bool | None, by: int | None
    ) -> tuple[User, ToClose]:
        endings = []
        async with self._database.write() as connection:
            if by is not None:
                await require_admin(connection, by)
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
            self._sessions.forget_dead()
        return changed, self._end(endings)

    async def _disable(self, user_id: int) -> ToClose:
        async with self._database.write() as connection:
            await require_user(connection, user_id)
            ending = await self._disable_row(connection, user_id)
        return self._end([ending])

    async def _disable_row(self, connection: AsyncConnection, user_id: int) -> UserEnding:
        not_before = self._sessions.not_before(user_id)
        return await disable_user(connection, user_id, now=self._now(), not_before=not_before)

    async def _delete(self, user_id: int) -> ToClose:
        async with self._database.write() as connection:
            await require_user(connection, user_id)
            not_before = self._sessions.not_before(user_id)
            ending = await delete_user(connection, user_id, now=self._now(), not_before=not_before)
        return self._end([ending])


def no_password() -> Problem:
    """Return the refusal to change the password of a user from outside."""
    return Problem(400, "no_password", "This user's password is kept outside of Switchboard.")


def _roles(user: User, admin: bool | None) -> tuple[str, ...]:
    if admin is None or admin == user.is_admin:
        return user.roles
    others = tuple(role for role in user.roles if role != ADMIN)
    return (*others, ADMIN) if admin else others
