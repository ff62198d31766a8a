"""scripts/chaos: trials that try by force what the durable streams promise.

Each trial starts our server in one process, and in another the devices, which keep a journal of all
that they do and see. A third program, the checker, reads nothing but these journals and tells
whether every device has what it is owed. The exit status is 0 if there was no fault.
"""

import argparse
import random
import signal
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from scripts.faults import (
    backup,
    bulk,
    clock,
    crash,
    damage,
    flood,
    growth,
    hang,
    leaks,
    log,
    mixed,
    peers,
    repeat,
    restart,
    restore,
    revoke,
    slow,
    storm,
    trace,
    upgrade,
    vanish,
)
from scripts.faults.outcome import Outcome
from scripts.faults.program import ProgramFailed


@dataclass(frozen=True, slots=True)
class Trial:
    """The parts of a trial's module."""

    about: str | None
    add_options: Callable[[argparse.ArgumentParser], None]
    run: Callable[[argparse.Namespace, Path], Outcome]


TRIALS: Final = {
    "crash": Trial(crash.__doc__, crash.add_options, crash.run),
    "backup": Trial(backup.__doc__, backup.add_options, backup.run),
    "restore": Trial(restore.__doc__, restore.add_options, restore.run),
    "repeat": Trial(repeat.__doc__, repeat.add_options, repeat.run),
    "storm": Trial(storm.__doc__, storm.add_options, storm.run),
    "restart": Trial(restart.__doc__, restart.add_options, restart.run),
    "slow": Trial(slow.__doc__, slow.add_options, slow.run),
    "flood": Trial(flood.__doc__, flood.add_options, flood.run),
    "growth": Trial(growth.__doc__, growth.add_options, growth.run),
    "hang": Trial(hang.__doc__, hang.add_options, hang.run),
    "leaks": Trial(leaks.__doc__, leaks.add_options, leaks.run),
    "peers": Trial(peers.__doc__, peers.add_options, peers.run),
    "revoke": Trial(revoke.__doc__, revoke.add_options, revoke.run),
    "log": Trial(log.__doc__, log.add_options, log.run),
    "mixed": Trial(mixed.__doc__, mixed.add_options, mixed.run),
    "vanish": Trial(vanish.__doc__, vanish.add_options, vanish.run),
    "upgrade": Trial(upgrade.__doc__, upgrade.add_options, upgrade.run),
    "clock": Trial(clock.__doc__, clock.add_options, clock.run),
    "damage": Trial(damage.__doc__, damage.add_options, damage.run),
    "bulk": Trial(bulk.__doc__, bulk.add_options, bulk.run),
    "trace": Trial(trace.__doc__, trace.add_options, trace.run),
}


def _options(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="scripts/chaos", description=__doc__)
    trials = parser.add_subparsers(dest="trial", required=True, metavar="TRIAL")
    for name, trial in TRIALS.items():
        told = trial.about or ""
        one = trials.add_parser(name, help=told.partition(": ")[2].rstrip("."), description=told)
        trial.add_options(one)
        one.add_argument("--seed", type=int, help="of the dice; another one each time otherwise")
        one.add_argument(
            "--keep", type=Path, metavar="FOLDER", help="leave journals, log and database there"
        )
    options = parser.parse_args(arguments)
    for name, value in vars(options).items():
        if name != "seed" and isinstance(value, int) and value < 0:
            parser.error(f"--{name} is not negative")
    if options.seed is None:
        options.seed = random.SystemRandom().getrandbits(32)
    return options


def _broken_off(_number: int, _frame: object) -> None:
    sys.exit(1)


def main(arguments: list[str]) -> int:
    """Run the trial; returns the exit status."""
    # So that a trial that is stopped leaves no server and no devices behind.
    signal.signal(signal.SIGTERM, _broken_off)
    options = _options(arguments)
    if sys.platform != "linux":
        print("scripts/chaos needs Linux.", file=sys.stderr)
        return 1
    print(f"{options.trial}, seed {options.seed}", flush=True)
    with tempfile.TemporaryDirectory(prefix="switchboard-chaos-") as name:
        folder = options.keep or Path(name)
        folder.mkdir(parents=True, exist_ok=True)
        try:
            outcome = TRIALS[options.trial].run(options, folder)
        except (OSError, ProgramFailed) as error:
            print(f"scripts/chaos: {error}", file=sys.stderr)
            return 1
    outcome.show()
    return 0 if outcome.good else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
