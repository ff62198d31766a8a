"""Commands on API keys."""

from typing import Any

import pytest

from app.base.errors import Problem
from app.control import api_keys
from app.control.actions.table import act, action_named
from app.control.api_keys import IssuedKey, NewKey, OneKey, WhichKeys
from app.control.operations import Operations


async def add(operations: Operations, name: str = "shop", **more: Any) -> IssuedKey:
    return await act(operations, api_keys.ADD, NewKey(name=name, scopes=["send"], **more))


async def refused(operations: Operations, name: str, arguments: object) -> str:
    with pytest.raises(Problem) as caught:
        await action_named(name).run_json(operations, arguments)
    return caught.value.code


async def test_a_new_key_is_shown_once_and_works(operations: Operations) -> None:
    issued = await add(operations, prefixes=["note", "note"])
    assert issued.key not in repr(issued)
    assert (issued.scopes, issued.prefixes) == (["send"], ["note"])
    assert (await operations.api_keys.resolve(issued.key)).id == issued.id
    [listed] = (await act(operations, api_keys.LIST, WhichKeys())).rows
    assert issued.key not in repr(listed)
    assert listed.last_used is not None


async def test_a_revoked_key_is_refused_at_once_and_listed_only_when_asked_for(
    operations: Operations,
) -> None:
    issued = await add(operations)
    await operations.api_keys.resolve(issued.key)
    revoked = await act(operations, api_keys.REVOKE, OneKey(key_id=issued.id))
    assert revoked.revoked_at is not None
    with pytest.raises(Problem):
        await operations.api_keys.resolve(issued.key)
    assert (await act(operations, api_keys.LIST, WhichKeys())).rows == []
    [listed] = (await act(operations, api_keys.LIST, WhichKeys(revoked=True))).rows
    assert listed.revoked_at == revoked.revoked_at


async def test_keys_are_listed_page_by_page_and_revoked_ones_fill_no_page(
    operations: Operations,
) -> None:
    first, revoked, second = [await add(operations, name) for name in ("shop", "old", "mail")]
    await act(operations, api_keys.REVOKE, OneKey(key_id=revoked.id))
    page = await act(operations, api_keys.LIST, WhichKeys(limit=1))
    assert ([key.id for key in page.rows], page.next) == ([first.id], first.id)
    page = await act(operations, api_keys.LIST, WhichKeys(after=first.id, limit=1))
    assert ([key.id for key in page.rows], page.next) == ([second.id], None)


async def test_an_unknown_or_revoked_key_cannot_be_revoked(operations: Operations) -> None:
    issued = await add(operations)
    await act(operations, api_keys.REVOKE, OneKey(key_id=issued.id))
    for number in (issued.id, 99):
        assert await refused(operations, "keys.revoke", {"key_id": number}) == "key_not_found"


@pytest.mark.parametrize(
    "arguments",
    [
        {"name": "shop", "scopes": []},
        {"name": "shop", "scopes": ["fly"]},
        {"name": "shop"},
        {"name": " ", "scopes": ["send"]},
        {"name": "shop", "scopes": ["send"], "prefixes": ["note.text"]},
        {"name": "shop", "scopes": ["send"], "prefixes": ["Note"]},
        {"name": "shop", "scopes": ["send"], "prefixes": [""]},
        {"name": "shop", "scopes": ["send"], "prefixes": ["note\n"]},
    ],
)
async def test_a_key_without_a_sense_is_not_made(operations: Operations, arguments: Any) -> None:
    assert await refused(operations, "keys.add", arguments) == "invalid_arguments"
    assert (await act(operations, api_keys.LIST, WhichKeys(revoked=True))).rows == []
