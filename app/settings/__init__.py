"""Every limit and choice of the server, with its unit, its range and the reason for its number.

Each module has those of one subject; `Settings` has them all.
"""

from app.settings.effective import (
    ENV_PREFIX,
    OPTIONS,
    Settings,
    load_settings,
    load_usable_settings,
)

__all__ = ["ENV_PREFIX", "OPTIONS", "Settings", "load_settings", "load_usable_settings"]
