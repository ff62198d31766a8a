"""What is unsafe about settings, and about the machine on which they hold."""

import ipaddress
import re
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from cryptography import x509

from app.base.descriptors import MOST_RESERVE
from app.base.errors import SettingsError
from app.base.options import Network, shown
from app.base.origins import parse_origin
from app.cli.surroundings import Surroundings
from app.server import tls_context
from app.settings import OPTIONS, Settings
from app.storage.exposure import find_exposures

LONG_TOKEN: Final = 32
"""Characters of a secret that nobody guesses, whatever alphabet it is of."""

FEW_CHARACTERS: Final = 10
"""A random secret of 32 hexadecimal digits has fewer different ones once in 5,000 times."""

LARGE_MESSAGE: Final = 1_048_576
"""Bytes; nested JSON of that size blocks the event loop for about 107 ms."""

LAST_DAYS: Final = 7
"""A certificate that ends so soon was not renewed in time: tools do that 30 days before."""

_WIDEST: Final = {4: 8, 6: 16}
_WIDEST_PRIVATE: Final = {4: 16, 6: 48}
"""Prefix lengths. A private network wider than one site has machines that are no proxies."""

_WELL_KNOWN: Final = re.compile(
    r"secret|passw|change.?me|example|switchboard|default|qwerty|123456|abcdefg", re.IGNORECASE
)
_VOLATILE: Final = frozenset({"tmpfs", "ramfs"})
_REMOTE: Final = frozenset(
    {
        *("9p", "afs", "ceph", "cifs", "coda", "fuse.glusterfs", "fuse.s3fs", "fuse.sshfs"),
        *("gfs2", "lustre", "ncpfs", "nfs", "nfs4", "ocfs2", "smb3", "smbfs", "vboxsf"),
    }
)


@dataclass(frozen=True, slots=True)
class Finding:
    """Something unsafe; `fault` and `do` are sentences without their ends."""

    about: str
    """The setting, or one of `MACHINE`."""
    fault: str
    do: str


MACHINE: Final = ("root", "umask", "open_files", "environment")
"""What a finding may be about besides a setting."""

SUBJECTS: Final = (*OPTIONS, *MACHINE)


def judge(settings: Settings, around: Surroundings) -> list[Finding]:
    """Return what is unsafe, in the order of the settings; what is about the machine comes last."""
    found = [finding for rule in _RULES for finding in rule(settings)]
    found += _folder(settings, around)
    found += _machine(settings, around)
    return sorted(found, key=lambda one: SUBJECTS.index(one.about))


# The network


def _network(settings: Settings) -> Iterator[Finding]:
    if settings.tls_cert is not None:
        return
    if not _is_loopback(settings.host):
        yield Finding(
            "host",
            f"{settings.host} is not loopback, and there is no TLS: passwords and tokens travel in "
            "the clear",
            "set tls_cert and tls_key, or listen on 127.0.0.1 behind a proxy that speaks TLS",
        )
    if not settings.trusted_proxies:
        yield Finding(
            "trusted_proxies",
            "there is neither TLS nor a trusted proxy: cookies are not Secure, pages of http pass "
            "as the server's own, and all clients of a proxy count as one address",
            "set tls_cert and tls_key, or name the addresses of your proxy",
        )


def _proxies(settings: Settings) -> Iterator[Finding]:
    for network in settings.trusted_proxies:
        if _is_wide(network):
            yield Finding(
                "trusted_proxies",
                f"{network} is wide: every machine in it may choose the address and the scheme "
                "that it is taken for",
                "name the addresses of your proxies, or the smallest network that has them all",
            )


def _is_wide(network: Network) -> bool:
    if network.is_loopback:
        return False
    widest = _WIDEST_PRIVATE if network.is_private else _WIDEST
    return network.prefixlen < widest[network.version]


