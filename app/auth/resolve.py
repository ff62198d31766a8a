"""From a request to an identity."""

from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from http.cookies import SimpleCookie
from typing import Any

from aiohttp import hdrs, web
from aiohttp_session import Session, get_session, new_session
from aiohttp_session.cookie_storage import EncryptedCookieStorage
from cryptography.fernet import Fernet, InvalidToken, MultiFernet

from app.auth.identity import Identity, Via
from app.auth.origin import OriginVerdict
from app.auth.peer import Peer, resolve_peer
from app.auth.sessions import Sessions, unauthorized
from app.settings import Network

COOKIE_NAME = "session_token"
SESSION_FIELD = "token"
BEARER_PROTOCOL = "bearer."
KNOWN_COOKIES = 16_384
"""About 600 bytes each. Whether the session still holds is asked elsewhere, each time."""

PEER = web.RequestKey("peer", Peer)


def request_peer(request: web.BaseRequest, trusted_proxies: Sequence[Network]) -> Peer:
    """Return the client as seen through the trusted proxies; worked out once per request."""
    peer = request.get(PEER)
    if peer is None:
        peer = request[PEER] = _resolve(request, trusted_proxies)
    return peer


def direct_peer(request: web.BaseRequest) -> Peer:
    """Return whoever holds the other end of the TCP connection, a proxy perhaps."""
    return _resolve(request, ())


def _resolve(request: web.BaseRequest, trusted_proxies: Sequence[Network]) -> Peer:
    return resolve_peer(
        # Also known when the client has already left.
        request.remote,
        request.headers,
        request.scheme,
        request.headers.get(hdrs.HOST, ""),
        trusted_proxies,
    )


async def identify(request: web.Request, sessions: Sessions, verdict: OriginVerdict) -> Identity:
    """Return whose the request's token is; raises Problem 401 `unauthorized`.

    A token that was presented and is wrong is refused, whatever else the request carries.
    """
    presented = await presented_token(request, verdict)
    if presented is None:
        raise unauthorized()
    return await sessions.resolve(*presented)


async def presented_token(request: web.Request, verdict: OriginVerdict) -> tuple[str, Via] | None:
    """Return the token that counts: of the header, else the offered protocol, else the cookie.

    The cookie counts for our own pages and for native clients only.
    """
    for token in _header_tokens(request):
        return token, "header"
    for token in _protocol_tokens(request):
        return token, "protocol"
    if verdict in ("allowed", "refused") or COOKIE_NAME not in request.cookies:
        return None
    kept = (await get_session(request)).get(SESSION_FIELD)
    return (kept, "cookie") if isinstance(kept, str) else None


async def remember(request: web.Request, token: str) -> None:
    """The answer to this request sets the session cookie."""
    session = await new_session(request)
    session[SESSION_FIELD] = token


async def forget(request: web.Request) -> None:
    """The answer to this request removes the session cookie."""
    (await get_session(request)).invalidate()


def _header_tokens(request: web.Request) -> Iterator[str]:
    """Yield the token of each Authorization header: `Bearer TOKEN`, or the token alone.

    Other schemes are somebody else's, such as a proxy's Basic.
    """
    for value in request.headers.getall(hdrs.AUTHORIZATION, ()):
        scheme, _, rest = value.strip().partition(" ")
        if scheme.lower() == "bearer":
            yield rest.strip()
        elif scheme and not rest:
            yield scheme


def _protocol_tokens(request: web.Request) -> Iterator[str]:
    """Yield the tokens that a WebSocket upgrade offers as a protocol: a browser's only header."""
    if request.headers.get(hdrs.UPGRADE, "").lower() != "websocket":
        return
    for line in request.headers.getall(hdrs.SEC_WEBSOCKET_PROTOCOL, ()):
        for offered in line.split(","):
            if offered.strip().startswith(BEARER_PROTOCOL):
                yield offered.strip().removeprefix(BEARER_PROTOCOL)


class CookieStorage(EncryptedCookieStorage):
    """The encrypted cookie, readable under every key and written under the first.

    Its value has no `=` at the end, so that it never needs quotes, which not every client strips.
    """

    def __init__(
        self, keys: Sequence[bytes], secure: Callable[[web.Request], bool], max_age: int
    ) -> None:
        # The base class wants one key, which encrypts nothing here.
        super().__init__(Fernet(keys[0]), cookie_name=COOKIE_NAME, max_age=max_age, samesite="Lax")
        self._keys = MultiFernet([Fernet(key) for key in keys])
        self._is_secure = secure
        self._life = max_age
        # A device comes back with the cookie it had; decrypting it costs as much as an upgrade.
        self._open = lru_cache(maxsize=KNOWN_COOKIES)(self._decrypt)

    async def load_session(self, request: web.Request) -> Session:
        """Return the session of the cookie; one that no key decrypts is a new, empty session."""
        cookie = (self.load_cookie(request) or "").strip('"').rstrip("=")
        try:
            data = self._open(cookie)
        except (InvalidToken, ValueError):
            return await self.new_session()
        return Session(None, data=data, new=False, max_age=self._life)

    def _decrypt(self, cookie: str) -> Any:
        padded = cookie + "=" * (-len(cookie) % 4)
        return self._decoder(self._keys.decrypt(padded.encode(), ttl=self._life).decode())

    async def save_session(
        self, request: web.Request, response: web.StreamResponse, session: Session
    ) -> None:
        """The answer sets the cookie, or removes it if the session is empty."""
        value = ""
        if not session.empty:
            text = self._encoder(self._get_session_data(session)).encode()
            value = self._keys.encrypt(text).decode().rstrip("=")
        self.save_cookie(response, value, max_age=session.max_age)
        self._mark_secure(response.cookies, self._is_secure(request))

    def _mark_secure(self, cookies: "SimpleCookie", secure: bool) -> None:
        if secure and COOKIE_NAME in cookies:
            cookies[COOKIE_NAME]["secure"] = True


def cookie_storage(
    keys: Sequence[bytes], secure: Callable[[web.Request], bool], max_age: int
) -> CookieStorage:
    """Return the storage for `aiohttp_session.setup`.

    `secure` says whether the client came over https; `max_age` is the longest life of a session in
    seconds.
    """
    return CookieStorage(keys, secure, max_age)
