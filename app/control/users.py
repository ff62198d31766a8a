"""Commands on users."""

from typing import Final, Literal

from pydantic import Field

from app.control.command import Arguments, Command, Offline, Page, PageArguments, Result


class UserView(Result):
    """A user as an operator sees one; times are milliseconds since 1970 (UTC)."""

    id: int
    handle: str | None
    issuer: str | None = None
    subject: str | None = None
    roles: list[str]
    state: Literal["active", "disabled"]
    created_at: int
    connected_devices: int = 0


class SignedOut(Result):
    """A user whose sessions a change has ended, and how many live connections that closed."""

    user: UserView
    connections_closed: int


class NewUser(Arguments):
    """The user to add."""

    handle: str
    password: str = Field(repr=False)
    admin: bool = False


class NewPassword(Arguments):
    """A user and their new password."""

    user: str
    password: str = Field(repr=False)


class OneUser(Arguments):
    """A user: a handle, or `id=NUMBER`."""

    user: str


ADD: Final = Command[NewUser, UserView]("users.add", NewUser, UserView, offline=Offline.CREATES)
LIST: Final = Command[PageArguments, Page[UserView]]("users.list", PageArguments, Page[UserView])
SET_PASSWORD: Final = Command[NewPassword, SignedOut]("users.passwd", NewPassword, SignedOut)
DISABLE: Final = Command[OneUser, SignedOut]("users.disable", OneUser, SignedOut)
ENABLE: Final = Command[OneUser, UserView]("users.enable", OneUser, UserView)
DELETE: Final = Command[OneUser, SignedOut]("users.delete", OneUser, SignedOut)
