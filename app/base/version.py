"""The version that the server tells its peers: the one in pyproject.toml."""

from typing import Final

VERSION: Final = "0.1.0"
