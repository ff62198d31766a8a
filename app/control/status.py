"""The command that asks where the running server is reached."""

from pathlib import Path
from typing import Final

from app.control.command import Command, NoArguments, Offline, Result


class Status(Result):
    """Where the running server is reached, and the certificate it shows there."""

    url: str
    certificate: Path | None = None


STATUS: Final = Command[NoArguments, Status]("status", NoArguments, Status, offline=Offline.NEVER)
