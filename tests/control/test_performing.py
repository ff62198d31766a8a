"""Commands reach the server that owns the data folder, else the folder itself."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from app.base.errors import DataDirBusy, NoServer, Problem
from app.control import performing, send, users
from app.control.address import SOCKET_NAME
from app.control.command import PageArguments
from app.control.operations import Operations
from app.control.performing import perform
from app.control.send import NewMessage
from app.control.server import serve_control
from app.control.users import NewUser
from app.settings import Settings
from app.storage.database import DATABASE_NAME
from app.storage.lock import DataDirLock

ADA = NewUser(handle="ada", password="correct horse")


@pytest.fixture
def held(settings: Settings) -> Iterator[DataDirLock]:
    """Hold the folder as a server does."""
    with DataDirLock(settings.data_dir) as lock:
        yield lock


@pytest.fixture
def no_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(performing, "WAIT_SECONDS", 0.0)


async def test_without_a_server_the_folder_is_changed_here_and_left_unlocked(
    settings: Settings,
) -> None:
    added = await perform(settings, users.ADD, ADA)
    assert (await perform(settings, users.LIST, PageArguments())).rows == [added]
    with DataDirLock(settings.data_dir):
        pass


async def test_an_error_leaves_the_folder_unlocked(settings: Settings) -> None:
    await perform(settings, users.ADD, ADA)
    with pytest.raises(Problem):
        await perform(settings, users.ADD, ADA)
    with DataDirLock(settings.data_dir):
        pass


async def test_while_a_server_holds_the_folder_it_is_the_one_that_acts(
    settings: Settings, operations: Operations, held: DataDirLock
) -> None:
    async with serve_control(settings.data_dir / SOCKET_NAME, operations):
        added = await perform(settings, users.ADD, ADA)
    assert (await operations.accounts.find_user("ada")).id == added.id
    assert not (settings.data_dir / DATABASE_NAME).exists()


async def test_a_folder_that_stays_locked_is_busy(
    settings: Settings, held: DataDirLock, no_patience: None
) -> None:
    with pytest.raises(DataDirBusy, match=r"pid \d+"):
        await perform(settings, users.ADD, ADA)


async def test_a_folder_is_not_made_by_looking_for_it(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path / "typo")
    with pytest.raises(NoServer, match="no database"):
        await perform(settings, users.LIST, PageArguments())
    with pytest.raises(NoServer, match="needs a running server"):
        await perform(settings, send.SEND, NewMessage(where="everyone", type="note.x"))
    assert not settings.data_dir.exists()


async def test_sending_without_a_server_needs_one(settings: Settings) -> None:
    await perform(settings, users.ADD, ADA)
    with pytest.raises(NoServer, match="needs a running server"):
        await perform(settings, send.SEND, NewMessage(where="everyone", type="note.x"))
