"""A real server on a real port, and a client that keeps no cookies of its own."""

from pathlib import Path
from typing import Any

import pytest
from aiohttp import DummyCookieJar
from aiohttp.pytest_plugin import AiohttpClient

from app.application import build_application
from app.settings import Settings
from tests.databases import place_database
from tests.web.admins import Desk
from tests.web.api import Api, Start


@pytest.fixture
def start(aiohttp_client: AiohttpClient, tmp_path: Path) -> Start:
    """Return a function that starts the whole server with these settings and the user `ada`."""

    async def start(**options: Any) -> Api:
        place_database(tmp_path)
        # Compressing the built app takes longer than all else that a start does.
        app = build_application(Settings(data_dir=tmp_path, **{"web_app": "off", **options}))
        api = Api(await aiohttp_client(app, cookie_jar=DummyCookieJar()))
        await api.add_user("ada", roles=("admin",))
        return api

    return start


@pytest.fixture
async def api(start: Start) -> Api:
    """The server as it is by default, but for the web app."""
    return await start()


@pytest.fixture
async def desk(api: Api) -> Desk:
    """Ada, who is an administrator."""
    return Desk(api, await api.sign_in())
