"""The version that the server tells its peers; pyproject.toml says the same."""

from typing import Final

VERSION: Final = "0.1.0"
