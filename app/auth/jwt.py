"""JWTs of the operator's application (RFC 7519), of one issuer, audience and algorithm."""

import math
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

import jwt
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from app.auth.names import clean_device
from app.auth.tokens import hash_jwt
from app.base.clock import WALL, Clock
from app.base.errors import Problem, SettingsError
from app.settings import Settings
from app.storage.devices import DeviceInfo

MAX_JWT_BYTES = 8192
# How far two machines' clocks may differ. For `iat` alone: `exp` is a promise to end.
IAT_LEEWAY_SECONDS = 30
MAX_SUBJECT_LENGTH = 255
# RFC 7518, section 3.3, forbids shorter keys.
MIN_RSA_BITS = 2048

Key = str | RSAPublicKey | EllipticCurvePublicKey


class InvalidJwt(Exception):
    """A token that is not valid now.

    `reason` is safe to log: it quotes nothing of the token. A fault that is not `final` passes with
    time.
    """

    def __init__(self, reason: str, *, final: bool = True) -> None:
        self.reason = reason
        self.final = final
        super().__init__(f"invalid JWT: {reason}")


@dataclass(frozen=True, slots=True)
class Claims:
    """The claims of a valid token; `iat` and `exp` are seconds since the epoch."""

    iss: str
    sub: str
    iat: float
    exp: float
    jwt_hash: bytes
    """What `hash_jwt` returns for the token."""
    device: DeviceInfo | None = None
    """From the claims device_id (our device_uuid), device_type, device_name, os_info."""

    @property
    def device_uuid(self) -> str | None:
        return None if self.device is None else self.device.device_uuid


class JwtVerifier:
    """Verifies tokens of one issuer, for one audience, with one key and algorithm."""

    def __init__(
        self,
        *,
        algorithm: str,
        key: Key,
        issuer: str,
        audience: str,
        max_life: float,
        clock: Clock = WALL,
    ) -> None:
        """`max_life` is the longest time from `iat` to `exp`, in seconds."""
        self.issuer = issuer
        self._algorithm = algorithm
        self._key = key
        self._audience = audience
        self._max_life = max_life
        self._clock = clock

    @classmethod
    def from_settings(cls, settings: Settings, clock: Clock = WALL) -> "JwtVerifier | None":
        """Return the verifier that the settings describe; None if JWTs are off.

        Raises SettingsError if the key file cannot be used.
        """
        algorithm = settings.jwt_algorithm
        if algorithm is None or settings.jwt_issuer is None or settings.jwt_audience is None:
            return None
        key: Key
        if settings.jwt_secret is not None:
            key = settings.jwt_secret.get_secret_value()
        elif settings.jwt_key_file is not None:
            key = _public_key(settings.jwt_key_file, algorithm)
        else:
            return None
        return cls(
            algorithm=algorithm,
            key=key,
            issuer=settings.jwt_issuer,
            audience=settings.jwt_audience,
            max_life=timedelta(days=settings.jwt_max_life_days).total_seconds(),
            clock=clock,
        )

    def verify(self, token: str) -> Claims:
        """Return the claims of a token that is valid now; raises InvalidJwt for any other."""
        if len(token) > MAX_JWT_BYTES:
            raise InvalidJwt("too long")
        return self._in_time(_claims(self._decode(token), hash_jwt(token)))

    def _decode(self, token: str) -> dict[str, Any]:
        try:
            return jwt.decode(
                token,
                self._key,
                algorithms=[self._algorithm],
                issuer=self.issuer,
                audience=self._audience,
                options={
                    "require": ["iss", "sub", "aud", "iat", "exp"],
                    # Checked in `_in_time`, by the verifier's clock and with a leeway each.
                    "verify_exp": False,
                    "verify_iat": False,
                    "verify_nbf": False,
                },
            )
        except (jwt.PyJWTError, ValueError, TypeError, RecursionError) as error:
            raise InvalidJwt(_reason(error)) from None

    def _in_time(self, claims: tuple[Claims, float]) -> Claims:
        valid, not_before = claims
        # Of another machine's clock. If ours has jumped forward and is right, a new token seems to
        # be of the future by trusted time.
        begun = self._clock.stamp()
        if valid.exp - valid.iat > self._max_life:
            raise InvalidJwt("life above jwt_max_life_days")
        if valid.exp <= self._clock.trusted():
            raise InvalidJwt("expired")
        if valid.iat > begun + IAT_LEEWAY_SECONDS:
            raise InvalidJwt("iat is in the future", final=False)
        if not_before > begun:
            raise InvalidJwt("nbf is in the future", final=False)
        return valid


