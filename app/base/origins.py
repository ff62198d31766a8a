"""Origins of web pages (RFC 6454) and the `Host` that a browser names, in one form each. Pure.

Whoever compares origins compares `Origin`: the allow-list, the socket, CORS and the cookie's guard
against foreign pages all read by this one parser.
"""

import ipaddress
import re
from difflib import get_close_matches
from functools import lru_cache
from typing import Final, NamedTuple

DEFAULT_PORTS: Final = {"http": 80, "https": 443}

APP_SCHEMES: Final = frozenset(
    {
        *("app", "capacitor", "electron", "ionic", "tauri", "vscode-webview"),
        *("chrome-extension", "moz-extension", "safari-web-extension"),
    }
)
"""Schemes under which shells of apps and browsers' extensions serve pages, on any host."""

MAX_ORIGIN: Final = 300
"""Characters: a scheme, a host name of 253 and a port."""

# No page has an origin of these: browsers say `null`, or a socket's address is meant.
_NO_PAGES: Final = frozenset(
    {"about", "blob", "data", "file", "filesystem", "ftp", "javascript", "ws", "wss"}
)
_SHAPE: Final = re.compile(r"([a-z][a-z0-9+.-]*)://([^/?#]*)(.*)", re.DOTALL)
_AUTHORITY: Final = re.compile(r"(\[[^\[\]]*\]|[^:\[\]]*)(?::(.*))?", re.DOTALL)
_PORT: Final = re.compile(r"[0-9]{1,5}")
_LABEL: Final = re.compile(r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?")
# Electron's apps are at such hosts as `app://-` and `app://.`.
_APP_HOST: Final = re.compile(r"[a-z0-9._-]{1,253}")


class Origin(NamedTuple):
    """Where a page is from. `port` is never None for http and https."""

    scheme: str
    host: str
    """Lower case, punycode, no dot at the end; IPv6 in brackets, in its short form."""
    port: int | None

    def __str__(self) -> str:
        """Return it as a browser sends it: without the scheme's own port."""
        is_default = self.port is None or self.port == DEFAULT_PORTS.get(self.scheme)
        return f"{self.scheme}://{self.host}{'' if is_default else f':{self.port}'}"


class Host(NamedTuple):
    """A host and the port that was named; None if there was none."""

    name: str
    port: int | None


def parse_origin(text: str) -> Origin:
    """Return the origin; raises ValueError with the end of a sentence that begins with the text."""
    if len(text) > MAX_ORIGIN:
        raise ValueError("is too long for an origin")
    match = _SHAPE.fullmatch(text.lower())
    if match is None:
        raise ValueError("is not of the form https://host[:port]")
    scheme, authority, rest = match.groups()
    if rest:
        raise ValueError(f"is not of the form https://host[:port], since {rest[:20]!r} follows")
    if "@" in authority:
        raise ValueError("has a user before the host; an origin has none")
    if scheme in DEFAULT_PORTS:
        host = parse_host(authority)
        return Origin(scheme, host.name, host.port or DEFAULT_PORTS[scheme])
    return _parse_app_origin(scheme, authority)


def parse_host(text: str) -> Host:
    """Return the host and port of a `Host` header; raises ValueError as `parse_origin` does."""
    match = _AUTHORITY.fullmatch(text.lower())
    if match is None:
        raise ValueError("has no valid host")
    name, port = match.groups()
    return Host(_parse_name(name), _parse_port(port))


@lru_cache(maxsize=1024)
def read_origin(text: str) -> Origin | None:
    """Return the origin; None for what is none. Those of many requests are few."""
    try:
        return parse_origin(text)
    except ValueError:
        return None


@lru_cache(maxsize=1024)
def read_host(text: str) -> Host | None:
    """Return the host and port of a `Host` header; None for what is none."""
    try:
        return parse_host(text) if len(text) <= MAX_ORIGIN else None
    except ValueError:
        return None


def _parse_app_origin(scheme: str, authority: str) -> Origin:
    """Return the origin of an app's own page, under a scheme that the app's maker may choose."""
    if scheme in _NO_PAGES:
        raise ValueError(f"is no origin of a page: browsers send none with {scheme}://")
    meant = get_close_matches(scheme, DEFAULT_PORTS, n=1, cutoff=0.75)
    if meant and scheme not in APP_SCHEMES:
        raise ValueError(f"begins with {scheme}://; did you mean {meant[0]}://?")
    name, _, port = authority.partition(":")
    if not _APP_HOST.fullmatch(name):
        raise ValueError("has no valid host")
    if scheme not in APP_SCHEMES and name != "localhost":
        raise ValueError("is not of the form https://host[:port], nor an app's SCHEME://localhost")
    return Origin(scheme, name, _parse_port(port or None))


def _parse_port(text: str | None) -> int | None:
    if text is None:
        return None
    if not _PORT.fullmatch(text) or not 1 <= int(text) <= 65535:
        raise ValueError(f"has no valid port: {text[:20]!r}")
    return int(text)


def _parse_name(text: str) -> str:
    if text.startswith("["):
        return _parse_ipv6(text[1:-1])
    name = (text if text.isascii() else _to_punycode(text)).removesuffix(".")
    labels = name.split(".")
    if "*" in name:
        raise ValueError("has a wildcard; name each origin")
    if len(name) > 253 or not all(map(_LABEL.fullmatch, labels)):
        raise ValueError("has no valid host")
    # A browser reads what ends in a number as an IPv4 address, and sends that in full.
    if labels[-1].isdigit() or labels[-1].startswith("0x"):
        return _parse_ipv4(name)
    return name


def _parse_ipv4(text: str) -> str:
    try:
        return str(ipaddress.IPv4Address(text))
    except ValueError:
        raise ValueError("has no valid host: an IPv4 address has four numbers") from None


def _parse_ipv6(text: str) -> str:
    try:
        address = ipaddress.IPv6Address(text)
    except ValueError:
        raise ValueError("has no valid IPv6 address") from None
    if address.scope_id is not None:
        raise ValueError("has an IPv6 address with a zone, which no browser sends")
    return f"[{address}]"


def _to_punycode(text: str) -> str:
    """Return the name as it is in DNS and in headers (UTS 46, as browsers do it)."""
    # Its tables take 5 ms to load, and most lists have no such name.
    import idna  # noqa: PLC0415

    try:
        # Not `idna.encode`: browsers take names with emoji too, which IDNA 2008 refuses.
        labels = idna.uts46_remap(text, std3_rules=True).split(".")
        return ".".join(map(_label_to_punycode, labels))
    except (idna.IDNAError, UnicodeError):
        raise ValueError("has no valid host: write its punycode form, xn--…") from None


def _label_to_punycode(label: str) -> str:
    return label if label.isascii() else f"xn--{label.encode('punycode').decode('ascii')}"
