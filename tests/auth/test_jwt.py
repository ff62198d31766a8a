"""Tokens of the operator's application."""

import base64
import json
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from app.auth.jwt import Claims, InvalidJwt, JwtVerifier
from app.auth.tokens import hash_jwt
from app.base.errors import SettingsError
from app.settings import Settings
from app.storage.devices import DeviceInfo
from tests.auth.house import DAY, JWT_SECRET, JWT_SETTINGS, NOON, FakeClock

PrivateKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey

CLAIMS: dict[str, Any] = {
    "iss": "https://app.example",
    "aud": "switchboard",
    "sub": "customer-7",
    "iat": NOON,
    "exp": NOON + 60,
}


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def verifier(clock: FakeClock) -> JwtVerifier:
    made = JwtVerifier.from_settings(Settings(**JWT_SETTINGS), clock)
    assert made is not None
    return made


def token(key: Any = JWT_SECRET, algorithm: str | None = "HS256", **changes: Any) -> str:
    payload = {name: value for name, value in {**CLAIMS, **changes}.items() if value is not None}
    return jwt.encode(payload, key, algorithm=algorithm)


def refusal(verifier: JwtVerifier, text: str) -> InvalidJwt:
    with pytest.raises(InvalidJwt) as caught:
        verifier.verify(text)
    return caught.value


def pem(key: PrivateKey) -> bytes:
    return key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def from_file(path: Path, content: bytes, algorithm: str) -> JwtVerifier | None:
    path.write_bytes(content)
    options = {**JWT_SETTINGS, "jwt_secret": None, "jwt_algorithm": algorithm}
    return JwtVerifier.from_settings(Settings(**options, jwt_key_file=path), FakeClock())


def test_without_an_algorithm_there_are_no_jwts() -> None:
    assert JwtVerifier.from_settings(Settings()) is None


def test_a_token_says_whose_it_is(verifier: JwtVerifier) -> None:
    assert verifier.verify(token()) == Claims(
        "https://app.example", "customer-7", NOON, NOON + 60, hash_jwt(token())
    )


def test_a_token_may_name_a_device(verifier: JwtVerifier) -> None:
    claims = verifier.verify(
        token(device_id="phone-0001", device_type="IOS", device_name=" Ada's ", os_info="17")
    )
    assert claims.device == DeviceInfo("phone-0001", "ios", "Ada's", "17")
    assert claims.device_uuid == "phone-0001"


@pytest.mark.parametrize("exp", [NOON + 60.0, NOON + 59.5])
def test_a_time_may_have_a_fraction(verifier: JwtVerifier, exp: float) -> None:
    assert verifier.verify(token(iat=float(NOON), exp=exp)).exp == exp


@pytest.mark.parametrize("claim", ["iss", "aud", "sub", "iat", "exp"])
def test_each_pinned_claim_is_required(verifier: JwtVerifier, claim: str) -> None:
    assert refusal(verifier, token(JWT_SECRET, "HS256", **{claim: None})).final


@pytest.mark.parametrize(
    "changes",
    [
        {"iss": "https://evil.example"},
        {"aud": "another"},
        {"aud": ["another"]},
        {"sub": ""},
        {"sub": "x" * 256},
        {"sub": "\ud800"},
        {"iat": True},
        {"iat": "1"},
        {"exp": True},
        {"exp": str(NOON + 60)},
        {"exp": 10**400},
        {"exp": float("inf")},
        {"exp": float("nan")},
        {"exp": [1]},
        {"device_id": "short"},
        {"device_id": 7},
        {"device_id": "phone-0001", "device_name": 7},
        {"device_id": "phone-0001", "device_type": ["web"]},
    ],
)
def test_a_claim_of_another_value_or_type_is_refused(
    verifier: JwtVerifier, changes: dict[str, Any]
) -> None:
    assert refusal(verifier, token(**changes)).final


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (token(iss="https://evil.example"), "iss"),
        (token(aud="another"), "aud"),
        (token(exp=None), "exp is missing"),
        (token(iat="1"), "iat"),
        (token(sub=""), "sub"),
        (token(exp=NOON), "expired"),
        (token(exp=NOON + 401 * DAY), "life above jwt_max_life_days"),
        (token(iat=NOON + 31), "iat is in the future"),
        (token(nbf=NOON + 1), "nbf is in the future"),
        (token(device_id="short"), "device claims"),
        (token(key="another secret of the same length, maybe"), "signature"),
        (token(algorithm="HS512", key="x" * 64), "alg"),
        ("a.b.c", "malformed"),
        ("a" * 9000, "too long"),
    ],
)
def test_who_integrates_is_told_what_does_not_fit(
    verifier: JwtVerifier, text: str, reason: str
) -> None:
    assert refusal(verifier, text).reason == reason


