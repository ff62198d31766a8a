"""Who owns a data folder."""

import os
import stat
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from app.base.errors import DataDirBusy
from app.storage.lock import LOCK_NAME, DataDirLock


def test_a_held_folder_is_busy_and_the_sentence_names_the_holder(tmp_path: Path) -> None:
    with DataDirLock(tmp_path), pytest.raises(DataDirBusy, match=rf"pid {os.getpid()}\)"):
        DataDirLock(tmp_path).acquire()


def test_a_released_folder_can_be_taken(tmp_path: Path) -> None:
    with DataDirLock(tmp_path):
        pass
    with DataDirLock(tmp_path):
        assert (tmp_path / LOCK_NAME).read_text() == f"{os.getpid()}\n"


def test_the_folder_is_made_for_its_owner_only(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "data"
    with DataDirLock(folder):
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        assert stat.S_IMODE((folder / LOCK_NAME).stat().st_mode) == 0o600


@pytest.mark.process
def test_a_killed_holder_leaves_the_folder_free(tmp_path: Path) -> None:
    code = """
        import os, pathlib, signal, sys
        from app.storage.lock import DataDirLock
        DataDirLock(pathlib.Path(sys.argv[1])).acquire()
        os.kill(os.getpid(), signal.SIGKILL)
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(code), tmp_path], check=False)
    assert (tmp_path / LOCK_NAME).exists()
    with DataDirLock(tmp_path):
        assert (tmp_path / LOCK_NAME).read_text() == f"{os.getpid()}\n"


@pytest.mark.process
async def test_waiting_ends_when_the_holder_lets_go(tmp_path: Path) -> None:
    code = """
        import pathlib, sys
        from app.storage.lock import DataDirLock
        with DataDirLock(pathlib.Path(sys.argv[1])):
            print("held", flush=True)
            sys.stdin.readline()
    """
    holder = subprocess.Popen(  # noqa: ASYNC220 - a holder, not work to wait for
        [sys.executable, "-c", textwrap.dedent(code), tmp_path],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    lock = DataDirLock(tmp_path)
    with pytest.raises(DataDirBusy):
        await lock.acquire_within(0)
    holder.communicate("go\n")
    await lock.acquire_within(30)
    lock.release()
