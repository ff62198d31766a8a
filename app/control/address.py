"""Where the control socket is."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

SOCKET_NAME: Final = "control.sock"
"""In the data folder."""

# sockaddr_un holds 108 bytes on Linux and 104 on macOS and the BSDs, a final NUL among them.
_MAX_PATH_BYTES: Final = 103


@contextmanager
def short_path(path: Path) -> Iterator[str]:
    """Give a name of `path` that fits into a socket address, valid inside the block.

    A folder too deep for that is reached through a symbolic link in the temporary folder.
    """
    if len(os.fsencode(path)) <= _MAX_PATH_BYTES:
        yield str(path)
        return
    with tempfile.TemporaryDirectory(prefix="switchboard-") as folder:
        link = Path(folder) / "d"
        link.symlink_to(path.parent.absolute(), target_is_directory=True)
        yield str(link / path.name)
