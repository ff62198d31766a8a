"""Commands: what each does, and what it closes."""

from dataclasses import replace
from typing import Any

import pytest

from app.base.errors import NoServer, Problem
from app.control import devices, send, tokens, users
from app.control.actions.table import ACTIONS, act, action_named
from app.control.command import MAX_ID, PAGE_ROWS, NoArguments, PageArguments
from app.control.operations import Operations
from app.control.send import NewMessage
from app.control.status import STATUS
from app.control.tokens import IssuedToken, NewToken, OneToken, WhoseTokens
from app.control.users import NewPassword, NewUser, OneUser
from app.node.connection import Connection
from app.protocol.close import REVOKED
from tests.control.conftest import Connect

PASSWORD = "correct horse"


async def add(operations: Operations, handle: str = "ada") -> int:
    user = await act(operations, users.ADD, NewUser(handle=handle, password=PASSWORD))
    return user.id


async def issue(operations: Operations, user: str = "ada", number: int = 1) -> IssuedToken:
    return await act(
        operations,
        tokens.ISSUE,
        NewToken(user=user, device_uuid=f"device-{number:04}", device_type="web"),
    )


async def signed_in(operations: Operations, connect: Connect, number: int = 1) -> Connection:
    issued = await issue(operations, number=number)
    assert issued.device_id is not None
    return connect(issued.user_id, issued.device_id, session_id=issued.session_id)


def closed_with(connection: Connection) -> object:
    return connection.closing.close if connection.closing else None


async def refused(operations: Operations, name: str, arguments: object) -> str:
    with pytest.raises(Problem) as caught:
        await action_named(name).run_json(operations, arguments)
    return caught.value.code


async def test_an_admin_has_the_role(operations: Operations) -> None:
    added = await act(operations, users.ADD, NewUser(handle="a", password=PASSWORD, admin=True))
    assert added.roles == ["admin"]


async def test_a_user_is_named_by_handle_or_by_number(operations: Operations) -> None:
    number = await add(operations)
    assert (await operations.user("ADA")).id == number
    assert (await operations.user(f"id={number}")).id == number


@pytest.mark.parametrize(
    "name", ["bob", "id=9", "id=", "id=x", f"id={MAX_ID + 1}", "id=" + "9" * 99]
)
async def test_an_unknown_user_is_not_found(operations: Operations, name: str) -> None:
    assert await refused(operations, "users.disable", {"user": name}) == "user_not_found"


@pytest.mark.parametrize("command", [users.DISABLE, users.DELETE])
async def test_disabling_and_deleting_close_the_users_connections(
    operations: Operations, connect: Connect, command: Any
) -> None:
    await add(operations)
    first, second = [await signed_in(operations, connect, number) for number in (1, 2)]
    ending = await act(operations, command, OneUser(user="ada"))
    assert ending.connections_closed == 2
    assert closed_with(first) == closed_with(second) == REVOKED


async def test_a_new_password_closes_the_users_connections(
    operations: Operations, connect: Connect
) -> None:
    await add(operations)
    connection = await signed_in(operations, connect)
    arguments = NewPassword(user="ada", password="another horse")
    ending = await act(operations, users.SET_PASSWORD, arguments)
    assert (ending.connections_closed, closed_with(connection)) == (1, REVOKED)


async def test_a_disabled_user_is_shown_as_such_and_can_be_enabled(operations: Operations) -> None:
    await add(operations)
    await act(operations, users.DISABLE, OneUser(user="ada"))
    [listed] = (await act(operations, users.LIST, PageArguments())).rows
    assert listed.state == "disabled"
    assert (await act(operations, users.ENABLE, OneUser(user="ada"))).state == "active"


async def test_revoking_a_device_closes_its_connections_only(
    operations: Operations, connect: Connect
) -> None:
    await add(operations)
    kept, revoked = [await signed_in(operations, connect, number) for number in (1, 2)]
    arguments = devices.OneDevice(device_id=revoked.device_id)
    assert (await act(operations, devices.REVOKE, arguments)).connections_closed == 1
    assert (closed_with(kept), closed_with(revoked)) == (None, REVOKED)


