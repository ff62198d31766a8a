"""The keys of the cookie."""

import stat
from pathlib import Path

import pytest
from cryptography.fernet import Fernet

from app.auth.cookie_keys import load_cookie_keys
from app.base.errors import SettingsError
from app.settings import Settings


def test_a_key_is_made_once_and_kept(tmp_path: Path) -> None:
    keys = load_cookie_keys(Settings(), tmp_path / "data")
    assert len(keys) == 1
    assert load_cookie_keys(Settings(), tmp_path / "data") == keys
    assert [file.name for file in (tmp_path / "data").iterdir()] == ["cookie.key"]


def test_only_the_owner_can_read_the_key(tmp_path: Path) -> None:
    load_cookie_keys(Settings(), tmp_path)
    assert stat.S_IMODE((tmp_path / "cookie.key").stat().st_mode) == 0o600


def test_two_folders_have_two_keys(tmp_path: Path) -> None:
    assert load_cookie_keys(Settings(), tmp_path / "a") != load_cookie_keys(
        Settings(), tmp_path / "b"
    )


def test_given_keys_win_and_no_file_is_made(tmp_path: Path) -> None:
    given = [Fernet.generate_key().decode() for _ in range(2)]
    settings = Settings(cookie_keys=",".join(given))
    assert load_cookie_keys(settings, tmp_path) == [key.encode() for key in given]
    assert list(tmp_path.iterdir()) == []


def test_a_file_may_hold_older_keys_below_the_first(tmp_path: Path) -> None:
    keys = [Fernet.generate_key() for _ in range(2)]
    (tmp_path / "cookie.key").write_bytes(b"\n".join(keys) + b"\n")
    assert load_cookie_keys(Settings(), tmp_path) == keys


@pytest.mark.parametrize("content", ["", "short", "é" * 44, "x" * 45])
def test_what_is_no_key_is_refused_without_showing_it(tmp_path: Path, content: str) -> None:
    (tmp_path / "cookie.key").write_text(content)
    with pytest.raises(SettingsError) as caught:
        load_cookie_keys(Settings(), tmp_path)
    assert "cookie.key" in str(caught.value)
    assert not content or content not in str(caught.value)
