"""Files that browsers load, held in memory: content type, compressed form, headers."""

import gzip
import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from aiohttp import hdrs, web

MAX_BYTES: Final = 16 * 1024 * 1024
"""Of all files of a folder together. Our app has less than 1 MiB, so more is some other folder."""

# Python's own table includes the machine's, which differs from machine to machine.
_TYPES: Final = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".ico": "image/x-icon",
    ".js": "text/javascript; charset=utf-8",
    ".json": "application/json",
    ".png": "image/png",
    ".svg": "image/svg+xml",
    ".txt": "text/plain; charset=utf-8",
    ".webmanifest": "application/manifest+json",
    ".woff2": "font/woff2",
}
_PACKED_ALREADY: Final = frozenset({".ico", ".png", ".woff2"})


class TooLarge(Exception):
    """The files of a folder are together larger than MAX_BYTES."""


@dataclass(frozen=True, slots=True)
class Asset:
    """One file; `zipped` is its body in gzip, where that is shorter."""

    content_type: str
    tag: str
    body: bytes
    zipped: bytes | None


def load_assets(folder: Path, pattern: str) -> dict[str, Asset]:
    """Return the files of a known kind that match the pattern in the folder, by their path there.

    Raises TooLarge, and OSError when a file cannot be read.
    """
    paths = [
        path
        for path in sorted(folder.glob(pattern))
        if path.suffix in _TYPES and path.is_file() and not path.name.startswith(".")
    ]
    if sum(path.stat().st_size for path in paths) > MAX_BYTES:
        raise TooLarge
    return {path.relative_to(folder).as_posix(): _read(path) for path in paths}


def _read(path: Path) -> Asset:
    body = path.read_bytes()
    zipped = None if path.suffix in _PACKED_ALREADY else gzip.compress(body, mtime=0)
    return Asset(
        content_type=_TYPES[path.suffix],
        tag=hashlib.sha256(body).hexdigest()[:32],
        body=body,
        zipped=zipped if zipped is not None and len(zipped) < len(body) else None,
    )


def asset_response(request: web.Request, asset: Asset, headers: Mapping[str, str]) -> web.Response:
    """Return the file in a coding that the browser takes, or 304 when it has the file already."""
    zipped = asset.zipped if _takes_gzip(request.headers.getall(hdrs.ACCEPT_ENCODING, ())) else None
    # Two forms of one file are two representations, so each has a tag of its own.
    tag = asset.tag if zipped is None else f"{asset.tag}-gzip"
    sent = {**headers, hdrs.ETAG: f'"{tag}"', hdrs.VARY: hdrs.ACCEPT_ENCODING}
    if any(known.value in ("*", tag) for known in request.if_none_match or ()):
        return web.Response(status=304, headers=sent)
    sent[hdrs.CONTENT_TYPE] = asset.content_type
    if zipped is None:
        return web.Response(body=asset.body, headers=sent)
    return web.Response(body=zipped, headers={**sent, hdrs.CONTENT_ENCODING: "gzip"})


def _takes_gzip(values: Iterable[str]) -> bool:
    """Tell whether these values of Accept-Encoding name gzip and do not refuse it (`q=0`)."""
    for coding in ",".join(values).lower().split(","):
        name, _, weight = coding.partition(";")
        if name.strip() == "gzip":
            return weight.replace(" ", "").rstrip("0.") != "q="
    return False
