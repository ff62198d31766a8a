"""The page at `/`: the web app, or else a page that says that the server runs."""

import base64
import hashlib
import html
import re
from string import Template
from typing import Final

from aiohttp import hdrs, web

from app.auth.peer import Peer
from app.requests.route import LOGIN, SOCKET, Route
from app.requests.rules import OPEN
from app.web.pages import PAGES, index_response

_STYLE: Final = """
:root { color-scheme: light dark; --ink: #1c2430; --paper: #f6f7f9; --card: #fff; --soft: #5b6675;
  --line: #e1e5ea; --accent: #0b7a5b; }
@media (prefers-color-scheme: dark) { :root { --ink: #e7ebf0; --paper: #12161c; --card: #1a2029;
  --soft: #97a3b3; --line: #2a323d; --accent: #43c59e; } }
* { box-sizing: border-box; }
body { margin: 0; min-height: 100vh; display: grid; place-items: center; padding: 2rem 1rem;
  background: var(--paper); color: var(--ink); font: 16px/1.6 system-ui, sans-serif; }
main { width: 100%; max-width: 40rem; padding: 2.5rem; background: var(--card);
  border: 1px solid var(--line); border-radius: 1rem; }
h1 { margin: 0; font-size: 1.75rem; letter-spacing: -0.02em; }
h2 { margin: 2rem 0 0.5rem; font-size: 0.8rem; letter-spacing: 0.08em; text-transform: uppercase;
  color: var(--soft); }
p { margin: 0.5rem 0; }
.state { color: var(--accent); font-weight: 600; }
.state::before { content: ""; display: inline-block; width: 0.6rem; height: 0.6rem;
  margin-right: 0.5rem; border-radius: 50%; background: currentColor; }
code, pre { font: 0.875rem/1.6 ui-monospace, monospace; }
pre { margin: 0.5rem 0; padding: 0.9rem 1rem; overflow-x: auto; background: var(--paper);
  border: 1px solid var(--line); border-radius: 0.6rem; }
"""

_PAGE: Final = Template("""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Switchboard</title>
<style>$style</style>
</head>
<body>
<main>
<h1>Switchboard</h1>
<p class="state">The server is running.</p>
<p>It connects the devices of its users: what one sends, the others get at once.</p>
<h2>The socket</h2>
<pre>$socket</pre>
$app<h2>Add a user, sign in</h2>
<pre>./scripts/switchboard users add HANDLE
POST $login
{"user_handle": "…", "password": "…", "device_uuid": "…", "device_type": "web"}</pre>
<p>The answer has a token for <code>Authorization: Bearer …</code>, and a cookie for browsers.</p>
<h2>Read on</h2>
<p>In the source: <code>README.md</code> is a tour with two devices, <code>docs/protocol.md</code>
the wire for authors of clients, <code>docs/operations.md</code> how to run it.</p>
</main>
</body>
</html>
""")

_NOT_BUILT: Final = """<h2>The web app is not built yet</h2>
<pre>./scripts/build</pre>
<p>builds it; then start the server again. <code>./scripts/serve</code> does both. It needs Node
20.19 or newer.</p>
"""

_STYLE_HASH: Final = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()

HEADERS: Final = {
    "Content-Security-Policy": (
        f"default-src 'none'; style-src 'sha256-{_STYLE_HASH}'; base-uri 'none'; "
        "form-action 'none'; frame-ancestors 'none'"
    ),
    hdrs.CACHE_CONTROL: "no-store",
}

# A host name, an IPv4 address or an IPv6 address in brackets, with or without a port.
_HOST: Final = re.compile(r"[A-Za-z0-9.:_\[\]-]{1,255}")


async def index(request: web.Request, peer: Peer) -> web.Response:
    """Answer with the web app; where there is none, with a page that loads and runs nothing."""
    pages = request.app[PAGES]
    if pages.index is not None:
        return index_response(request, pages.index)
    page = _PAGE.substitute(
        style=_STYLE,
        app="" if pages.is_off else _NOT_BUILT,
        socket=html.escape(_socket_url(peer)),
        login=LOGIN,
    )
    return web.Response(text=page, content_type="text/html", headers=HEADERS)


def _socket_url(peer: Peer) -> str:
    if not _HOST.fullmatch(peer.host):
        return SOCKET
    return f"{'wss' if peer.scheme == 'https' else 'ws'}://{peer.host}{SOCKET}"


ROUTES: Final[tuple[Route, ...]] = (
    Route(
        method="GET",
        path="/",
        handler=OPEN.before(index),
        tag="Server",
        summary="The web app, or a page that says that the server runs",
        media="text/html",
    ),
)
