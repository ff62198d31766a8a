"""Houses: accounts and sessions on a real database."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.auth.house import JWT_SETTINGS, Build, House, open_house


@pytest.fixture
async def build(tmp_path: Path) -> AsyncIterator[Build]:
    """Builds a house with these settings."""
    async with AsyncExitStack() as stack:

        async def make(**options: Any) -> House:
            return await stack.enter_async_context(open_house(tmp_path, **options))

        yield make


@pytest.fixture
async def house(build: Build) -> House:
    """The house with default settings, and JWTs of `JWT_SETTINGS`."""
    return await build(**JWT_SETTINGS)