def test_one_of_several_audiences_is_enough(verifier: JwtVerifier) -> None:
    assert verifier.verify(token(aud=["another", "switchboard"])).sub == "customer-7"


def test_a_token_ends_at_exp_without_grace(verifier: JwtVerifier, clock: FakeClock) -> None:
    text = token()
    clock.advance(59.9)
    verifier.verify(text)
    clock.advance(0.1)
    assert refusal(verifier, text).final


@pytest.mark.parametrize("days", [0.5, 400])
def test_a_token_may_not_live_longer_than_the_setting_allows(clock: FakeClock, days: float) -> None:
    verifier = JwtVerifier.from_settings(Settings(**JWT_SETTINGS, jwt_max_life_days=days), clock)
    assert verifier is not None
    verifier.verify(token(exp=NOON + days * DAY))
    assert refusal(verifier, token(exp=NOON + days * DAY + 1)).final
    # Its life counts from `iat`, not from its first use.
    assert refusal(verifier, token(iat=NOON - 2, exp=NOON + days * DAY - 1)).final


def test_a_clock_may_be_ahead_by_30_seconds(verifier: JwtVerifier) -> None:
    verifier.verify(token(iat=NOON + 30))
    assert not refusal(verifier, token(iat=NOON + 31)).final


def test_a_token_for_later_is_not_refused_for_ever(verifier: JwtVerifier) -> None:
    verifier.verify(token(nbf=NOON))
    assert not refusal(verifier, token(nbf=NOON + 1)).final


def test_another_key_is_refused(verifier: JwtVerifier) -> None:
    refusal(verifier, token(key="another secret of the same length, maybe"))


def test_another_algorithm_is_refused_even_with_the_right_key(verifier: JwtVerifier) -> None:
    refusal(verifier, token(key=JWT_SECRET * 2, algorithm="HS512"))


def test_a_token_without_a_signature_is_refused(verifier: JwtVerifier) -> None:
    refusal(verifier, token(None, "none"))


def test_a_public_key_is_never_taken_for_a_secret(tmp_path: Path) -> None:
    key = rsa.generate_private_key(65537, 2048)
    verifier = from_file(tmp_path / "key.pem", pem(key), "RS256")
    assert verifier is not None
    header, payload = (
        base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode()
        for part in ({"alg": "HS256", "typ": "JWT"}, CLAIMS)
    )
    signing_input = f"{header}.{payload}".encode()
    hmac_key = jwt.algorithms.HMACAlgorithm(jwt.algorithms.HMACAlgorithm.SHA256)
    signature = base64.urlsafe_b64encode(hmac_key.sign(signing_input, pem(key))).rstrip(b"=")
    refusal(verifier, f"{header}.{payload}.{signature.decode()}")
    assert verifier.verify(token(key, "RS256")).sub == "customer-7"


@pytest.mark.parametrize("text", ["..", "a.b.c", "a.b", "x" * 20, "é.é.é", "\ud800.a.b"])
def test_garbage_is_refused(verifier: JwtVerifier, text: str) -> None:
    assert refusal(verifier, text).final


def test_a_token_over_8_kib_is_refused_unread(verifier: JwtVerifier) -> None:
    refusal(verifier, token(padding="x" * 8192))


def test_es256_with_a_key_file(tmp_path: Path) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    verifier = from_file(tmp_path / "key.pem", pem(key), "ES256")
    assert verifier is not None
    assert verifier.verify(token(key, "ES256")).sub == "customer-7"


@pytest.mark.parametrize("algorithm", ["RS256", "ES256"])
@pytest.mark.parametrize("kind", ["small rsa", "p-384", "private", "no pem"])
def test_a_key_that_does_not_fit_is_refused_at_start(
    tmp_path: Path, algorithm: str, kind: str
) -> None:
    curve = ec.generate_private_key(ec.SECP384R1())
    content = {
        "small rsa": pem(rsa.generate_private_key(65537, 1024)),
        "p-384": pem(curve),
        "private": curve.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()),
        "no pem": b"hello",
    }[kind]
    with pytest.raises(SettingsError, match="jwt_key_file is not a"):
        from_file(tmp_path / "key.pem", content, algorithm)


def test_a_key_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    options = {**JWT_SETTINGS, "jwt_secret": None, "jwt_algorithm": "RS256"}
    with pytest.raises(SettingsError, match="cannot be read"):
        JwtVerifier.from_settings(Settings(**options, jwt_key_file=tmp_path / "no.pem"))
