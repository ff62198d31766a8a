"""What lies where in a data folder, and how a path too long for a socket address is reached."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from os import fsencode
from pathlib import Path

SOCKET_NAME = "control.sock"
DATABASE_NAME = "switchboard.db"

# sockaddr_un holds 108 bytes on Linux and 104 on macOS and the BSDs, a final NUL among them.
_MAX_PATH_BYTES = 103


@contextmanager
def short_path(path: Path) -> Iterator[str]:
    """Give a name of `path` that fits into a socket address, valid inside the block.

    A folder too deep for that is reached through a symbolic link in the temporary folder.
    """
    if len(fsencode(path)) <= _MAX_PATH_BYTES:
        yield str(path)
        return
    with tempfile.TemporaryDirectory(prefix="switchboard-") as folder:
        link = Path(folder) / "d"
        link.symlink_to(path.parent.absolute(), target_is_directory=True)
        yield str(link / path.name)
