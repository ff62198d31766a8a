"""The checker: tells from the devices' journals alone whether they have what they are owed.

    python -m scripts.faults.checker [--expect MESSAGES] [--removes] [--wrecked] JOURNAL...

Each instance of a device is owed every stored message that is for it and lies above the position
where it started. A message is stored if the server told its sender so, or if any device received
it. Where the server removes old messages, a device need not have those between its own position at
a `reset` and the first message after that. Of a database that was destroyed nobody is owed
anything. The exit status is 1 if there is a fault.
"""

import argparse
import sys
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Final

from scripts.faults.journal import Record, read
from scripts.faults.ledger import Fault, FaultKind, Ledger, Message

MEANING: Final[Mapping[FaultKind, str]] = {
    "lost": "acknowledged, or seen by somebody, and not received by all it was for",
    "doubled": "received or kept more than once",
    "out of order": "not in the order in which it was sent and acknowledged",
    "foreign": "received by one whom it was not for, or changed on its way",
    "reset": "a position that did not hold, or a replay that was not marked, or a mark on another",
    "refused": "an error for a message, or an ack, that had no fault",
    "unfinished": "a device that never caught up",
    "into nothing": "acknowledged although the database was gone",
}

SHOWN = 10
"""Faults of each kind that are printed; all of them are counted."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """The faults, and counts of what the journals have."""

    faults: Sequence[Fault]
    counts: Mapping[str, int]

    @property
    def good(self) -> bool:
        """Whether there was no fault."""
        return not self.faults


def check(
    records: Iterable[Record],
    expect: int | None = None,
    *,
    removes: bool = False,
    wrecked: bool = False,
) -> Verdict:
    """Return the verdict; `expect` is how many messages must have been stored.

    `removes` tells whether the server removes old messages. With `wrecked`, what was stored may be
    lost.
    """
    ledger = Ledger(records, removes=removes)
    kept = [one for one in ledger.messages.values() if one.offset is not None]
    if wrecked:
        return Verdict(ledger.faults, _counts(ledger, kept))
    for message in kept:
        _check_message(ledger, message)
    _check_writers(ledger, kept)
    for peer in ledger.peers.values():
        if not peer.finished:
            ledger.fault("unfinished", f"{peer} never had the last message of its user")
    if expect is not None and len(kept) != expect:
        kind: FaultKind = "lost" if len(kept) < expect else "doubled"
        ledger.fault(kind, f"{len(kept)} messages were kept, not {expect}")
    return Verdict(ledger.faults, _counts(ledger, kept))


def _check_message(ledger: Ledger, message: Message) -> None:
    offsets = message.acknowledged | message.received
    if len(offsets) > 1:
        kind: FaultKind = "out of order" if len(message.received) == 1 else "doubled"
        ledger.fault(kind, f"{message.name} has the offsets {sorted(offsets)}")
    offset = min(offsets)
    for peer in ledger.audience(message):
        if message.name in peer.received or offset in peer.gaps:
            continue
        if peer.start is None or peer.start < offset:
            known = "acknowledged" if message.acknowledged else "received by others"
            ledger.fault("lost", f"{peer} lacks {message.name}, {known} at offset {offset}")


def _check_writers(ledger: Ledger, kept: Sequence[Message]) -> None:
    """Check that a sender's messages have rising offsets in the order of their first sending."""
    newest: dict[int, int] = {}
    for message in kept:
        offset = message.offset or 0
        # A refused message was sent again behind later ones.
        if message.refused:
            continue
        if offset <= newest.get(message.by, 0):
            text = f"{message.name} has offset {offset}, below one that was sent before it"
            ledger.fault("out of order", text)
        newest[message.by] = max(newest.get(message.by, 0), offset)


def _counts(ledger: Ledger, kept: Sequence[Message]) -> dict[str, int]:
    seen = ledger.counts
    return {
        "devices": len({peer.joined.device for peer in ledger.peers.values()}),
        "instances": len(ledger.peers),
        "messages": len(ledger.messages),
        "sends": seen["sent"],
        "kept": len(kept),
        "acknowledged": sum(1 for one in kept if one.acknowledged),
        "kept, not acknowledged": sum(1 for one in kept if not one.acknowledged),
        "repeats recognised": seen["duplicates"],
        "refused": seen["refused"],
        "received": seen["received"],
        "connections": seen["connected"],
        "resumed": seen["resumed"],
        "told reset": seen["reset"],
        "replayed": seen["replayed"],
    }


def show(verdict: Verdict) -> str:
    """Return the summary as lines."""
    found = Counter(fault.kind for fault in verdict.faults)
    width = max(map(len, verdict.counts))
    lines = [f"{name:<{width}}  {count:>11,}" for name, count in verdict.counts.items()]
    lines.append("")
    lines += [f"{kind:<{width}}  {found[kind]:>11,}  {text}" for kind, text in MEANING.items()]
    for kind in MEANING:
        told = [fault.text for fault in verdict.faults if fault.kind == kind][:SHOWN]
        lines += [f"! {kind}: {text}" for text in told]
    return "\n".join(lines)


def main(arguments: Sequence[str]) -> int:
    """Check and print; returns the exit status."""
    parser = argparse.ArgumentParser(prog="checker", description=__doc__)
    parser.add_argument("--expect", type=int, help="how many messages must have been kept")
    parser.add_argument("--removes", action="store_true", help="the server removes old messages")
    parser.add_argument("--wrecked", action="store_true", help="what was kept may be lost")
    parser.add_argument("journals", nargs="+", type=Path, metavar="JOURNAL")
    options = parser.parse_args(arguments)
    records = chain.from_iterable(read(path) for path in options.journals)
    verdict = check(records, options.expect, removes=options.removes, wrecked=options.wrecked)
    print(show(verdict))
    return 0 if verdict.good else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
