"""Our command line with a server that removes old rows every second, as if a minute were an hour.

python -m scripts.faults.hastened serve …
"""

import importlib
import sys
from typing import Any, Final

PRUNE_SECONDS: Final = 1.0


def hasten() -> None:
    """Have rows removed every second from now on."""
    maintenance: Any = importlib.import_module("app.streams.maintenance")
    maintenance.PRUNE_SECONDS = PRUNE_SECONDS


if __name__ == "__main__":
    hasten()
    sys.argv[0] = "app"
    importlib.import_module("app.cli.main").main()
