"""Whether a page may talk to this server."""

import pytest

from app.auth.origin import OriginVerdict, origin_verdict

ALLOWED = ("https://app.example", "http://localhost:5173")


@pytest.mark.parametrize(
    ("origin", "host", "verdict"),
    [
        (None, "sb.example", "absent"),
        ("https://sb.example", "sb.example", "same"),
        ("http://sb.example", "sb.example", "same"),
        ("https://SB.example", "sb.EXAMPLE", "same"),
        ("https://sb.example", "sb.example:443", "same"),
        ("https://sb.example:443", "sb.example", "same"),
        ("http://sb.example", "sb.example:80", "same"),
        ("http://127.0.0.1:8080", "127.0.0.1:8080", "same"),
        ("https://[2001:db8::1]:8443", "[2001:DB8::1]:8443", "same"),
        ("https://sb.example", "sb.example:80", "refused"),
        ("http://sb.example", "sb.example:443", "refused"),
        ("https://sb.example:8443", "sb.example", "refused"),
        ("https://sb.example", "sb.example:8443", "refused"),
        ("https://evil.example", "sb.example", "refused"),
        ("https://sb.example.evil.example", "sb.example", "refused"),
        ("https://evil-sb.example", "sb.example", "refused"),
        ("https://app.example", "sb.example", "allowed"),
        ("https://APP.example:443", "sb.example", "allowed"),
        ("http://localhost:5173", "sb.example", "allowed"),
        ("http://app.example", "sb.example", "refused"),
        ("https://app.example:8443", "sb.example", "refused"),
        ("http://localhost", "sb.example", "refused"),
        ("null", "sb.example", "refused"),
        ("null", "null", "refused"),
        ("", "", "refused"),
        ("https://", "", "refused"),
        ("file://", "sb.example", "refused"),
        ("chrome-extension://sb.example", "sb.example", "refused"),
        ("https://sb.example/", "sb.example", "refused"),
        ("https://sb.example https://app.example", "sb.example", "refused"),
        ("https://user@sb.example", "sb.example", "refused"),
        ("https://sb.example:", "sb.example", "refused"),
        ("https://sb.example:443x", "sb.example", "refused"),
        ("https://sb.example\n", "sb.example", "refused"),
        ("https://sb.example", "", "refused"),
        ("https://a,b", "sb.example", "refused"),
    ],
)
def test_an_origin_is(origin: str | None, host: str, verdict: OriginVerdict) -> None:
    assert origin_verdict(origin, host, ALLOWED) == verdict
