"""Commands on API keys."""

from typing import Annotated, Final, Literal

from pydantic import Field, StringConstraints

from app.control.command import Arguments, Command, Id, Page, PageArguments, Result

Scope = Literal["send", "read", "admin"]
Prefix = Annotated[str, StringConstraints(pattern=r"^[a-z0-9_]+$", max_length=128)]


class KeyView(Result):
    """An API key as an operator sees one; times are milliseconds since 1970 (UTC)."""

    id: int
    name: str
    scopes: list[str]
    prefixes: list[str]
    created_at: int
    last_used: int | None
    revoked_at: int | None


class IssuedKey(Result):
    """A new key, shown this once: the database keeps only its hash."""

    key: str = Field(repr=False)
    id: int
    name: str
    scopes: list[str]
    prefixes: list[str]


class NewKey(Arguments):
    """What the key is for; without prefixes it may send every type."""

    name: str
    scopes: list[Scope] = Field(min_length=1)
    prefixes: list[Prefix] = Field(default_factory=list)


class WhichKeys(PageArguments):
    """Which keys to list: those that are valid, or the revoked ones too."""

    revoked: bool = False


class OneKey(Arguments):
    """The number of a key."""

    key_id: Id


ADD: Final = Command[NewKey, IssuedKey]("keys.add", NewKey, IssuedKey)
LIST: Final = Command[WhichKeys, Page[KeyView]]("keys.list", WhichKeys, Page[KeyView])
REVOKE: Final = Command[OneKey, KeyView]("keys.revoke", OneKey, KeyView)
