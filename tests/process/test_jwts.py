"""JWTs and a server that is killed."""

import signal

import outside

from tests.process.conftest import Start


async def test_a_jwt_that_signed_out_stays_refused_after_a_kill(start: Start) -> None:
    server = start(**outside.SETTINGS)
    gone, kept = outside.token(device_id=None), outside.token(device_id=None, jti="2")
    for token in (gone, kept):
        assert server.get("/v1/auth/session", {"Authorization": token})[0] == 200
    # The form of older clients, which this process's client can send.
    assert server.get("/v1/auth/logout", {"Authorization": gone})[0] == 200
    server.signal(signal.SIGKILL)
    await server.status()
    again = start(**outside.SETTINGS)
    assert again.get("/v1/auth/session", {"Authorization": gone})[0] == 401
    assert again.get("/v1/auth/session", {"Authorization": kept})[0] == 200