def _origins(settings: Settings) -> Iterator[Finding]:
    for text in settings.allowed_origins:
        origin = parse_origin(text)
        if origin.scheme == "http" and not _is_loopback(origin.host.strip("[]")):
            yield Finding(
                "allowed_origins",
                f"{text} is of http: whoever is on the way to it may change its pages",
                "serve those pages by https, and name that origin",
            )


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def _tls(settings: Settings) -> Iterator[Finding]:
    if settings.tls_cert is None or settings.tls_key is None:
        return
    try:
        tls_context(settings)
        [first, *_] = x509.load_pem_x509_certificates(settings.tls_cert.read_bytes())
    except (SettingsError, OSError, ValueError) as error:
        yield Finding("tls_cert", str(error).rstrip("."), "give a certificate and its key as PEM")
        return
    left = first.not_valid_after_utc - datetime.now(UTC)
    if left < timedelta(days=LAST_DAYS):
        ends = first.not_valid_after_utc.date()
        has_ended = left < timedelta(0)
        yield Finding(
            "tls_cert",
            f"the certificate {'ended' if has_ended else 'ends'} on {ends}",
            "renew it, and send SIGHUP to the server",
        )
    mode = settings.tls_key.stat().st_mode & 0o777
    if sys.platform != "win32" and mode & 0o027:
        yield Finding(
            "tls_key",
            f"others may use the file {settings.tls_key} (mode {mode:04o})",
            "run chmod 600 on it",
        )


# Secrets and limits


def _secrets(settings: Settings) -> Iterator[Finding]:
    token = settings.metrics_token
    if token is not None and len(token.get_secret_value()) < LONG_TOKEN:
        yield Finding(
            "metrics_token",
            f"it has fewer than {LONG_TOKEN} characters",
            "take 32 random bytes: openssl rand -hex 32",
        )
    given = {
        "cookie_keys": settings.cookie_keys,
        "metrics_token": (token,) if token else (),
        "jwt_secret": (settings.jwt_secret,) if settings.jwt_secret else (),
    }
    for name, secrets in given.items():
        if any(_is_guessable(secret.get_secret_value()) for secret in secrets):
            yield Finding(
                name,
                "it is no random text: it has a well-known word, or few different characters",
                "take 32 random bytes: openssl rand -hex 32"
                if name != "cookie_keys"
                else "take a random Fernet key, or leave it empty to have one made",
            )


def _is_guessable(secret: str) -> bool:
    return len(set(secret)) < FEW_CHARACTERS or _WELL_KNOWN.search(secret) is not None


def _limits(settings: Settings) -> Iterator[Finding]:
    for option in OPTIONS.values():
        is_limit = "0 = no limit" in option.what and option.default != 0
        if is_limit and getattr(settings, option.name) == 0:
            yield Finding(
                option.name,
                "the limit is off: one client may take all there is",
                f"leave it at its default, {shown(option.default)} {option.unit}",
            )
    if settings.max_message_bytes > LARGE_MESSAGE:
        yield Finding(
            "max_message_bytes",
            "a message of nested JSON that large blocks everybody for more than 100 ms",
            f"set {LARGE_MESSAGE} at most",
        )
    if settings.log_level == "debug":
        yield Finding(
            "log_level",
            "at debug, clients can fill the disk with lines",
            "set info",
        )


# The machine


def _folder(settings: Settings, around: Surroundings) -> Iterator[Finding]:
    for one in find_exposures(settings.data_dir, around.user):
        yield Finding("data_dir", f"{one.path}: {one.fault}", one.do)
    yield from _file_system(around.file_system)


def _file_system(name: str) -> Iterator[Finding]:
    if name in _VOLATILE:
        yield Finding("data_dir", f"it is in memory ({name})", "name a folder on a disk")
    elif name == "overlay":
        yield Finding(
            "data_dir",
            "it is in the container's own layer, and is gone with the container",
            "mount a volume there",
        )
    elif name in _REMOTE:
        yield Finding(
            "data_dir",
            f"it is on another machine ({name}), where SQLite's locks and fsync may not hold",
            "name a folder on a disk of this machine",
        )


def _machine(settings: Settings, around: Surroundings) -> Iterator[Finding]:
    if around.user == 0:
        yield Finding(
            "root", "it runs as root", "run the server, and this command, as a user of its own"
        )
    if around.umask is not None and around.umask & 0o022 != 0o022:
        yield Finding(
            "umask",
            f"others may write to files that features make (umask {around.umask:04o})",
            "set umask 0077, in a unit of systemd UMask=0077",
        )
    needed = settings.max_connections + MOST_RESERVE
    if around.descriptors < needed:
        yield Finding(
            "open_files",
            f"at most {around.descriptors} files may be open, and max_connections needs {needed}",
            "raise the limit (ulimit -Hn, LimitNOFILE, docker run --ulimit), or lower "
            "max_connections",
        )
    for told in around.unknown_variables:
        yield Finding("environment", told.rstrip("."), "correct its name, or remove it")


_RULES: Final[tuple[Callable[[Settings], Iterator[Finding]], ...]] = (
    *(_network, _tls, _proxies, _origins, _secrets, _limits),
)
