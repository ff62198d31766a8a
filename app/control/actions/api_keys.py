"""What the commands on API keys do."""

from operator import attrgetter
from typing import Final

from app.auth.names import clean_name
from app.base.errors import Problem
from app.control import api_keys as commands
from app.control.actions.action import Action
from app.control.api_keys import IssuedKey, KeyView, NewKey, OneKey, Scope, WhichKeys
from app.control.command import Page
from app.control.operations import Operations
from app.storage.api_keys import ApiKey


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


async def _list(operations: Operations, arguments: WhichKeys) -> Page[KeyView]:
    limit = arguments.limit
    found = await operations.api_keys.page(
        include_revoked=arguments.revoked, after=arguments.after, limit=limit + 1
    )
    return Page[KeyView].of(found, limit, attrgetter("id"), _view)


async def _revoke(operations: Operations, arguments: OneKey) -> KeyView:
    key = await operations.api_keys.revoke(arguments.key_id)
    if key is None:
        raise Problem(404, "key_not_found", "There is no such key.")
    return _view(key)


def _once(words: list[str] | list[Scope]) -> list[str]:
    return list(dict.fromkeys(words))


ACTIONS: Final = (
    Action(commands.ADD, _add),
    Action(commands.LIST, _list),
    Action(commands.REVOKE, _revoke),
)
