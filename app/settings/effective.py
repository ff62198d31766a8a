"""The effective settings: all of them together, and how they are loaded.

A value comes from a command-line flag, else from the environment (`SWITCHBOARD_` and the field's
name in capitals), else from the default in the module of its subject.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from pydantic import ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from app.base.errors import SettingsError, sentence
from app.base.options import Option, describe, flag_of, unquoted, without_empty
from app.settings.auth import AuthSettings
from app.settings.connections import ConnectionSettings
from app.settings.limits import LimitSettings
from app.settings.server import ServerSettings, StopSettings
from app.settings.streams import StreamSettings

ENV_PREFIX: Final = "SWITCHBOARD_"


# The last base comes first, in `config` and in the table of the docs.
class Settings(
    StopSettings,
    StreamSettings,
    LimitSettings,
    ConnectionSettings,
    AuthSettings,
    ServerSettings,
):
    """The effective configuration; frozen, and valid by construction."""

    model_config = SettingsConfigDict(
        frozen=True,
        env_prefix=ENV_PREFIX,
        extra="forbid",
        hide_input_in_errors=True,
        allow_inf_nan=False,
        defer_build=False,
    )

    @model_validator(mode="before")
    @classmethod
    def _empty_is_unset(cls, values: dict[str, Any]) -> dict[str, Any]:
        return without_empty(OPTIONS, values)

    @field_validator("*", mode="before")
    @classmethod
    def _without_quotes(cls, value: object) -> object:
        return unquoted(value)

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Read flags, then the environment, nothing else, so that `config` can name the source."""
        return init_settings, env_settings


OPTIONS: Final[Mapping[str, Option]] = describe(Settings)
"""Every setting by its name, in the order of their declarations."""


def load_settings(flags: Mapping[str, Any]) -> Settings:
    """Return the effective settings; a flag that is None counts as not given.

    Raises SettingsError with one sentence for each fault; none of them shows a value of a secret.
    """
    try:
        return Settings(**_given(flags))
    except ValidationError as error:
        raise SettingsError([told for _, told in _sentences(error, flags)]) from None


def load_usable_settings(flags: Mapping[str, Any]) -> tuple[Settings, list[tuple[str, str]]]:
    """Return the settings with the defaults of those that are refused, and these with a sentence.

    Of settings that do not go together, all of one kind have their defaults. Raises SettingsError
    for a fault that is of no setting.
    """
    given, refused = _given(flags), dict[str, str]()
    while True:
        try:
            return Settings(**given), list(refused.items())
        except ValidationError as error:
            faults = [(name or _named_in(told), told) for name, told in _sentences(error, flags)]
        if not all(name and name not in refused for name, _ in faults):
            raise SettingsError([told for _, told in faults])
        for name, told in faults:
            refused[name] = told
            # Empty is unset, whatever the environment says.
            given |= {one: OPTIONS[one].default or "" for one in _kind_of(name)}


def _named_in(told: str) -> str:
    """Return the first setting that the sentence names; nothing if it names none."""
    return next((word for word in re.findall(r"\w+", told) if word.lower() in OPTIONS), "").lower()


def _kind_of(name: str) -> list[str]:
    """Return the settings that go together with this one: all of JWTs, and all of TLS."""
    kind = name.partition("_")[0]
    together = [one for one in OPTIONS if one.startswith(f"{kind}_")]
    return together if kind in ("jwt", "tls") else [name]


def _given(flags: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in flags.items() if value is not None}


def _sentences(error: ValidationError, flags: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield each fault: the setting, or nothing if it is about several, and the sentence."""
    for fault in error.errors():
        reason = fault["msg"].removeprefix("Value error, ").rstrip(".")
        if not fault["loc"]:
            yield "", sentence(reason)
            continue
        name = str(fault["loc"][0])
        where = flag_of(name) if name in _given(flags) else f"{ENV_PREFIX}{name.upper()}"
        yield name, f"{where}: {reason[:1].lower()}{reason[1:]}."
