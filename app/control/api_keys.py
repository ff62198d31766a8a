"""Commands on API keys."""

from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from app.auth.names import clean_name
from app.base.errors import Problem
from app.control.operations import Arguments, Command, Id, Operations, Result
from app.storage.api_keys import ApiKey

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


class WhichKeys(Arguments):
    """Which keys to list: those that are valid, or the revoked ones too."""

    revoked: bool = False


class OneKey(Arguments):
    """The number of a key."""

    key_id: Id


def _view(key: ApiKey) -> KeyView:
    return KeyView(
        id=key.id,
        name=key.name,
        scopes=list(key.scopes),
        prefixes=list(key.prefixes),
        created_at=key.created_at,
        last_used=key.last_used,
        revoked_at=key.revoked_at,
    )


async def _add(operations: Operations, arguments: NewKey) -> IssuedKey:
    name = clean_name(arguments.name)
    if name is None:
        raise Problem(400, "invalid_arguments", "A key needs a name, by which people know it.")
    scopes, prefixes = _once(arguments.scopes), _once(arguments.prefixes)
    made = await operations.api_keys.add(name, scopes, prefixes)
    return IssuedKey(key=made.key, id=made.record.id, name=name, scopes=scopes, prefixes=prefixes)


async def _list(operations: Operations, arguments: WhichKeys) -> list[KeyView]:
    found = await operations.api_keys.all()
    return [_view(key) for key in found if arguments.revoked or key.revoked_at is None]


async def _revoke(operations: Operations, arguments: OneKey) -> KeyView:
    key = await operations.api_keys.revoke(arguments.key_id)
    if key is None:
        raise Problem(404, "key_not_found", "There is no such key.")
    return _view(key)


def _once(words: list[str] | list[Scope]) -> list[str]:
    return list(dict.fromkeys(words))


ADD = Command("keys.add", NewKey, IssuedKey, _add)
LIST = Command("keys.list", WhichKeys, list[KeyView], _list)
REVOKE = Command("keys.revoke", OneKey, KeyView, _revoke)
