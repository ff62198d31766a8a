"""What the command does that asks where the running server is reached."""

from typing import Final

from app.base.errors import NoServer
from app.control.actions.action import Action
from app.control.command import NO_SERVER, NoArguments
from app.control.operations import Operations
from app.control.status import STATUS, Status


async def _status(operations: Operations, _: NoArguments) -> Status:
    if operations.url is None:
        raise NoServer(NO_SERVER)
    certificate = operations.settings.tls_cert
    return Status(url=operations.url, certificate=certificate and certificate.absolute())


ACTIONS: Final = (Action(STATUS, _status),)
