"""Opaque tokens: random, and stored only as a hash."""

import hashlib
import secrets

TOKEN_BYTES = 32
TOKEN_LENGTH = 43
"""Characters of a token: 256 bits in base64 without padding. Never a dot, as JWTs have."""


def new_token() -> str:
    """Return a token that nobody can guess."""
    return secrets.token_urlsafe(TOKEN_BYTES)


def hash_token(token: str) -> bytes:
    """Return the SHA-256 of a token; without a salt, since 256 random bits need none."""
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()
