"""The web app as `scripts/build` made it, and the client library as it is in the source."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from aiohttp import hdrs, web

from app.base.errors import SettingsError
from app.web.assets import Asset, TooLarge, asset_response, load_assets
from app.web.headers import APP_HEADERS

FRONTEND: Final = Path(__file__).parents[2] / "frontend"
INDEX_NAME: Final = "index.html"

# The build puts a hash of the content into these names: what one of them holds never changes.
_HASHED: Final = "/assets/"
_CLIENT: Final = "/client/"
_FOR_EVER: Final[dict[str, str]] = {hdrs.CACHE_CONTROL: "public, max-age=31536000, immutable"}
_ASK_AGAIN: Final[dict[str, str]] = {hdrs.CACHE_CONTROL: "no-cache"}
# Pages of every origin may load the library; the server decides what it may do then.
_FOR_ALL: Final[dict[str, str]] = {**_ASK_AGAIN, hdrs.ACCESS_CONTROL_ALLOW_ORIGIN: "*"}

# Paths that begin with one of these are the server's, not pages of the app.
_NO_PAGES: Final = frozenset({"v1", "health", "ready", "metrics", "client", "assets"})


@dataclass(frozen=True, slots=True)
class Pages:
    """The files at their paths; without `index.html` there is no web app."""

    app: Mapping[str, Asset] = field(default_factory=dict)
    client: Mapping[str, Asset] = field(default_factory=dict)
    is_off: bool = False

    @classmethod
    def load(cls, web_app: str) -> "Pages":
        """Read the web app that this setting names, and the client library, into memory.

        Raises SettingsError when the setting names a folder without a built app.
        """
        return cls(_load_app(web_app), load_assets(FRONTEND / "client", "*.js"), web_app == "off")

    @property
    def index(self) -> Asset | None:
        """The page that a browser loads at every path of the app."""
        return self.app.get(INDEX_NAME)

    def find(self, path: str) -> tuple[Asset, Mapping[str, str]] | None:
        """Return the file at this path and its headers; None if there is none."""
        if path.startswith(_CLIENT):
            asset = self.client.get(path.removeprefix(_CLIENT))
            return (asset, _FOR_ALL) if asset else None
        asset = self.app.get(path.removeprefix("/"))
        if asset is None or asset is self.index:
            return None
        return asset, _FOR_EVER if path.startswith(_HASHED) else _ASK_AGAIN


PAGES: Final = web.AppKey("pages", Pages)


def index_response(request: web.Request, index: Asset) -> web.Response:
    """Return the page of the app, for which the browser asks anew each time."""
    return asset_response(request, index, {**APP_HEADERS, **_ASK_AGAIN})


def page_or_file(request: web.Request) -> web.Response | None:
    """Return the file at the path of the request, or the app's page; None if there is neither.

    Raises 405 for a method that does not read.
    """
    pages = request.app[PAGES]
    found = pages.find(request.path)
    reads = request.method in (hdrs.METH_GET, hdrs.METH_HEAD)
    if found is not None:
        if not reads:
            raise web.HTTPMethodNotAllowed(request.method, (hdrs.METH_GET, hdrs.METH_HEAD))
        return asset_response(request, *found)
    if reads and pages.index is not None and _loads_a_page(request):
        return index_response(request, pages.index)
    return None


def _loads_a_page(request: web.Request) -> bool:
    """Tell whether a browser opens a path that the app may have a page for."""
    accepted = ",".join(request.headers.getall(hdrs.ACCEPT, ())).lower()
    first = request.path.removeprefix("/").partition("/")[0]
    return "text/html" in accepted and "." not in request.path and first not in _NO_PAGES


def _load_app(web_app: str) -> dict[str, Asset]:
    if web_app == "off":
        return {}
    folder = FRONTEND / "dist" if web_app == "auto" else Path(web_app)
    try:
        if not (folder / INDEX_NAME).is_file() and web_app != "auto":
            raise SettingsError([f"web_app: {folder} has no {INDEX_NAME}; scripts/build makes it."])
        return load_assets(folder, "**/*")
    except TooLarge:
        raise SettingsError([f"web_app: {folder} is too large to be the built app."]) from None
    except OSError as error:
        raise SettingsError([f"web_app: {folder} cannot be read: {error.strerror}."]) from None
