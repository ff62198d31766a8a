"""The houses of tests/auth: who asks is told by accounts and sessions."""

from tests.auth.conftest import build, house

__all__ = ["build", "house"]