_REASONS: Final[dict[type[Exception], str]] = {
    jwt.InvalidSignatureError: "signature",
    jwt.InvalidAlgorithmError: "alg",
    jwt.InvalidIssuerError: "iss",
    jwt.InvalidAudienceError: "aud",
    jwt.exceptions.InvalidSubjectError: "sub",
}


def _reason(error: Exception) -> str:
    """Return what is wrong, without quoting the token."""
    if isinstance(error, jwt.MissingRequiredClaimError):
        return f"{error.claim} is missing"
    return _REASONS.get(type(error), "malformed")


def _claims(payload: dict[str, Any], jwt_hash: bytes) -> tuple[Claims, float]:
    """Return the claims and `nbf`; raises InvalidJwt for a claim of a wrong type."""
    iat, exp = _seconds("iat", payload["iat"]), _seconds("exp", payload["exp"])
    sub = payload["sub"]
    if not isinstance(sub, str) or not is_subject(sub):
        raise InvalidJwt("sub")
    claims = Claims(payload["iss"], sub, iat, exp, jwt_hash, device=_device(payload))
    return claims, _seconds("nbf", payload.get("nbf", 0))


def _seconds(claim: str, value: object) -> float:
    """Return a NumericDate (RFC 7519, section 2)."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise InvalidJwt(claim)
    try:
        seconds = float(value)
    except OverflowError:
        raise InvalidJwt(claim) from None
    if not math.isfinite(seconds) or abs(seconds) > 1e12:
        raise InvalidJwt(claim)
    return seconds


def _device(payload: dict[str, Any]) -> DeviceInfo | None:
    uuid = payload.get("device_id")
    if uuid is None:
        return None
    kind, name, os_info = (
        payload.get(claim) for claim in ("device_type", "device_name", "os_info")
    )
    if not isinstance(uuid, str) or not all(
        value is None or isinstance(value, str) for value in (kind, name, os_info)
    ):
        raise InvalidJwt("device claims")
    try:
        return clean_device(
            device_uuid=uuid, device_type=kind or "", device_name=name, os_info=os_info
        )
    except Problem:
        raise InvalidJwt("device claims") from None


def is_subject(text: str) -> bool:
    """Return whether a valid token may have this subject."""
    return 0 < len(text) <= MAX_SUBJECT_LENGTH and _is_text(text)


def _is_text(text: str) -> bool:
    """Return whether UTF-8 can hold the text: JSON lets halves of surrogate pairs through."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _public_key(path: Path, algorithm: str) -> RSAPublicKey | EllipticCurvePublicKey:
    try:
        key = load_pem_public_key(path.read_bytes())
    except OSError as error:
        raise SettingsError([f"jwt_key_file cannot be read: {error.strerror}."]) from None
    except ValueError:
        raise SettingsError(["jwt_key_file is not a PEM public key."]) from None
    if algorithm == "RS256" and isinstance(key, RSAPublicKey) and key.key_size >= MIN_RSA_BITS:
        return key
    if (
        algorithm == "ES256"
        and isinstance(key, EllipticCurvePublicKey)
        and isinstance(key.curve, SECP256R1)
    ):
        return key
    wanted = f"RSA key of at least {MIN_RSA_BITS} bits" if algorithm == "RS256" else "P-256 key"
    raise SettingsError([f"jwt_key_file is not a public {wanted}, as {algorithm} needs."])
