"""The keys that encrypt the session cookie."""

import os
import tempfile
from pathlib import Path

from cryptography.fernet import Fernet

from app.base.errors import SettingsError
from app.settings import Settings

KEY_FILE = "cookie.key"


def load_cookie_keys(settings: Settings, data_dir: Path) -> list[bytes]:
    """Return the Fernet keys, the one that encrypts first.

    Without keys in the settings, `cookie.key` in the data folder holds them, one a line; it is made
    once, readable by its owner only. Raises SettingsError for what is no Fernet key.
    """
    if settings.cookie_keys:
        keys = [key.get_secret_value().encode() for key in settings.cookie_keys]
        return _checked(keys, "cookie_keys")
    path = data_dir / KEY_FILE
    if not path.exists():
        _create(path)
    return _checked(path.read_bytes().split(), KEY_FILE)


def _checked(keys: list[bytes], where: str) -> list[bytes]:
    try:
        for key in keys:
            Fernet(key)
    except ValueError:
        raise SettingsError(
            [f"{where}: a Fernet key is 32 bytes in URL-safe base64, 44 characters."]
        ) from None
    if not keys:
        raise SettingsError([f"{where}: there is no key; delete the file to have one made."])
    return keys


def _create(path: Path) -> None:
    """The file is there whole, with mode 0600; one that another process made first stays."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    # mkstemp makes the file with mode 0600.
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(Fernet.generate_key() + b"\n")
            file.flush()
            os.fsync(file.fileno())
        # A link fails where a file is; a rename would take its place.
        os.link(name, path)
    except FileExistsError:
        pass
    finally:
        Path(name).unlink()
