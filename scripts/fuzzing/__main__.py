"""scripts/fuzz: sends the server what no client would, and checks every answer.

The same seed sends the same again, though not at the same instants. The exit status is 0 if there
was no fault. It needs Linux.
"""

import argparse
import random
import sys

import uvloop

from scripts.fuzzing import frames, http


def _options(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="scripts/fuzz", description=__doc__)
    parts = parser.add_subparsers(dest="part", required=True, metavar="PART")
    for module in (frames, http):
        name = module.__name__.rpartition(".")[2]
        told = module.__doc__ or ""
        one = parts.add_parser(name, help=told.partition("\n")[0], description=told)
        module.add_options(one)
        one.add_argument("--seed", type=int, help="of the dice; another one each time otherwise")
        one.set_defaults(run=module.run)
    options = parser.parse_args(arguments)
    if options.seed is None:
        options.seed = random.SystemRandom().getrandbits(32)
    return options


def main(arguments: list[str]) -> int:
    """Run one part; return the exit status."""
    options = _options(arguments)
    if sys.platform != "linux":
        print("scripts/fuzz needs Linux.", file=sys.stderr)
        return 1
    print(f"{options.part}, seed {options.seed}", flush=True)
    uvloop.install()
    faults, figures = options.run(options)
    for fault in faults:
        print(f"FAULT: {fault}")
    print(f"{figures}; {len(faults)} faults")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
