"""The houses of tests/auth: a publisher asks them who is meant."""

import pytest
from aiohttp.pytest_plugin import AiohttpClient

from tests.auth.conftest import build, house
from tests.requests.door import KEY, Client, Door

__all__ = ["build", "client", "door", "house"]


@pytest.fixture
def door(aiohttp_client: AiohttpClient) -> Door:
    return Door(aiohttp_client)


@pytest.fixture
async def client(door: Door) -> Client:
    return await door.open(KEY, secure=lambda _request: False)
