"""What requests of administrators may carry."""

from typing import Any, Final

from pydantic import Field

from app.protocol.messages import MAX_TYPE_LENGTH
from app.web.bodies import SECRET_LENGTH, Body

TEST_TYPE: Final = "test.message"

_MADE: Final = "Made by the server if it is left out."


class NewUserBody(Body):
    """POST /v1/admin/users."""

    user_handle: str = Field(max_length=256)
    password: str | None = Field(None, max_length=SECRET_LENGTH, repr=False, description=_MADE)
    admin: bool | None = Field(None, description="Whether the user is an administrator.")


class UserChangeBody(Body):
    """PATCH /v1/admin/users/{id}; what is left out, or null, stays."""

    disabled: bool | None = Field(None, description="A disabled user may not act.")
    admin: bool | None = Field(None, description="Whether the user is an administrator.")


class NewPasswordBody(Body):
    """POST /v1/admin/users/{id}/password."""

    new_password: str | None = Field(None, max_length=SECRET_LENGTH, repr=False, description=_MADE)


class OneMessageBody(Body):
    """POST /v1/admin/connections/{id}/messages."""

    type: str = Field(TEST_TYPE, json_schema_extra={"maxLength": MAX_TYPE_LENGTH})
    payload: Any = Field(None, description="Any JSON; null if it is left out.")
