"""A page of the server's own origin that keeps its JWT in the cookie, as web apps with OIDC do."""

import outside
import pytest

from tests.browser.conftest import NewProfile, StartServer
from tests.process.server import ServerProcess

KEEP = "(token) => { document.cookie = `session_token=${token}; Path=/; SameSite=Lax`; }"
SIGN_OUT = "() => fetch('/v1/auth/logout', { method: 'POST' }).then((answer) => answer.status)"


@pytest.fixture(scope="module")
def server(start_server: StartServer) -> ServerProcess:
    return start_server(**outside.SETTINGS)


def test_it_is_signed_in_by_the_cookie_and_signing_out_removes_it(
    profile: NewProfile, server: ServerProcess
) -> None:
    tab = profile(server).open()
    tab.asks_to_sign_in()
    tab.page.evaluate(KEEP, outside.token("eve"))
    tab.page.reload()
    tab.has_status("connected")
    assert tab.page.evaluate(SIGN_OUT) == 200
    assert tab.page.evaluate("() => document.cookie") == ""
    tab.asks_to_sign_in()
