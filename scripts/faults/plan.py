"""The plan of a program of devices: who takes part, where the server is, how much to do."""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson


@dataclass(frozen=True, slots=True)
class Account:
    """One instance of a signed-in device; `number` names it in the journal."""

    number: int
    user: int
    device: int
    instance: str
    token: str


@dataclass(frozen=True, slots=True)
class Plan:
    """Settings of one program; `do` has those of its kind of trial alone."""

    port: int
    seed: int
    journal: str
    accounts: Sequence[Account]
    do: Mapping[str, Any]

    def write(self, path: Path) -> None:
        """Write it to a file that only its owner may read, since it has tokens."""
        path.touch(mode=0o600)
        path.write_bytes(orjson.dumps(self))


def read_plan() -> Plan:
    """Return the plan in the file that the program's first argument names."""
    fields = orjson.loads(Path(sys.argv[1]).read_bytes())
    accounts = [Account(**account) for account in fields.pop("accounts")]
    return Plan(accounts=accounts, **fields)


def accounts(tokens: Sequence[str], devices_each: int, tabs_every: int = 0) -> list[Account]:
    """Return the accounts of these tokens, in the order of scripts.benchmark.population.

    Every `tabs_every`-th device has a second instance; 0: none has.
    """
    made: list[Account] = []
    for place, token in enumerate(tokens):
        second = bool(tabs_every) and place % tabs_every == 0
        for instance in ("main", "tab")[: 1 + second]:
            user = 1 + place // devices_each
            made.append(Account(len(made), user, place + 1, instance, token))
    return made
