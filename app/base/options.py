"""How a setting is declared, and what its declaration says about it.

The setting's flag, its line in the command `config` and its row in the docs come from its `Option`.
"""

import ipaddress
import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Final, Literal, Union, get_args, get_origin

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, NoDecode

from app.base.origins import parse_origin

MASK: Final = "********"
"""Stands where the value of a secret would."""

Kind = Literal["choice", "path", "list", "number", "text"]

Network = ipaddress.IPv4Network | ipaddress.IPv6Network

MIN_TOKEN: Final = 16
"""Characters of a secret that clients present: 16 random ones of base64 are 96 bits."""

_VISIBLE = re.compile(r"[!-~]+")
_PREFIX = re.compile(r"[a-z0-9_]{1,128}")
# The system takes `0` for every address, and `127.1` for another one than it says.
_LIKE_IPV4 = re.compile(r"0[xX][0-9a-fA-F]+|[0-9.]+")

WEB_APP_WORDS: Final = ("auto", "off")
"""Stand in the place of the folder of the web app."""


def option(
    default: Any,
    what: str,
    *,
    unit: str = "",
    gt: float | None = None,
    ge: float | None = None,
    le: float | None = None,
) -> Any:
    """Declare a setting: its default, what it is for, its unit and its bounds.

    The annotation of the field says the rest: its type, its choices, and that it is a secret.
    """
    return Field(
        default=default,
        description=what,
        json_schema_extra={"unit": unit},
        gt=gt,
        ge=ge,
        le=le,
    )


@dataclass(frozen=True, slots=True)
class Option:
    """What the declaration of a setting says; `bounds` are such as `≥ 0`, the lower one first."""

    name: str
    variable: str
    kind: Kind
    default: object
    what: str
    unit: str
    choices: tuple[str, ...]
    bounds: tuple[str, ...]
    secret: bool

    @property
    def flag(self) -> str | None:
        """Its flag; None for a secret, since every process may read the arguments of others."""
        return None if self.secret else flag_of(self.name)


def describe(settings: type[BaseSettings]) -> dict[str, Option]:
    """Return every setting of the class by its name, in the order of the declarations."""
    prefix = settings.model_config.get("env_prefix", "")
    return {
        name: _option(name, f"{prefix}{name.upper()}", field)
        for name, field in settings.model_fields.items()
    }


def flag_of(name: str) -> str:
    """Return the flag that sets this setting."""
    return f"--{name.replace('_', '-')}"


def shown(value: object) -> str | None:
    """Return a value as people write it, a secret's masked; None for a value that is not set."""
    if value is None or value == ():
        return None
    if isinstance(value, SecretStr):
        return MASK
    if isinstance(value, tuple):
        return ",".join(shown(one) or "" for one in value)
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value)


def _option(name: str, variable: str, field: FieldInfo) -> Option:
    kinds = _alternatives(field.annotation)
    choices = _choices(kinds)
    extra = field.json_schema_extra
    return Option(
        name=name,
        variable=variable,
        kind="choice" if choices else _kind(kinds),
        default=field.default,
        what=field.description or "",
        unit=str(extra.get("unit", "")) if isinstance(extra, dict) else "",
        choices=choices,
        bounds=tuple(_bounds(field, gt=">", ge="≥")) + tuple(_bounds(field, lt="<", le="≤")),
        secret=any(kind is SecretStr or SecretStr in get_args(kind) for kind in kinds),
    )


def _alternatives(annotation: Any) -> list[Any]:
    if get_origin(annotation) in (Union, UnionType):
        return list(get_args(annotation))
    return [annotation]


def _choices(kinds: list[Any]) -> tuple[str, ...]:
    return tuple(
        str(choice) for kind in kinds if get_origin(kind) is Literal for choice in get_args(kind)
    )


def _kind(kinds: list[Any]) -> Kind:
    if Path in kinds:
        return "path"
    if any(get_origin(kind) is tuple for kind in kinds):
        return "list"
    return "number" if {int, float} & set(kinds) else "text"


def _bounds(field: FieldInfo, **signs: str) -> list[str]:
    return [
        f"{sign} {bound}"
        for rule in field.metadata
        for name, sign in signs.items()
        if (bound := getattr(rule, name, None)) is not None
    ]


# Types of settings that hold several values: in a flag or a variable, commas stand between them.


def _split(value: object) -> object:
    """Split a comma-separated string; leave every other value as it is."""
    if isinstance(value, str):
        return tuple(part.strip() for part in value.split(",") if part.strip())
    return value


def _networks(value: object) -> object:
    """Name the word at fault, and once: pydantic alone reports two faults and no word."""
    words = _split(value)
    return tuple(map(_network, words)) if isinstance(words, tuple) else words


def _network(word: object) -> object:
    if not isinstance(word, str):
        return word
    try:
        network = ipaddress.ip_network(word, strict=False)
    except ValueError:
        raise ValueError(f"{word!r} is no address and no network") from None
    if "/" in word and str(network.network_address) != str(ipaddress.ip_interface(word).ip):
        raise ValueError(f"{word!r} is no network; did you mean {network}, or the one address?")
    return network