async def test_devices_are_listed_with_their_user_and_whether_they_are_online(
    operations: Operations, connect: Connect
) -> None:
    await add(operations)
    await add(operations, "bob")
    await signed_in(operations, connect)
    await issue(operations, "bob")
    listed = (await act(operations, devices.LIST, devices.WhichDevices())).rows
    assert [(one.user_handle, one.online) for one in listed] == [("ada", True), ("bob", False)]
    [hers] = (await act(operations, devices.LIST, devices.WhichDevices(user="ada"))).rows
    assert hers.user_handle == "ada"


async def test_a_removed_device_is_listed_only_when_asked_for(operations: Operations) -> None:
    await add(operations)
    issued = await issue(operations)
    await act(operations, devices.REVOKE, devices.OneDevice(device_id=issued.device_id or 0))
    assert (await act(operations, devices.LIST, devices.WhichDevices())).rows == []
    [removed] = (await act(operations, devices.LIST, devices.WhichDevices(removed=True))).rows
    assert removed.removed_at is not None


async def test_users_are_listed_page_by_page(operations: Operations) -> None:
    numbers = [await add(operations, handle) for handle in ("ada", "bob", "eve")]
    first = await act(operations, users.LIST, PageArguments(limit=2))
    assert ([user.id for user in first.rows], first.next) == (numbers[:2], numbers[1])
    last = await act(operations, users.LIST, PageArguments(after=numbers[1], limit=1))
    # A full page is the last one if nothing follows it.
    assert ([user.id for user in last.rows], last.next) == (numbers[2:], None)


async def test_devices_are_listed_page_by_page_with_the_handles_of_their_users(
    operations: Operations,
) -> None:
    for handle in ("ada", "bob"):
        await add(operations, handle)
    for number, handle in enumerate(("ada", "bob", "ada")):
        await issue(operations, handle, number)
    first = await act(operations, devices.LIST, devices.WhichDevices(limit=2))
    assert [one.user_handle for one in first.rows] == ["ada", "bob"]
    wanted = devices.WhichDevices(user="ada", after=first.rows[0].id)
    rest = await act(operations, devices.LIST, wanted)
    assert ([one.device_uuid for one in rest.rows], rest.next) == (["device-0002"], None)


@pytest.mark.parametrize("page", [{"limit": 0}, {"limit": PAGE_ROWS + 1}, {"after": -1}])
@pytest.mark.parametrize("name", ["users.list", "devices.list", "keys.list"])
async def test_a_page_has_a_bounded_size(
    operations: Operations, name: str, page: dict[str, int]
) -> None:
    assert await refused(operations, name, page) == "invalid_arguments"


async def test_a_device_is_renamed(operations: Operations) -> None:
    await add(operations)
    issued = await issue(operations)
    arguments = devices.NewName(device_id=issued.device_id or 0, name="Kitchen")
    assert (await act(operations, devices.RENAME, arguments)).device_name == "Kitchen"


async def test_a_token_is_revoked_by_its_session_or_by_itself(
    operations: Operations, connect: Connect
) -> None:
    await add(operations)
    first = await issue(operations)
    second = await issue(operations)
    connection = connect(first.user_id, first.device_id or 0, session_id=first.session_id)
    await act(operations, tokens.REVOKE, OneToken(session_id=first.session_id))
    assert closed_with(connection) == REVOKED
    await act(operations, tokens.REVOKE, OneToken(token=second.token))
    assert await act(operations, tokens.LIST, WhoseTokens(user="ada")) == []


async def test_no_repr_shows_a_secret(operations: Operations) -> None:
    await add(operations)
    issued = await issue(operations)
    assert issued.token not in repr(issued)
    assert PASSWORD not in repr(NewUser(handle="ada", password=PASSWORD))
    assert PASSWORD not in repr(NewPassword(user="ada", password=PASSWORD))
    assert issued.token not in repr(OneToken(token=issued.token))


