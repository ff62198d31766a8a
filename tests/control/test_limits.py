"""What operators see of who is at a limit."""

from dataclasses import replace

import pytest

from app.base.errors import NoServer, Problem
from app.control import limits, users
from app.control.actions.table import act
from app.control.limits import MetLimit, WhoseLimits
from app.control.operations import Operations
from app.control.users import NewUser, OneUser
from app.node.limited import Limited


async def add(operations: Operations, handle: str) -> int:
    made = NewUser(handle=handle, password="correct horse")
    return (await act(operations, users.ADD, made)).id


def limited(operations: Operations) -> Limited:
    return operations.running_node().allowances.limited


async def met(operations: Operations, user: str | None = None) -> list[MetLimit]:
    return await act(operations, limits.LIST, WhoseLimits(user=user))


async def test_whoever_has_met_a_limit_is_listed_the_newest_first(operations: Operations) -> None:
    ada, bob = await add(operations, "ada"), await add(operations, "bob")
    assert await met(operations) == []
    for user_id, limit in ((bob, "bytes"), (ada, "connection"), (bob, "bytes")):
        limited(operations).note(user_id, limit)
    newest, other = await met(operations)
    assert (newest.user_id, newest.user_handle, newest.limit, newest.count) == (
        *(bob, "bob", "bytes", 2),
    )
    assert 1_600_000_000_000 < newest.began_at <= newest.last_at
    assert (other.user_id, other.user_handle, other.limit, other.count) == (
        *(ada, "ada", "connection", 1),
    )


async def test_those_of_one_user_are_listed_alone(operations: Operations) -> None:
    ada, bob = await add(operations, "ada"), await add(operations, "bob")
    for user_id in (ada, bob):
        limited(operations).note(user_id, "writes")
    assert [one.user_id for one in await met(operations, "ADA")] == [ada]
    assert [one.user_id for one in await met(operations, f"id={bob}")] == [bob]


async def test_an_unknown_user_is_not_found_rather_than_at_no_limit(operations: Operations) -> None:
    with pytest.raises(Problem) as caught:
        await met(operations, "nobody")
    assert caught.value.code == "user_not_found"


async def test_a_user_who_is_deleted_meanwhile_is_listed_by_number(operations: Operations) -> None:
    bob = await add(operations, "bob")
    limited(operations).note(bob, "upgrades")
    await act(operations, users.DELETE, OneUser(user="bob"))
    [found] = await met(operations)
    assert (found.user_id, found.user_handle, found.subject) == (bob, None, None)


async def test_without_a_server_nobody_knows(operations: Operations) -> None:
    offline = replace(operations, node=None, url=None)
    with pytest.raises(NoServer):
        await act(offline, limits.LIST, WhoseLimits())
