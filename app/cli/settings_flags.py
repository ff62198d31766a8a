"""The flags of the settings, and where each setting's value came from."""

import os
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any, Final, Literal, TypeVar

import click

from app.base.options import Kind, Option, flag_of, shown
from app.settings import ENV_PREFIX, OPTIONS, Settings

F = TypeVar("F", bound=Callable[..., Any])

TOKEN_VARIABLE: Final = f"{ENV_PREFIX}TOKEN"
"""Looks like a setting's variable and is none: the token of `listen`."""

_OF_KUBERNETES: Final = re.compile(
    rf"{ENV_PREFIX}(?:SERVICE_HOST|SERVICE_PORT(?:_\w+)?|PORT_[0-9]+_(?:TCP|UDP|SCTP)(?:_\w+)?)"
)
"""Kubernetes puts these into every pod beside a service of the name `switchboard`."""

_METAVARS: Final[dict[Kind, str | None]] = {
    # click itself lists the choices.
    "choice": None,
    "path": "PATH",
    "list": "A,B,…",
    "number": "NUMBER",
    "text": "TEXT",
}


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
    for option in reversed(list(OPTIONS.values())):
        if not option.secret:
            command = _flag(option)(command)
    return command


def data_dir_option(command: F) -> F:
    """Return the command with `--data-dir`."""
    return _flag(OPTIONS["data_dir"])(command)


def effective(settings: Settings, flags: Iterable[str]) -> list[EffectiveSetting]:
    """Return every setting, where it comes from and what it is for.

    `flags` names the settings that the command line gave.
    """
    given = set(flags)
    environment = {name.upper(): value for name, value in os.environ.items()}
    return [
        EffectiveSetting(
            name=option.name,
            value=shown(getattr(settings, option.name)),
            source=_source(option, given, environment),
            unit=option.unit,
            what=option.what,
        )
        for option in OPTIONS.values()
    ]


def unknown_variables() -> list[str]:
    """Return one sentence for each variable that looks like a setting and is none."""
    known = [option.variable for option in OPTIONS.values()]
    sentences = []
    for name in sorted(os.environ):
        if (
            name.upper().startswith(ENV_PREFIX)
            and name.upper() not in [*known, TOKEN_VARIABLE]
            and not _OF_KUBERNETES.fullmatch(name)
        ):
            near = get_close_matches(name.upper(), known, n=1)
            hint = f"; did you mean {near[0]}?" if near else "."
            sentences.append(f"{name} is no setting and has no effect{hint}")
    return sentences


def _flag(option: Option) -> Callable[[F], F]:
    unit = f" In {option.unit}." if option.unit else ""
    return click.option(
        flag_of(option.name),
        option.name,
        type=_type(option),
        metavar=_METAVARS[option.kind],
        help=f"{option.what}{unit} [default: {shown(option.default) or 'none'}]",
    )


def _type(option: Option) -> click.ParamType[Any]:
    """Return what shell completion needs; the settings themselves judge the value."""
    if option.choices:
        return click.Choice(option.choices, case_sensitive=False)
    return click.Path() if option.kind == "path" else click.STRING


def _source(
    option: Option, flags: set[str], environment: Mapping[str, str]
) -> Literal["flag", "environment", "default"]:
    if option.name in flags:
        return "flag"
    # Empty is unset, but for a list, which then has no items.
    said = environment.get(option.variable, "").strip()
    is_list = option.kind == "list" and option.variable in environment
    return "environment" if said or is_list else "default"
