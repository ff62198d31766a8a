"""The flags of `serve` and `config`, one for each setting that is no secret."""

import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin

import click
from pydantic import SecretStr
from pydantic.fields import FieldInfo

from app.settings import ENV_PREFIX, Settings

F = TypeVar("F", bound=Callable[..., Any])

# Of the environment but not of Settings: the token of `listen`.
TOKEN_VARIABLE = f"{ENV_PREFIX}TOKEN"

_MASK = "********"


@dataclass(frozen=True, slots=True)
class EffectiveSetting:
    """A setting as `config` shows it; a secret's value is masked."""

    name: str
    value: str | None
    source: Literal["flag", "environment", "default"]
    unit: str
    what: str


def settings_options(command: F) -> F:
    """Return the command with a flag for every setting that is no secret."""
    for name, field in reversed(Settings.model_fields.items()):
        if not _is_secret(field):
            command = _option(name, field)(command)
    return command


def data_dir_option(command: F) -> F:
    """Return the command with `--data-dir`."""
    return _option("data_dir", Settings.model_fields["data_dir"])(command)


def effective(settings: Settings, flags: Iterable[str]) -> list[EffectiveSetting]:
    """Return every setting, where it comes from and what it is for."""
    given = set(flags)
    environment = {name.upper() for name in os.environ}
    return [
        EffectiveSetting(
            name=name,
            value=_shown(getattr(settings, name)),
            source=_source(name, given, environment),
            unit=_unit(field),
            what=field.description or "",
        )
        for name, field in Settings.model_fields.items()
    ]


def unknown_variables() -> list[str]:
    """Return one sentence for each variable that looks like a setting and is none."""
    known = [f"{ENV_PREFIX}{name.upper()}" for name in Settings.model_fields]
    sentences = []
    for name in sorted(os.environ):
        if name.upper().startswith(ENV_PREFIX) and name.upper() not in [*known, TOKEN_VARIABLE]:
            near = get_close_matches(name.upper(), known, n=1)
            hint = f"; did you mean {near[0]}?" if near else "."
            sentences.append(f"{name} is no setting and has no effect{hint}")
    return sentences


def _option(name: str, field: FieldInfo) -> Callable[[F], F]:
    return click.option(
        f"--{name.replace('_', '-')}",
        name,
        type=_type(field),
        metavar=_metavar(field),
        help=_help(field),
    )


def _type(field: FieldInfo) -> click.ParamType[Any]:
    """Return what completion needs to know; the settings themselves judge the value."""
    choices = _choices(field.annotation)
    if choices:
        return click.Choice(choices)
    return click.Path() if Path in _alternatives(field.annotation) else click.STRING


def _metavar(field: FieldInfo) -> str | None:
    if _choices(field.annotation):
        return None
    kinds = _alternatives(field.annotation)
    if Path in kinds:
        return "PATH"
    if any(get_origin(kind) is tuple for kind in kinds):
        return "A,B,…"
    return "NUMBER" if {int, float} & set(kinds) else "TEXT"


def _help(field: FieldInfo) -> str:
    unit = f" In {_unit(field)}." if _unit(field) else ""
    return f"{field.description}{unit} [default: {_shown(field.default) or 'none'}]"


def _unit(field: FieldInfo) -> str:
    extra = field.json_schema_extra
    return str(extra.get("unit", "")) if isinstance(extra, dict) else ""


def _is_secret(field: FieldInfo) -> bool:
    return any(
        kind is SecretStr or SecretStr in get_args(kind) for kind in _alternatives(field.annotation)
    )


def _choices(annotation: Any) -> list[str]:
    return [
        str(choice)
        for kind in _alternatives(annotation)
        if get_origin(kind) is Literal
        for choice in get_args(kind)
    ]


def _alternatives(annotation: Any) -> list[Any]:
    if get_origin(annotation) is Annotated:
        annotation = get_args(annotation)[0]
    if get_origin(annotation) in (Union, UnionType):
        return list(get_args(annotation))
    return [annotation]


def _source(
    name: str, flags: set[str], environment: set[str]
) -> Literal["flag", "environment", "default"]:
    if name in flags:
        return "flag"
    return "environment" if f"{ENV_PREFIX}{name.upper()}" in environment else "default"


def _shown(value: object) -> str | None:
    if value is None or value == ():
        return None
    if isinstance(value, SecretStr):
        return _MASK
    if isinstance(value, tuple):
        return ",".join(_shown(one) or "" for one in value)
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value)
