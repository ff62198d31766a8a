"""How a listening device signs in and out, and which certificates it trusts."""

import contextlib
import ssl
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import aiohttp
import orjson

from app.base.errors import SwitchboardError

_REQUEST_TIMEOUT: Final = aiohttp.ClientTimeout(total=30)

# Signing out is a courtesy, and must not make Ctrl-C feel stuck.
_SIGN_OUT_TIMEOUT: Final = aiohttp.ClientTimeout(total=2)


class ListenEnded(SwitchboardError):
    """The listener cannot go on, and connecting again would not help; the text says why."""


@dataclass(frozen=True, slots=True)
class Credentials:
    """A user's password and the device that signs in with it."""

    handle: str
    password: str = field(repr=False)
    device_uuid: str
    device_type: str
    device_name: str


def unreachable(url: str, error: aiohttp.ClientError | OSError) -> str:
    """Return a sentence that says why the server could not be reached."""
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        return (
            f"The certificate of {url} is not trusted; name its authority with --insecure-ca FILE."
        )
    if isinstance(error, aiohttp.ClientConnectorError):
        reason = error.os_error.strerror or "no connection"
        return f"Cannot reach {url}: {reason.lower()}."
    return f"The connection to {url} failed."


async def sign_in(url: str, tls: ssl.SSLContext | None, credentials: Credentials) -> str:
    """Return the token of a new session; raise ListenEnded with the server's reason."""
    body = {
        "user_handle": credentials.handle,
        "password": credentials.password,
        "device_uuid": credentials.device_uuid,
        "device_type": credentials.device_type,
        "device_name": credentials.device_name,
    }
    try:
        async with (
            open_session() as session,
            session.post(f"{url}/v1/auth/login", json=body, ssl=tls or True) as response,
        ):
            answer = await _json(response)
    except (aiohttp.ClientError, OSError) as error:
        raise ListenEnded(unreachable(url, error)) from None
    token = answer.get("token")
    if response.status != 201 or not isinstance(token, str):
        raise ListenEnded(f"Not signed in ({response.status}): {answer.get('detail', url)}")
    return token


async def sign_out(url: str, tls: ssl.SSLContext | None, token: str) -> None:
    """End the session of the token, if the server can be reached."""
    with contextlib.suppress(aiohttp.ClientError, OSError):
        async with (
            open_session() as session,
            session.post(
                f"{url}/v1/auth/logout",
                headers={"Authorization": f"Bearer {token}"},
                ssl=tls or True,
                timeout=_SIGN_OUT_TIMEOUT,
            ),
        ):
            pass


def trust(certificate: Path, *, this_host: bool = False) -> ssl.SSLContext:
    """Return a TLS context that trusts this authority, or this very certificate, and no other.

    With `this_host` the certificate may be for any name: it comes from the server's own folder.
    Raises ListenEnded when the file is not a certificate.
    """
    try:
        context = ssl.create_default_context(cafile=str(certificate))
    except (OSError, ssl.SSLError):
        raise ListenEnded(f"{certificate} is not a readable PEM certificate.") from None
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    context.check_hostname = not this_host
    return context


def open_session() -> aiohttp.ClientSession:
    """Return an HTTP session that keeps no cookies: a device has its token."""
    return aiohttp.ClientSession(timeout=_REQUEST_TIMEOUT, cookie_jar=aiohttp.DummyCookieJar())


async def _json(response: aiohttp.ClientResponse) -> dict[str, Any]:
    try:
        answer = orjson.loads(await response.read())
    except orjson.JSONDecodeError:
        return {}
    return answer if isinstance(answer, dict) else {}
