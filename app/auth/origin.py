"""Whether a browser's page may talk to this server (RFC 6454). Pure."""

import re
from typing import Literal

OriginVerdict = Literal["absent", "same", "allowed", "refused"]
"""absent: no browser. same: our own page. allowed: on the list, with bearer tokens only."""

_DEFAULT_PORTS = {"http": 80, "https": 443}
_AUTHORITY = r"(\[[0-9a-f:.]+\]|[^\s/?#@:\[\]]+)(?::([0-9]{1,5}))?"
_ORIGIN = re.compile(rf"(https?)://{_AUTHORITY}")
_HOST = re.compile(_AUTHORITY)


def origin_verdict(origin: str | None, host: str, allowed: tuple[str, ...]) -> OriginVerdict:
    """Return what the Origin header means for a server that was asked for as `host`.

    The same is an origin of that host and port under either scheme, since a TLS proxy changes it.
    """
    if origin is None:
        return "absent"
    parsed = _parse_origin(origin)
    if parsed is None:
        return "refused"
    scheme, name, port = parsed
    if _parse_host(host, _DEFAULT_PORTS[scheme]) == (name, port):
        return "same"
    return "allowed" if parsed in map(_parse_origin, allowed) else "refused"


def _parse_origin(origin: str) -> tuple[str, str, int] | None:
    match = _ORIGIN.fullmatch(origin.lower())
    if match is None:
        return None
    scheme, name, port = match.groups()
    return scheme, name, int(port) if port else _DEFAULT_PORTS[scheme]


def _parse_host(host: str, default_port: int) -> tuple[str, int] | None:
    match = _HOST.fullmatch(host.lower())
    if match is None:
        return None
    name, port = match.groups()
    return name, int(port) if port else default_port
