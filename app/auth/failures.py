"""The log's line for each sign-in that fails."""

import logging
from dataclasses import dataclass

from app.base.errors import Problem
from app.base.foreign import handle_shown
from app.base.logs import fields
from app.base.storms import at_most
from app.storage.users import User

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Source:
    """Where a password was shown: the address, and the network by which the lines are bounded.

    `known` is the handle of the account, if it is known to exist before anybody asks the database.
    """

    address: str
    network: str
    known: str | None = None


def tell(problem: Problem, user: User | None, source: Source) -> None:
    """Log that a sign-in failed. `user` is whose handle was shown, None if there is no such user.

    What was typed as the handle of nobody stays out of the log: it may be a password, in the wrong
    field.
    """
    handle = user.name if user is not None else source.known
    extra = fields(
        reason=_reason(problem, user),
        user=user.id if user is not None else None,
        handle=handle_shown(handle),
        address=source.address,
    )
    log.info("sign-in failed", extra=extra | at_most(source.network))


def _reason(problem: Problem, user: User | None) -> str:
    if problem.code != "invalid_credentials":
        return problem.code
    if user is None:
        return "unknown_user"
    if not user.active:
        return "disabled"
    return "wrong_password" if user.password_hash is not None else "no_password"
