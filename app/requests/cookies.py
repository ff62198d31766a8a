"""The session cookie: encrypted, with nothing in it but the token, and the keys that encrypt it.

The truth is the session row, so a cookie that was copied does not survive a sign-out. An
application's page may put a JWT into the cookie of this name by itself.
"""

import os
import tempfile
from collections.abc import Callable, Sequence
from http.cookies import SimpleCookie
from pathlib import Path

from aiohttp import hdrs, web
from aiohttp_session import STORAGE_KEY, Session, get_session, new_session
from aiohttp_session.cookie_storage import EncryptedCookieStorage
from cryptography.fernet import Fernet, InvalidToken, MultiFernet

from app.base.errors import SettingsError
from app.base.lru import Lru
from app.settings import Settings

COOKIE_NAME = "session_token"
COOKIE_KEY_FILE = "cookie.key"
SESSION_FIELD = "token"
KNOWN_COOKIES = 16_384
"""Cookies whose token is remembered, about 700 bytes each, and up to twice as many. A device comes
back with the cookie that it had, and decrypting it costs half of an upgrade. Whether the session
still holds is checked each time."""

MAX_KNOWN_COOKIE = 1024
"""Characters; ours have some 300."""


async def remember(request: web.Request, token: str) -> None:
    """Have the answer to this request set the session cookie."""
    session = await new_session(request)
    session[SESSION_FIELD] = token


async def forget(request: web.Request) -> None:
    """Have the answer to this request remove the session cookie."""
    (await get_session(request)).invalidate()


async def cookie_token(request: web.Request) -> str | None:
    """Return the token in the request's cookie; None without a cookie that a key decrypts.

    Where JWTs are taken, the cookie may also be one.
    """
    header = request.headers.get(hdrs.COOKIE, "")
    if COOKIE_NAME not in header:
        return None
    storage = request.get(STORAGE_KEY)
    if not isinstance(storage, CookieStorage):
        return await _decrypted(request)
    value = _only_value(header)
    if storage.takes_jwts and (token := _jwt(value or request.cookies.get(COOKIE_NAME, ""))):
        return token
    if value is None or len(value) > MAX_KNOWN_COOKIE:
        return await _decrypted(request)
    known = storage.tokens.get(value)
    if known is None and (known := await _decrypted(request)) is not None:
        storage.tokens.put(value, known)
    return known


async def _decrypted(request: web.Request) -> str | None:
    token = (await get_session(request)).get(SESSION_FIELD)
    return token if isinstance(token, str) else None


def _jwt(value: str) -> str | None:
    """Return the JWT that the cookie is; None for ours, which never has a dot."""
    text = value.strip('"')
    return text if text.count(".") == 2 else None


def _only_value(header: str) -> str | None:
    """Return the value of our cookie; None if the header has no such cookie, or several.

    Only this part of the header is remembered: cookies of others beside it may be long and change
    each time.
    """
    before, found, rest = header.partition(f"{COOKIE_NAME}=")
    value = rest.partition(";")[0].strip()
    alone = found and before.rstrip()[-1:] in ("", ";") and COOKIE_NAME not in rest
    return value if alone else None


class CookieStorage(EncryptedCookieStorage):
    """The encrypted cookie, readable under every key and written under the first.

    Its value has no `=` at the end, so that it never needs quotes, which not every client strips.
    """

    def __init__(
        self,
        keys: Sequence[bytes],
        secure: Callable[[web.Request], bool],
        max_age: int,
        *,
        takes_jwts: bool,
    ) -> None:
        # The base class wants one key, but encrypts nothing with it here.
        super().__init__(Fernet(keys[0]), cookie_name=COOKIE_NAME, max_age=max_age, samesite="Lax")
        self._keys = MultiFernet([Fernet(key) for key in keys])
        self._is_secure = secure
        self.takes_jwts = takes_jwts
        self.tokens: Lru[str, str] = Lru(KNOWN_COOKIES)

    async def load_session(self, request: web.Request) -> Session:
        """Return the session of the cookie; a new, empty one if no key decrypts it."""
        cookie = (self.load_cookie(request) or "").strip('"').rstrip("=")
        try:
            padded = cookie + "=" * (-len(cookie) % 4)
            # Neither `ttl` here nor `max_age` below: both compare the cookie's time with the
            # machine's, whose correction would refuse cookies of before. The session has an end.
            data = self._decoder(self._keys.decrypt(padded.encode()).decode())
        except (InvalidToken, ValueError):
            return await self.new_session()
        return Session(None, data=data, new=False)

    async def save_session(
        self, request: web.Request, response: web.StreamResponse, session: Session
    ) -> None:
        """Have the answer set the cookie, or remove it if the session is empty."""
        value = ""
        if not session.empty:
            text = self._encoder(self._get_session_data(session)).encode()
            value = self._keys.encrypt(text).decode().rstrip("=")
        # Without `max_age`, which would add an `Expires` by the machine's clock beside `Max-Age`.
        self.save_cookie(response, value)
        self._mark_secure(response.cookies, self._is_secure(request))

    def _mark_secure(self, cookies: "SimpleCookie", secure: bool) -> None:
        if secure and COOKIE_NAME in cookies:
            cookies[COOKIE_NAME]["secure"] = True


def cookie_storage(
    keys: Sequence[bytes],
    secure: Callable[[web.Request], bool],
    max_age: int,
    *,
    takes_jwts: bool = False,
) -> CookieStorage:
    """Return the storage for `aiohttp_session.setup`.

    `secure` says whether the client came over https; `max_age` is the longest life of a session in
    seconds; `takes_jwts` lets a JWT stand in the cookie.
    """
    return CookieStorage(keys, secure, max_age, takes_jwts=takes_jwts)


# Keys


def load_fernet_keys(settings: Settings, data_dir: Path) -> list[bytes]:
    """Return the keys of the cookie; the first one encrypts, all of them decrypt.

    Without keys in the settings, `cookie.key` in the data folder holds them, one a line; it is made
    once, readable by its owner only. Raises SettingsError for what is no Fernet key.
    """
    if settings.cookie_keys:
        keys = [key.get_secret_value().encode() for key in settings.cookie_keys]
        return _checked_keys(keys, "cookie_keys")
    path = data_dir / COOKIE_KEY_FILE
    if not path.exists():
        place_cookie_key(path, Fernet.generate_key() + b"\n")
    return _checked_keys(path.read_bytes().split(), COOKIE_KEY_FILE)


def _checked_keys(keys: list[bytes], where: str) -> list[bytes]:
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


def place_cookie_key(path: Path, keys: bytes) -> None:
    """Make the file with these keys, whole at once; one that is there already stays."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    # mkstemp makes the file with mode 0600.
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(keys)
            file.flush()
            os.fsync(file.fileno())
        # A link fails where a file is; a rename would take its place.
        os.link(name, path)
    except FileExistsError:
        pass
    finally:
        Path(name).unlink()