async def test_an_argument_of_the_wrong_type_is_refused_without_its_value(
    operations: Operations,
) -> None:
    with pytest.raises(Problem) as caught:
        await action_named("users.add").run_json(
            operations, {"handle": "ada", "password": ["s3cret"]}
        )
    assert caught.value.code == "invalid_arguments"
    assert "s3cret" not in caught.value.detail


@pytest.mark.parametrize("number", [0, -1, MAX_ID + 1])
async def test_an_impossible_device_number_is_refused(operations: Operations, number: int) -> None:
    assert await refused(operations, "devices.revoke", {"device_id": number}) == "invalid_arguments"


async def test_an_unknown_command_is_refused(operations: Operations) -> None:
    assert await refused(operations, "users.fly", {}) == "unknown_command"


def test_every_command_is_found_by_its_own_name() -> None:
    assert all(action.command.name == name for name, action in ACTIONS.items())


async def delivered(operations: Operations, **where: Any) -> list[int]:
    message = NewMessage(type="note.text", payload={"text": "hi"}, **where)
    return sorted((await act(operations, send.SEND, message)).delivered)


async def test_send_reaches_exactly_those_it_is_addressed_to(
    operations: Operations, connect: Connect
) -> None:
    await add(operations)
    await add(operations, "bob")
    one, two = [(await signed_in(operations, connect, number)).device_id for number in (1, 2)]
    his = await issue(operations, "bob")
    connect(his.user_id, his.device_id or 0)
    assert await delivered(operations, where="device", device_id=one) == [one]
    assert await delivered(operations, where="others", device_id=one) == [two]
    assert await delivered(operations, where="user", user="ada") == [one, two]
    assert await delivered(operations, where="everyone") == [one, two, his.device_id]


async def test_sending_to_an_unknown_device_is_refused(operations: Operations) -> None:
    arguments = {"where": "device", "device_id": 7, "type": "note.text"}
    assert await refused(operations, "send", arguments) == "device_not_found"


@pytest.mark.parametrize(
    ("type_", "code"),
    [
        ("connected", "forbidden"),
        ("ping", "forbidden"),
        ("goaway", "forbidden"),
        ("device.send", "forbidden"),
        ("presence.state", "forbidden"),
        ("Note.Text", "invalid_message"),
        ("", "invalid_message"),
        ("a" * 129, "invalid_message"),
    ],
)
async def test_the_servers_own_types_and_malformed_ones_are_refused(
    operations: Operations, type_: str, code: str
) -> None:
    arguments = {"where": "everyone", "type": type_}
    assert await refused(operations, "send", arguments) == code


@pytest.mark.parametrize("type_", ["notification.shown", "sync", "playback.state", "anything"])
async def test_a_backend_may_send_what_a_device_may_not(
    operations: Operations, connect: Connect, type_: str
) -> None:
    await add(operations)
    connection = await signed_in(operations, connect)
    outcome = await act(operations, send.SEND, NewMessage(where="everyone", type=type_))
    assert outcome.delivered == [connection.device_id]


async def test_a_message_above_the_limit_is_refused(operations: Operations) -> None:
    limit = operations.settings.max_message_bytes
    arguments = {"where": "everyone", "type": "note.text", "payload": "x" * limit}
    assert await refused(operations, "send", arguments) == "too_large"


async def test_a_server_tells_where_it_is(operations: Operations) -> None:
    found = await act(operations, STATUS, NoArguments())
    assert (found.url, found.certificate) == (operations.url, None)


@pytest.mark.parametrize(
    ("name", "arguments"), [("send", {"where": "everyone", "type": "note.x"}), ("status", {})]
)
async def test_what_needs_a_server_says_so_without_one(
    operations: Operations, name: str, arguments: object
) -> None:
    offline = replace(operations, node=None, url=None, publisher=None)
    with pytest.raises(NoServer, match="needs a running server"):
        await action_named(name).run_json(offline, arguments)