def _refuse_the_world(networks: tuple[Network, ...]) -> tuple[Network, ...]:
    if any(network.prefixlen == 0 for network in networks):
        raise ValueError("a network of every address would let anyone choose its own address")
    return networks


def _check_origins(origins: tuple[str, ...]) -> tuple[str, ...]:
    """Return the origins as browsers send them, each once."""
    return tuple(dict.fromkeys(map(_check_origin, origins)))


def _check_origin(text: str) -> str:
    try:
        return str(parse_origin(text))
    except ValueError as error:
        # A password may stand before the host.
        raise ValueError(f"{re.sub(r'//.*@', '//…@', text)!r} {error}") from None


def _check_host(host: str) -> str:
    """Return the address to listen on, IPv6 without its brackets."""
    if host == "*":
        raise ValueError("* is no address: 0.0.0.0 is every IPv4 address, :: also those of IPv6")
    bare = host[1:-1] if host.startswith("[") and host.endswith("]") else host
    if not bare or any(letter in "/,;" or letter.isspace() for letter in bare):
        raise ValueError(f"{host!r} is no address and no name of a host")
    if bare.count(":") == 1 or bare.startswith("["):
        raise ValueError(f"{host!r} is no address: the port has a setting of its own")
    if (":" in bare or "]" in bare) and not _is_address(bare):
        raise ValueError(f"{host!r} is no address and no name of a host")
    if _LIKE_IPV4.fullmatch(bare) and not _is_address(bare):
        raise ValueError(
            f"{host!r} is no address: IPv4 has four numbers, 0 to 255, such as 0.0.0.0"
        )
    return bare


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def _check_level(level: object) -> object:
    """Return the level, by the name that we have for it."""
    return "warning" if isinstance(level, str) and level.lower() == "warn" else level


def _check_web_app(value: object) -> object:
    """Return the folder, or the word that stands in its place."""
    if not isinstance(value, str):
        return value
    word = value.lower()
    return word if word in WEB_APP_WORDS else at_home(value)


def at_home(path: str) -> str:
    """Return the path with the home folder in the place of `~`, which no shell has replaced."""
    if not path.startswith("~"):
        return path
    with suppress(RuntimeError):
        return str(Path(path).expanduser())
    return path


def unquoted(value: object) -> object:
    """Return the value; raises ValueError if it stands in quotes."""
    text = value.strip() if isinstance(value, str) else ""
    if len(text) > 1 and text[0] == text[-1] and text[0] in "\"'":
        raise ValueError(
            "the quotes around the value would be a part of it: leave them out. docker run keeps "
            "those in the file of --env-file"
        )
    return value


def _check_port(port: object) -> object:
    if isinstance(port, str) and "://" in port:
        raise ValueError(
            f"{port!r} is no port. Kubernetes sets this variable by itself where a service has the "
            "name switchboard: set it yourself, or put enableServiceLinks: false into the pod"
        )
    return port


def _check_token(token: SecretStr | None) -> SecretStr | None:
    """Return the token as a client can send it in a header."""
    if token is None:
        return None
    text = token.get_secret_value().strip()
    if len(text) < MIN_TOKEN or not _VISIBLE.fullmatch(text):
        raise ValueError(f"a token has at least {MIN_TOKEN} characters, all of them visible ASCII")
    return SecretStr(text)


def _check_prefixes(prefixes: tuple[str, ...]) -> tuple[str, ...]:
    for prefix in prefixes:
        if prefix != "*" and not _PREFIX.fullmatch(prefix):
            raise ValueError(f"{prefix!r} is no prefix: a-z, 0-9 and _, or * for all")
    return prefixes


def without_empty(options: Mapping[str, "Option"], values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values without those that are empty, so that their defaults hold.

    An empty list stays: it has no items. The choices of a setting come back in their own case.
    """
    kept = {}
    for name, value in values.items():
        option = options.get(name)
        if option is not None and isinstance(value, str) and option.kind != "list":
            if not value.strip():
                continue
            value = _tidied(option, value)
        kept[name] = value
    return kept


def _tidied(option: "Option", value: str) -> str:
    if option.secret:
        return value
    text = value.strip()
    if option.kind == "path":
        return at_home(text)
    return next((one for one in option.choices if one.lower() == text.lower()), text)


Host = Annotated[str, AfterValidator(_check_host)]
Port = Annotated[int, BeforeValidator(_check_port)]
Level = Annotated[Literal["debug", "info", "warning", "error"], BeforeValidator(_check_level)]
WebApp = Annotated[str, BeforeValidator(_check_web_app)]
Token = Annotated[SecretStr | None, AfterValidator(_check_token)]
Words = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_split)]
Secrets = Annotated[tuple[SecretStr, ...], NoDecode, BeforeValidator(_split)]
Networks = Annotated[
    tuple[Network, ...], NoDecode, BeforeValidator(_networks), AfterValidator(_refuse_the_world)
]
Origins = Annotated[Words, AfterValidator(_check_origins)]
Prefixes = Annotated[Words, AfterValidator(_check_prefixes)]
