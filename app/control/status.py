"""The command that asks a server where it is."""

from pathlib import Path

from app.base.errors import NoServer
from app.control.operations import NO_SERVER, Command, Offline, Operations, Result
from app.control.users import NoArguments


class Status(Result):
    """Where the running server is reached, and the certificate it shows there."""

    url: str
    certificate: Path | None = None


async def _status(operations: Operations, _: NoArguments) -> Status:
    if operations.url is None:
        raise NoServer(NO_SERVER)
    certificate = operations.settings.tls_cert
    return Status(url=operations.url, certificate=certificate and certificate.absolute())


STATUS = Command("status", NoArguments, Status, _status, offline=Offline.NEVER)
