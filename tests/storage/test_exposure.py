"""What others may do with a data folder, told by modes and owners."""

import os
from pathlib import Path

import pytest

from app.base.errors import SettingsError
from app.storage.exposure import FILES, find_exposures, refuse_exposed
from app.storage.lock import DataDirLock

ME = 10_001
"""A user who owns none of these files; root may do everything anyway."""
SOMEBODY = 10_002


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    folder.mkdir(mode=0o700)
    return folder


def told(folder: Path, user: int | None = None) -> list[str]:
    return [f"{one.severity}: {one.path.name}: {one.fault}" for one in find_exposures(folder, user)]


def test_a_folder_that_is_not_there_yet_is_nobody_elses(tmp_path: Path) -> None:
    assert find_exposures(tmp_path / "data") == []


def test_what_a_start_makes_is_nobody_elses(folder: Path) -> None:
    with DataDirLock(folder):
        assert find_exposures(folder) == []


@pytest.mark.parametrize(
    ("mode", "expected"),
    [
        (0o700, []),
        (0o750, ["noted: data: others may look into it (mode 0750)"]),
        (0o755, ["noted: data: others may look into it (mode 0755)"]),
        (0o701, ["noted: data: others may look into it (mode 0701)"]),
        (0o770, ["warned: data: its group may write to it (mode 0770)"]),
        (0o2775, ["warned: data: its group may write to it (mode 2775)"]),
        (0o777, ["refused: data: everybody on this machine may write to this folder (mode 0777)"]),
        (0o1777, ["refused: data: everybody on this machine may write to this folder (mode 1777)"]),
        (0o702, ["refused: data: everybody on this machine may write to this folder (mode 0702)"]),
    ],
    ids=lambda value: f"{value:04o}" if isinstance(value, int) else "",
)
def test_the_mode_of_the_folder_tells_who_may_write(
    folder: Path, mode: int, expected: list[str]
) -> None:
    folder.chmod(mode)
    assert told(folder) == expected


def test_a_folder_that_everybody_may_write_to_is_refused_in_one_sentence(folder: Path) -> None:
    folder.chmod(0o777)
    for refuse in (lambda: refuse_exposed(folder), DataDirLock(folder).acquire):
        with pytest.raises(SettingsError) as caught:
            refuse()
        [fault] = caught.value.faults
        assert fault.startswith(f"{folder}: everybody")
        assert fault.endswith("(mode 0777); run chmod go-w on it.")
    assert list(folder.iterdir()) == []
    folder.chmod(0o700)
    refuse_exposed(folder)


def test_an_open_volume_of_somebody_else_is_warned_of(folder: Path) -> None:
    folder.chmod(0o777)
    [open_to_all, *_] = find_exposures(folder, user=ME)
    assert (open_to_all.severity, "a folder in it" in open_to_all.do) == ("warned", True)


@pytest.mark.parametrize("name", ["cookie.key", "switchboard.db", "switchboard.db-wal"])
@pytest.mark.parametrize(("mode", "may"), [(0o644, "read"), (0o640, "read"), (0o660, "write to")])
def test_a_file_that_others_may_use_is_warned_of(
    folder: Path, name: str, mode: int, may: str
) -> None:
    (folder / name).touch()
    (folder / name).chmod(mode)
    assert told(folder) == [f"warned: {name}: others may {may} it (mode {mode:04o})"]


def test_a_link_is_judged_by_what_it_leads_to(folder: Path, tmp_path: Path) -> None:
    key = tmp_path / "elsewhere.key"
    key.touch(mode=0o600)
    (folder / "cookie.key").symlink_to(key)
    assert told(folder) == []
    key.chmod(0o604)
    assert told(folder) == ["warned: cookie.key: others may read it (mode 0604)"]
    key.unlink()
    assert told(folder) == []


def test_files_of_others_beside_ours_are_theirs_to_keep(folder: Path) -> None:
    (folder / "certificate.pem").touch()
    (folder / "certificate.pem").chmod(0o644)
    assert told(folder) == []


def test_a_parent_in_which_everybody_may_rename_is_warned_of(tmp_path: Path) -> None:
    (tmp_path / "open" / "data").mkdir(parents=True, mode=0o700)
    (tmp_path / "open" / "data").chmod(0o700)
    (tmp_path / "open").chmod(0o777)
    [fault] = told(tmp_path / "open" / "data")
    assert fault.startswith("warned: open: everybody may put another folder in the place of ")
    (tmp_path / "open").chmod(0o1777)
    assert told(tmp_path / "open" / "data") == []


def test_a_parent_in_which_its_group_may_rename_is_noted(tmp_path: Path) -> None:
    folder = tmp_path / "shared" / "data"
    folder.mkdir(parents=True)
    folder.chmod(0o700)
    folder.parent.chmod(0o775)
    assert told(folder) == [
        f"noted: shared: its group may put another folder in the place of {folder}"
    ]
    folder.parent.chmod(0o1775)
    assert told(folder) == []


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives folders away")
def test_a_parent_of_somebody_else_is_noted(folder: Path, tmp_path: Path) -> None:
    parent = tmp_path / "theirs"
    parent.mkdir(mode=0o755)
    folder = folder.rename(parent / "data")
    os.chown(folder, ME, -1)
    assert told(folder, ME) == []
    for mode in (0o755, 0o1755):
        parent.chmod(mode)
        os.chown(parent, SOMEBODY, -1)
        assert told(folder, ME) == [
            f"noted: theirs: its owner, user {SOMEBODY}, may put another folder in the place of "
            f"{folder}"
        ]


def test_what_belongs_to_somebody_else_is_warned_of(folder: Path, tmp_path: Path) -> None:
    for name in FILES:
        (folder / name).touch(mode=0o600)
    if os.geteuid() != 0:
        # Only root gives files away; one's own are somebody else's to every other user.
        owner = os.geteuid()
        assert told(folder, owner) == []
        # What is noted is of the parents, which are this user's too.
        assert [one for one in told(folder, SOMEBODY) if not one.startswith("noted")] == [
            f"warned: data: it belongs to the user {owner}, who may write to it"
        ]
        return
    os.chown(folder, ME, -1)
    assert told(folder, ME) == []
    os.chown(folder / "cookie.key", SOMEBODY, -1)
    assert told(folder, ME) == [f"warned: cookie.key: it belongs to the user {SOMEBODY}"]
    os.chown(folder, SOMEBODY, -1)
    assert told(folder, ME) == [
        f"warned: data: it belongs to the user {SOMEBODY}, who may write to it"
    ]
    assert told(folder, 0) == []
    link = tmp_path / "link"
    link.symlink_to(folder)
    os.chown(link, SOMEBODY, -1, follow_symlinks=False)
    os.chown(folder, ME, -1)
    os.chown(folder / "cookie.key", ME, -1)
    assert told(link, ME) == [
        f"warned: link: it is a link of the user {SOMEBODY}, who may change it"
    ]
