"""Users of an application's own accounts, whose JWTs a server takes."""

import time
from typing import Any, Final

import jwt

SECRET: Final = "a secret of the application, long enough"
ISSUER: Final = "https://app.example"
SETTINGS: Final[dict[str, Any]] = {
    "jwt_algorithm": "HS256",
    "jwt_secret": SECRET,
    "jwt_issuer": ISSUER,
    "jwt_audience": "switchboard",
}


def token(sub: str = "customer-7", **claims: Any) -> str:
    """Return a JWT of the user, issued a second ago for an hour; None leaves a claim out."""
    now = int(time.time())
    given = {
        "iss": ISSUER,
        "aud": SETTINGS["jwt_audience"],
        "sub": sub,
        "iat": now - 1,
        "exp": now + 3600,
        "device_id": "outside-0001",
        **claims,
    }
    payload = {name: value for name, value in given.items() if value is not None}
    return jwt.encode(payload, SECRET, algorithm="HS256")
