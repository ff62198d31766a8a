"""Who is at the other end, and whether the page behind a request may talk to this server. Pure.

Proxies that are trusted tell the first; browsers tell the second in the header Origin (RFC 6454).
"""

import ipaddress
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, Literal, Protocol

from app.base.options import Network
from app.base.origins import DEFAULT_PORTS, Origin, read_host, read_origin

UNKNOWN = "unknown"
# No chain of trusted proxies is longer; the rest of the header is the sender's invention.
MAX_HOPS = 32

_FORWARDED_HOST = re.compile(
    r"[A-Za-z0-9.\-_]{1,253}(?::[0-9]{1,5})?|\[[0-9A-Fa-f:.]{2,45}\](?::[0-9]{1,5})?"
)

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

OriginVerdict = Literal["absent", "same", "allowed", "refused"]
"""absent: no browser. same: our own page. allowed: on the list, with bearer tokens only."""

_SCHEMES: Final = {"http": "http", "https": "https", "ws": "http", "wss": "https"}
"""What a proxy calls the scheme; some say ws or wss of an upgrade."""

_FORWARDING: Final = re.compile(
    r".*(?:forward|proxy|varnish).*|via"
    r"|.*(?:[-_]|client|real|remote|user|socket)(?:ip|ipv[46]|addr|address)"
    r"|(?:cf|cdn|fly|fastly|akamai|incap|tailscale)-.*"
    r"|(?:ssl|tls)[-_]client[-_].*|(?:http|remote)[-_].*|client-cert.*"
    r"|surrogate-.*|front-end-https"
    # Too many proxies have an X- header of their own for a list. These, programs send too.
    r"|x-(?!(?:prometheus|requested|b3|datadog)-|(?:request|correlation)-id$).*",
    re.IGNORECASE,
)
"""Names of headers that tell of a client or a proxy before the one that is connected."""


class Headers(Protocol):
    """The part of a multidict that is read here."""

    def __iter__(self) -> Iterator[str]: ...
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


@dataclass(frozen=True, slots=True)
class _Hop:
    """What one proxy said of the one before it."""

    client: str
    scheme: str = ""
    host: str = ""


@lru_cache(maxsize=4096)
def counted_network(address: str, exempt: tuple[Network, ...] = ()) -> str | None:
    """Return what the address counts as where sockets are limited: itself, or its /64 of IPv6.

    None means no limit: loopback, where proxies sit, what is no address, as of a unix socket, and
    what is in an `exempt` network.
    """
    parsed = _parse(address)
    if parsed is None or parsed.is_loopback or _trusted(parsed, exempt):
        return None
    return Peer(str(parsed), scheme="", host="").networks[0]


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
    seen = [_SCHEMES[hop.scheme.lower()] for hop in walked if hop.scheme.lower() in _SCHEMES]
    hosts = [hop.host for hop in walked if _FORWARDED_HOST.fullmatch(hop.host)]
    return Peer(
        address=str(address) if address is not None else UNKNOWN,
        scheme=seen[-1] if seen else scheme,
        host=hosts[-1] if hosts else host,
    )


def is_this_machine(peername: object, headers: Headers) -> bool:
    """Tell whether a program of this machine asks for itself, by the connection alone.

    A proxy of this machine that passes on what others ask names them, itself, or the host that they
    asked for. No such header is believed here, also if the proxy is trusted.
    """
    address = _parse(_peer_address(peername))
    if address is None or not address.is_loopback:
        return False
    if any(_FORWARDING.fullmatch(name) for name in headers):
        return False
    return all(map(_names_this_machine, headers.getall("Host", ())))


def _names_this_machine(host: str) -> bool:
    """Tell whether a `Host` can mean this machine; no name of the public DNS can.

    So a page whose name resolves to 127.0.0.1 (DNS rebinding) does not count as this machine.
    """
    parsed = read_host(host)
    if parsed is None:
        return False
    address = _parse(parsed.name.strip("[]"))
    if address is not None:
        return address.is_loopback
    return "." not in parsed.name or parsed.name.endswith(".localhost")


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
        # A loopback address is the machine of who names it: of another one, it says nothing here.
        if client is None or (client.is_loopback and not address.is_loopback):
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


def origin_verdict(origin: str | None, peer: Peer, allowed: Sequence[str]) -> OriginVerdict:
    """Return what an Origin header means for a server that the client reached as `peer` says.

    The server's own page has its host and port; and https, where the client is known to have come
    by https. Where it is not, a proxy that nobody trusts may speak TLS, so either scheme will do.
    """
    if origin is None:
        return "absent"
    parsed = read_origin(origin)
    if parsed is None:
        return "refused"
    if _is_own(parsed, peer):
        return "same"
    return "allowed" if is_allowed(origin, allowed) else "refused"


def is_allowed(origin: str, allowed: Sequence[str]) -> bool:
    """Tell whether the list of origins, as the settings hold it, has this one."""
    parsed = read_origin(origin)
    return parsed is not None and str(parsed) in allowed


def _is_own(origin: Origin, peer: Peer) -> bool:
    if origin.scheme not in (("https",) if peer.scheme == "https" else DEFAULT_PORTS):
        return False
    host = read_host(peer.host)
    return host is not None and origin == Origin(
        origin.scheme, host.name, host.port or DEFAULT_PORTS[origin.scheme]
    )
