"""Who is at the other end, and whether the page behind a request may talk to this server. Pure.

Proxies that are trusted tell the first; browsers tell the second in the header Origin (RFC 6454).
"""

import ipaddress
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, Literal, Protocol

from app.base.options import Network

UNKNOWN = "unknown"
# No chain of trusted proxies is longer; the rest of the header is the sender's invention.
MAX_HOPS = 32

_FORWARDED_HOST = re.compile(
    r"[A-Za-z0-9.\-_]{1,253}(?::[0-9]{1,5})?|\[[0-9A-Fa-f:.]{2,45}\](?::[0-9]{1,5})?"
)

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

OriginVerdict = Literal["absent", "same", "allowed", "refused"]
"""absent: no browser. same: our own page. allowed: on the list, with bearer tokens only."""

_DEFAULT_PORTS = {"http": 80, "https": 443}
_AUTHORITY = r"(\[[0-9a-f:.]+\]|[^\s/?#@:\[\]]+)(?::([0-9]{1,5}))?"
_ORIGIN = re.compile(rf"(https?)://{_AUTHORITY}")
_HOST = re.compile(_AUTHORITY)


class Headers(Protocol):
    """The part of a multidict that is read here."""

    def getall(self, key: str, default: Sequence[str], /) -> Sequence[str]: ...


_PREFIXES: Final = (64, 56, 48)
"""Lengths of the IPv6 networks that are counted."""


@dataclass(frozen=True, slots=True)
class Peer:
    """A client as it reached the first proxy that is trusted, or this server."""

    address: str
    """Without a port, IPv6 in its short form; `unknown` if there is none."""
    scheme: str
    host: str
    """What the client believes it talks to: host, and port if it is not the scheme's."""

    @property
    def networks(self) -> tuple[str, ...]:
        """What limits count by, the smallest first: the address; of IPv6 its /64, /56 and /48.

        A household has a /64 or a /56, and an attacker easily a /48.
        """
        parsed = _parse(self.address)
        if isinstance(parsed, ipaddress.IPv6Address):
            return tuple(
                str(ipaddress.IPv6Network((parsed, length), strict=False)) for length in _PREFIXES
            )
        return (self.address,)

    @property
    def is_loopback(self) -> bool:
        parsed = _parse(self.address)
        return parsed is not None and parsed.is_loopback


@dataclass(frozen=True, slots=True)
class _Hop:
    """What one proxy said of the one before it."""

    client: str
    scheme: str = ""
    host: str = ""


def resolve_peer(
    peername: object,
    headers: Headers,
    scheme: str,
    host: str,
    trusted_proxies: Sequence[Network],
) -> Peer:
    """Return the peer, by what the proxies among `trusted_proxies` say.

    `X-Forwarded-For` wins over `Forwarded`: proxies that write the first pass on a `Forwarded` of
    the client's own. Garbage ends the walk at the last address that a trusted proxy vouched for.
    """
    if not trusted_proxies:
        return _direct(_peer_address(peername), scheme, host)
    address, walked = _walk(_parse(_peer_address(peername)), headers, trusted_proxies)
    seen = [hop.scheme.lower() for hop in walked if hop.scheme.lower() in ("http", "https")]
    hosts = [hop.host for hop in walked if _FORWARDED_HOST.fullmatch(hop.host)]
    return Peer(
        address=str(address) if address is not None else UNKNOWN,
        scheme=seen[-1] if seen else scheme,
        host=hosts[-1] if hosts else host,
    )


def _walk(
    address: Address | None, headers: Headers, trusted_proxies: Sequence[Network]
) -> tuple[Address | None, list[_Hop]]:
    """Return the first address that is no trusted proxy's, and the hops on the way to it."""
    walked: list[_Hop] = []
    if address is None or not _trusted(address, trusted_proxies):
        return address, walked
    for hop in reversed(_hops(headers)[-MAX_HOPS:]):
        walked.append(hop)
        client = _parse(_without_port(hop.client))
        if client is None:
            break
        address = client
        if not _trusted(address, trusted_proxies):
            break
    return address, walked


@lru_cache(maxsize=1024)
def _direct(address: str, scheme: str, host: str) -> Peer:
    """Return the peer without proxies; those of a storm of connections are few and come again."""
    parsed = _parse(address)
    return Peer(str(parsed) if parsed is not None else UNKNOWN, scheme, host)


def _peer_address(peername: object) -> str:
    if isinstance(peername, tuple) and peername:
        return str(peername[0])
    return peername if isinstance(peername, str) else ""


@lru_cache(maxsize=4096)
def _parse(text: str) -> Address | None:
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return mapped or address


def _trusted(address: Address, networks: Sequence[Network]) -> bool:
    return any(address in network for network in networks)


def _without_port(text: str) -> str:
    if text.startswith("["):
        return text[1:].partition("]")[0]
    return text.partition(":")[0] if text.count(":") == 1 else text


def _hops(headers: Headers) -> list[_Hop]:
    """Return what each proxy said, the nearest one last."""
    clients = _listed(headers, "X-Forwarded-For")
    forwarded = "" if clients else ",".join(headers.getall("Forwarded", ()))
    if not forwarded:
        # Without an address the nearest proxy may still have named scheme and host.
        return _x_forwarded(headers, clients or [""])
    return [_forwarded(element) for element in _split(forwarded, ",")]


def _x_forwarded(headers: Headers, clients: list[str]) -> list[_Hop]:
    """Return the hops; shorter lists of schemes and hosts belong to the nearest proxies."""
    schemes = _aligned(_listed(headers, "X-Forwarded-Proto"), len(clients))
    hosts = _aligned(_listed(headers, "X-Forwarded-Host"), len(clients))
    return [_Hop(*values) for values in zip(clients, schemes, hosts, strict=True)]


def _listed(headers: Headers, name: str) -> list[str]:
    lines = headers.getall(name, ())
    return [part.strip() for line in lines for part in line.split(",") if part.strip()]


def _aligned(values: list[str], length: int) -> list[str]:
    return [""] * (length - len(values)) + values[-length:]


def _forwarded(element: str) -> _Hop:
    """Return the parameters of one proxy (RFC 7239, section 4)."""
    found: dict[str, str] = {}
    for pair in _split(element, ";"):
        name, _, value = pair.partition("=")
        found.setdefault(name.strip().lower(), _unquoted(value.strip()))
    return _Hop(found.get("for", ""), found.get("proto", ""), found.get("host", ""))


def _unquoted(value: str) -> str:
    if len(value) < 2 or value[0] != '"' or value[-1] != '"':
        return value
    return re.sub(r"\\(.)", r"\1", value[1:-1])


def _split(text: str, separator: str) -> list[str]:
    """Return the parts between separators outside of quotes, in one pass over hostile text.

    A quote that never closes quotes nothing: a client must not hide what its proxy appends.
    """
    parts: list[str] = []
    start, quoted, escaped = 0, False, False
    for end, char in enumerate(text):
        if escaped:
            escaped = False
        elif quoted and char == "\\":
            escaped = True
        elif char == '"':
            quoted = not quoted
        elif char == separator and not quoted:
            parts.append(text[start:end])
            start = end + 1
    parts.append(text[start:])
    if quoted:
        parts = text.split(separator)
    return [part.strip() for part in parts if part.strip()]


# Origins


def origin_verdict(origin: str | None, host: str, allowed: tuple[str, ...]) -> OriginVerdict:
    """Return what an Origin header means for a server that the client calls `host`.

    An origin of that host and port is the same under either scheme: a TLS proxy changes it.
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
