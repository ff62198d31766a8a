"""The control socket: both ends."""

import os
import socket
import stat
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from app.base.errors import NoServer, Problem
from app.control import users
from app.control.address import SOCKET_NAME
from app.control.calling import call_server
from app.control.command import PageArguments
from app.control.operations import Operations
from app.control.server import serve_control
from app.control.users import NewUser

ADA = NewUser(handle="ada", password="correct horse")


@pytest.fixture
async def path(operations: Operations) -> AsyncIterator[Path]:
    """Serve the control socket and return its path."""
    path = operations.settings.data_dir / SOCKET_NAME
    async with serve_control(path, operations):
        yield path


async def post(path: Path, body: bytes, route: str = "call") -> tuple[int, Any]:
    async with (
        aiohttp.ClientSession(connector=aiohttp.UnixConnector(str(path))) as session,
        session.post(f"http://control/{route}", data=body) as response,
    ):
        return response.status, await response.json(content_type=None)


async def test_a_result_arrives_as_it_was(path: Path) -> None:
    added = await call_server(path, users.ADD, ADA)
    assert (await call_server(path, users.LIST, PageArguments())).rows == [added]


async def test_a_problem_keeps_its_code_its_status_and_its_sentence(path: Path) -> None:
    await call_server(path, users.ADD, ADA)
    with pytest.raises(Problem) as caught:
        await call_server(path, users.ADD, ADA)
    problem = caught.value
    assert (problem.status, problem.code) == (409, "handle_taken")
    assert problem.detail == "Another user has this handle."


def test_only_the_owner_may_use_the_socket(path: Path) -> None:
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


async def test_the_umask_is_as_before(operations: Operations) -> None:
    before = os.umask(0o027)
    try:
        async with serve_control(operations.settings.data_dir / SOCKET_NAME, operations):
            assert os.umask(0o027) == 0o027
    finally:
        os.umask(before)


async def test_a_dead_servers_socket_is_replaced(operations: Operations) -> None:
    path = operations.settings.data_dir / SOCKET_NAME
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    with pytest.raises(NoServer):
        await call_server(path, users.LIST, PageArguments())
    async with serve_control(path, operations):
        assert (await call_server(path, users.LIST, PageArguments())).rows == []


async def test_the_socket_is_gone_after_the_server(operations: Operations) -> None:
    path = operations.settings.data_dir / SOCKET_NAME
    async with serve_control(path, operations):
        pass
    assert not path.exists()
    with pytest.raises(NoServer):
        await call_server(path, users.LIST, PageArguments())


async def test_a_path_too_long_for_a_socket_address_works(
    operations: Operations, tmp_path: Path
) -> None:
    folder = tmp_path / ("d" * 100) / ("e" * 100)
    folder.mkdir(parents=True)
    path = folder / SOCKET_NAME
    async with serve_control(path, operations):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert (await call_server(path, users.LIST, PageArguments())).rows == []


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"{", "parse_error"),
        (b"[]", "invalid_arguments"),
        (b"{}", "invalid_arguments"),
        (b'{"command": 1}', "invalid_arguments"),
        (b'{"command": "users.list", "arguments": []}', "invalid_arguments"),
        (b'{"command": "users.list", "arguments": {"more": 1}}', "invalid_arguments"),
        (b'{"command": "users.fly"}', "unknown_command"),
    ],
)
async def test_a_malformed_call_is_refused_with_a_code(path: Path, body: bytes, code: str) -> None:
    status, answer = await post(path, body)
    assert 400 <= status < 500
    assert answer["code"] == code
